"""The optional rasterizer: NVIDIA's nvdiffrast, on CUDA, where it is installed."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import torch
from torch import Tensor

from avatarzoo.errors import BackendError
from avatarzoo.rasterizers._conventions import check_interpolate, check_rasterize
from avatarzoo.rasterizers.base import Rasterizer
from avatarzoo.registry import register

HOW_TO_GET = (
    "install it with `pip install setuptools wheel ninja` and then "
    "`pip install --no-build-isolation git+https://github.com/NVlabs/nvdiffrast.git`, on a machine with a CUDA toolkit of "
    "the version torch was built with (its licence allows non-commercial use only)"
)


@register("rasterizer", "nvdiffrast")
class NvdiffrastRasterizer(Rasterizer):
    """NVIDIA nvdiffrast, on CUDA only, installed separately."""

    def __init__(self) -> None:
        """Check that nvdiffrast can be used.

        Raises:
            BackendError: it is not installed, or there is no CUDA device.
        """
        reason = self.available()
        if reason:
            raise BackendError(f"rasterizer=nvdiffrast cannot be used: {reason}")

    @classmethod
    def available(cls) -> str | None:
        """Return None when nvdiffrast is installed and a CUDA device is there, else why not and how to get it."""
        if importlib.util.find_spec("nvdiffrast") is None:
            return f"nvdiffrast is not installed; {HOW_TO_GET}."
        if not torch.cuda.is_available():
            return "nvdiffrast draws on CUDA devices only and torch sees none; use rasterizer=warp on the CPU."
        return None

    def rasterize(self, clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
        """Draw triangles; see ``Rasterizer.rasterize``.

        Args:
            clip: B,V,4 float32, on CUDA.
            triangles: F,3 int32.
            size: (H, W).

        Returns:
            B,H,W,4 float32.

        Raises:
            BackendError: the tensors are not on a CUDA device.
            ValueError: shapes, dtypes, devices or vertex ids that do not fit.
        """
        check_rasterize(clip, triangles, size, (torch.float32,))
        _check_cuda(clip)
        if triangles.shape[0] == 0 or clip.shape[0] == 0:
            return clip.new_zeros(clip.shape[0], *size, 4)
        with torch.cuda.device(clip.device):
            raster, _ = _ops().rasterize(
                _context(clip.device.index), clip.contiguous(), triangles.contiguous(), list(size), grad_db=False
            )
        return raster

    def interpolate(self, attributes: Tensor, raster: Tensor, triangles: Tensor) -> Tensor:
        """Interpolate vertex attributes; see ``Rasterizer.interpolate``.

        Args:
            attributes: B,V,C or 1,V,C float32, on CUDA.
            raster: B,H,W,4 float32.
            triangles: F,3 int32.

        Returns:
            B,H,W,C float32.

        Raises:
            BackendError: the tensors are not on a CUDA device.
            ValueError: shapes, dtypes, devices or ids that do not fit.
        """
        check_interpolate(attributes, raster, triangles, (torch.float32,))
        _check_cuda(attributes)
        if triangles.shape[0] == 0 or raster.shape[0] == 0 or attributes.shape[2] == 0:
            return raster.new_zeros(*raster.shape[:3], attributes.shape[2])
        return _ops().interpolate(attributes.contiguous(), raster.contiguous(), triangles.contiguous())[0]

    def texture(self, texture: Tensor, uv: Tensor) -> Tensor:
        """Look a map up bilinearly; see ``Rasterizer.texture``.

        Args:
            texture: B,H,W,C or 1,H,W,C float32, on CUDA.
            uv: B,h,w,2 float32.

        Returns:
            B,h,w,C float32.

        Raises:
            BackendError: the tensors are not on a CUDA device.
        """
        _check_cuda(texture)
        return _ops().texture(texture.contiguous(), uv.contiguous(), filter_mode="linear", boundary_mode="clamp")


def _check_cuda(tensor: Tensor) -> None:
    if tensor.device.type != "cuda":
        raise BackendError(
            f"rasterizer=nvdiffrast draws on CUDA only, but the tensors are on {tensor.device}; use rasterizer=warp."
        )


def _ops() -> Any:
    """Import nvdiffrast when it is first needed: its import loads a compiled extension."""
    import nvdiffrast.torch

    return nvdiffrast.torch


@functools.cache
def _context(device: int) -> Any:
    """Return the drawing context of a device; making one is slow, and it cannot be copied with a model."""
    return _ops().RasterizeCudaContext(device=device)
