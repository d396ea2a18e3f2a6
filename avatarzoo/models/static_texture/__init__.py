"""StaticTexture: one texture on the frame's tracked mesh, the floor every avatar is measured against."""

from avatarzoo.models.static_texture.model import StaticTexture

__all__ = ["StaticTexture"]
