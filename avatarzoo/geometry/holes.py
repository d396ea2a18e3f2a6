"""Finding cracks: pixels inside a silhouette through which the background or the far side shows."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def see_through(coverage: Tensor, depth: Tensor, reference: Tensor, behind_mm: float = 60.0) -> Tensor:
    """Mark the pixels where a mesh that should be closed lets one look through.

    A pixel counts where the reference is one smooth surface around it (not within two pixels of a silhouette, its own or
    the chin's before the neck, where both meshes may rightly end a pixel apart) and either nothing is drawn, or what is
    drawn lies far behind, as the inside of the back of a head does behind a crack in the face.

    Args:
        coverage: B,1,H,W bool, where the mesh is drawn.
        depth: B,1,H,W mm of the mesh, 0 = empty.
        reference: B,1,H,W mm of a closed reference (the tracked mesh), 0 = empty.
        behind_mm: how far behind still counts as the same surface (an open mouth is some 40 mm deep), and how far
            the reference may vary within two pixels.

    Returns:
        B,1,H,W bool.
    """
    nearest = -F.max_pool2d(-reference, 5, 1, 2)
    farthest = F.max_pool2d(reference, 5, 1, 2)
    smooth = (nearest > 0) & (farthest - nearest < behind_mm / 2)
    return smooth & (~coverage.bool() | (depth - reference > behind_mm))
