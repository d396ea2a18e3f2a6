"""Deep Appearance Models: the mesh-and-texture decoder that Pixel Codec Avatars are measured against."""

from avatarzoo.models.deep_appearance.model import DeepAppearance

__all__ = ["DeepAppearance"]
