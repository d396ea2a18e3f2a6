"""Pixel Codec Avatars (Ma et al., CVPR 2021): driver -> decoders -> dense mesh -> raster -> pixel decoder."""

from avatarzoo.models.pica.model import PiCA

__all__ = ["PiCA"]
