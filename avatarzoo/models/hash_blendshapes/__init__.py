"""Mesh-anchored hash-table blendshapes: a volume on the tracked mesh, for one tracked video."""

from avatarzoo.models.hash_blendshapes.model import HashBlendshapes

__all__ = ["HashBlendshapes"]
