"""What every backend agrees on: the snapping grid, the depth steps, the largest sizes, and the input checks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

SUBPIXELS = 16  # vertices are snapped to 1/16 pixel before coverage is decided
GUARD = 1 << 22  # subpixels: farther from the picture's centre than this, triangles are clipped first
DEPTH_STEPS = (1 << 32) - 1  # z/w from -1 to 1 is compared in this many steps
ID_BITS = 31
EMPTY = (1 << 63) - 1  # the key of a pixel without triangle; others are depth << ID_BITS | triangle
DEGENERATE = 1e-10  # sine below which a triangle has no barycentrics (float32 vertices resolve 1e-7)
MAX_TRIANGLES = (1 << 24) - 1  # ids are stored in float32
MAX_SIZE = 1 << 14

_index_ranges = WeakTensorKeyDictionary()


def check_rasterize(clip: Tensor, triangles: Tensor, size: tuple[int, int], dtypes: tuple[torch.dtype, ...]) -> None:
    """Refuse what cannot be drawn.

    Args:
        clip: expected B,V,4 in one of ``dtypes``.
        triangles: expected F,3 int32, ids below V, on the device of ``clip``.
        size: expected (H, W), each 1..MAX_SIZE.
        dtypes: those the backend computes in.

    Raises:
        ValueError: something else came; the message names it.
    """
    if clip.ndim != 3 or clip.shape[-1] != 4:
        raise ValueError(f"clip positions have shape {tuple(clip.shape)}; expected B,V,4 (x, y, z, w).")
    _check_dtype("clip positions", clip, dtypes)
    height, width = size
    if not (1 <= height <= MAX_SIZE and 1 <= width <= MAX_SIZE):
        raise ValueError(f"size is {tuple(size)}; expected (H, W) between 1 and {MAX_SIZE}.")
    _check_triangles(triangles, clip)


def check_interpolate(attributes: Tensor, raster: Tensor, triangles: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    """Refuse attributes, rasters and triangles that do not belong together.

    Args:
        attributes: expected B,V,C or 1,V,C.
        raster: expected B,H,W,4 on the same device and of the same dtype.
        triangles: expected F,3 int32, ids below V.
        dtypes: those the backend computes in.

    Raises:
        ValueError: something else came; the message names it.
    """
    if attributes.ndim != 3:
        raise ValueError(f"attributes have shape {tuple(attributes.shape)}; expected B,V,C or 1,V,C.")
    if raster.ndim != 4 or raster.shape[-1] != 4:
        raise ValueError(f"the raster has shape {tuple(raster.shape)}; expected B,H,W,4 from rasterize.")
    if attributes.shape[0] not in (1, raster.shape[0]):
        raise ValueError(
            f"attributes are of {attributes.shape[0]} images and the raster of {raster.shape[0]}; use 1 or equal."
        )
    _check_dtype("attributes", attributes, dtypes)
    if raster.dtype != attributes.dtype or raster.device != attributes.device:
        raise ValueError(
            f"the raster is {raster.dtype} on {raster.device}, the attributes {attributes.dtype} on {attributes.device}; "
            "they have to agree."
        )
    _check_triangles(triangles, attributes)
    if raster.device.type == "cpu" and raster.numel():  # on CUDA this would make the host wait
        drawn = int(raster[..., 3].max())
        if drawn > triangles.shape[0]:
            raise ValueError(
                f"the raster names triangle {drawn - 1}, but there are only {triangles.shape[0]}; "
                "interpolate with triangles that match one by one those drawn."
            )


def _check_dtype(what: str, tensor: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    if tensor.dtype not in dtypes:
        wanted = " or ".join(str(d).removeprefix("torch.") for d in dtypes)
        raise ValueError(
            f"{what} are {str(tensor.dtype).removeprefix('torch.')}; this rasterizer takes {wanted}. "
            "Under mixed precision, convert with .float() first: low precision moves vertices by pixels."
        )


def _check_triangles(triangles: Tensor, vertices: Tensor) -> None:
    if triangles.ndim != 2 or triangles.shape[-1] != 3 or triangles.dtype != torch.int32:
        raise ValueError(f"triangles have shape {tuple(triangles.shape)} and dtype {triangles.dtype}; expected F,3 int32.")
    if triangles.device != vertices.device:
        raise ValueError(f"triangles are on {triangles.device}, vertices on {vertices.device}; move them together.")
    if triangles.shape[0] > MAX_TRIANGLES:
        raise ValueError(f"{triangles.shape[0]} triangles came; ids are kept in float32, which holds {MAX_TRIANGLES}.")
    if triangles.shape[0] == 0:
        return
    low, high = _index_range(triangles)
    if low < 0 or high >= vertices.shape[1]:
        raise ValueError(
            f"triangles name vertices {low}..{high}, but there are {vertices.shape[1]} (0..{vertices.shape[1] - 1})."
        )


def _index_range(triangles: Tensor) -> tuple[int, int]:
    """Return the least and greatest id; kept per tensor, because reading it makes a GPU's host wait."""
    if triangles.is_inference():  # such a tensor does not tell whether it was changed
        low, high = triangles.aminmax()
        return int(low), int(high)
    known = _index_ranges.get(triangles)
    if known is None or known[0] != triangles._version:
        low, high = triangles.aminmax()
        known = (triangles._version, int(low), int(high))
        _index_ranges[triangles] = known
    return known[1], known[2]
