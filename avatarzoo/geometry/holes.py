"""Finding cracks: pixels inside a silhouette through which the background or the far side shows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def see_through(coverage: Tensor, depth: Tensor, reference: Tensor, behind_mm: float = 60.0) -> Tensor:
    """Mark the pixels where a mesh that should be closed lets one look through.

    A pixel counts where nothing is drawn although it is enclosed by drawn pixels, or where what is drawn lies far behind
    the reference surface, as the inside of the back of a head does behind a crack in the face.

    Args:
        coverage: B,1,H,W bool, where the mesh is drawn.
        depth: B,1,H,W mm of the mesh, 0 = empty.
        reference: B,1,H,W mm of a closed reference (the tracked mesh), 0 = empty.
        behind_mm: how far behind still counts as the same surface; an open mouth is some 40 mm deep.

    Returns:
        B,1,H,W bool.
    """
    from scipy.ndimage import binary_erosion, binary_fill_holes

    masks = coverage[:, 0].bool().cpu().numpy()
    filled = np.stack([binary_fill_holes(mask) for mask in masks])
    # along silhouettes both surfaces may end a pixel apart; cracks are looked for inside
    inner = np.stack([binary_erosion(mask, iterations=2) for mask in (reference[:, 0] > 0).cpu().numpy()])
    enclosed = torch.from_numpy(filled & ~masks)[:, None].to(coverage.device)
    both = torch.from_numpy(inner)[:, None].to(coverage.device) & (depth > 0)
    return enclosed | (both & (depth - reference > behind_mm))
