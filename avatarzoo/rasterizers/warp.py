"""The default rasterizer: NVIDIA Warp kernels on CPU and CUDA, from one source."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from avatarzoo import warp_runtime
from avatarzoo.errors import BackendError
from avatarzoo.rasterizers._conventions import EMPTY, check_interpolate, check_rasterize
from avatarzoo.rasterizers.base import Rasterizer
from avatarzoo.registry import register

AREA_DAMPING = 1e-6
QUEUE_ABOVE = 1024  # CUDA: pixels in a triangle's box above which many threads share it
SHARED_BY = ((256, 16), (1, 256))  # groups and lanes per side of a group; the second for boxes 64 times as large


@register("rasterizer", "warp")
class WarpRasterizer(Rasterizer):
    """NVIDIA Warp kernels, on CPU and CUDA (default)."""

    def __init__(self, *, area_damping: bool = False) -> None:
        """Choose how gradients behave.

        Args:
            area_damping: add 1e-6 to the size of each clip-space area in the backward pass, as nvdiffrast does. That
                damps gradients where w is small (units in which the head is a few units away); off, gradients are exact.

        Raises:
            BackendError: Warp does not work here.
        """
        reason = self.available()
        if reason:
            raise BackendError(f"rasterizer=warp cannot be used: {reason}")
        self.damping = AREA_DAMPING if area_damping else 0.0

    @classmethod
    def available(cls) -> str | None:
        """Return None when Warp starts here, else why not and how to get it."""
        return warp_runtime.why_unavailable()

    def rasterize(self, clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
        """Draw triangles; see ``Rasterizer.rasterize``.

        Args:
            clip: B,V,4 float32.
            triangles: F,3 int32.
            size: (H, W).

        Returns:
            B,H,W,4 float32.

        Raises:
            ValueError: shapes, dtypes, devices or vertex ids that do not fit.
        """
        check_rasterize(clip, triangles, size, (torch.float32,))
        _check_count(4 * clip.shape[0] * max(clip.shape[1], size[0] * size[1], triangles.shape[0]))
        return _Rasterize.apply(clip, triangles, int(size[0]), int(size[1]), self.damping)

    def interpolate(self, attributes: Tensor, raster: Tensor, triangles: Tensor) -> Tensor:
        """Interpolate vertex attributes; see ``Rasterizer.interpolate``.

        Args:
            attributes: B,V,C or 1,V,C float32.
            raster: B,H,W,4 float32.
            triangles: F,3 int32.

        Returns:
            B,H,W,C float32. On CUDA, a pixel whose triangle is not among ``triangles`` is NaN.

        Raises:
            ValueError: shapes, dtypes, devices or ids that do not fit.
        """
        check_interpolate(attributes, raster, triangles, (torch.float32,))
        _check_count(max(attributes.numel(), raster.shape[:3].numel() * max(4, attributes.shape[2])))
        return _Interpolate.apply(attributes, raster, triangles)


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clip: Tensor, triangles: Tensor, height: int, width: int, damping: float) -> Tensor:
        clip, triangles = clip.detach().contiguous(), triangles.contiguous()
        keys = find_owners(clip, triangles, height, width)
        raster = clip.new_empty(clip.shape[0], height, width, 4)
        arrays = [_wrap(clip, 4), _wrap(triangles, 3), _wrap(keys)]
        _per_pixel(
            "shade", clip.device, clip.shape[0], height * width, arrays, [clip.shape[1]], [height, width, _wrap(raster, 4)]
        )
        ctx.save_for_backward(clip, triangles, raster)
        ctx.damping = damping
        return raster

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_raster: Tensor) -> tuple[Tensor | None, ...]:
        clip, triangles, raster = ctx.saved_tensors
        images, height, width, _ = raster.shape
        grad_clip = torch.zeros_like(clip)
        grad_raster = grad_raster.contiguous()
        arrays = [_wrap(clip, 4), _wrap(triangles, 3), _wrap(raster, 4), _wrap(grad_raster, 4)]
        last = [height, width, ctx.damping, _wrap(grad_clip)]
        _per_pixel("shade_backward", clip.device, images, height * width, arrays, [clip.shape[1]], last)
        return grad_clip, None, None, None, None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, raster: Tensor, triangles: Tensor) -> Tensor:
        attributes, raster = attributes.detach().contiguous(), raster.detach().contiguous()
        triangles = triangles.contiguous()
        images, height, width, _ = raster.shape
        channels = attributes.shape[2]
        picture = attributes.new_empty(images, height, width, channels)
        arrays = [_wrap(attributes), _wrap(raster, 4), _wrap(triangles, 3)]
        stride = _image_stride(attributes)
        pixels = height * width
        _per_pixel("interpolate", raster.device, images, pixels, arrays, [stride, channels], [pixels, _wrap(picture)])
        ctx.save_for_backward(attributes, raster, triangles)
        return picture

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_picture: Tensor) -> tuple[Tensor | None, ...]:
        attributes, raster, triangles = ctx.saved_tensors
        images, height, width, _ = raster.shape
        to_attributes, to_raster = ctx.needs_input_grad[:2]
        grad_attributes = torch.zeros_like(attributes) if to_attributes else attributes.new_empty(1)
        grad_raster = torch.empty_like(raster) if to_raster else raster.new_empty(4)
        grad_picture = grad_picture.contiguous()
        arrays = [_wrap(attributes), _wrap(raster, 4), _wrap(triangles, 3), _wrap(grad_picture)]
        middle = [_image_stride(attributes), attributes.shape[2]]
        last = [height * width, to_attributes, to_raster, _wrap(grad_attributes), _wrap(grad_raster, 4)]
        shared = to_attributes and attributes.shape[0] < images  # images add into the same gradient
        _per_pixel("interpolate_backward", raster.device, images, height * width, arrays, middle, last, serial=shared)
        return grad_attributes if to_attributes else None, grad_raster if to_raster else None, None


def find_owners(clip: Tensor, triangles: Tensor, height: int, width: int, queue_above: int | None = None) -> Tensor:
    """Decide which triangle owns each pixel.

    Args:
        clip: B,V,4 float32, contiguous.
        triangles: F,3 int32, contiguous.
        height, width: of the pictures.
        queue_above: pixels in a triangle's box above which many threads share it; 0 never, None by device.

    Returns:
        B,H*W int64 keys, depth << 31 | triangle; ``EMPTY`` without triangle.
    """
    kernels = _kernels("draw", clip.device)
    images, vertices, _ = clip.shape
    faces = triangles.shape[0]
    keys = torch.full((images, height * width), EMPTY, dtype=torch.int64, device=clip.device)
    if images == 0 or vertices == 0 or faces == 0:
        return keys
    on_cpu = clip.device.type == "cpu"
    limit = (0 if on_cpu else QUEUE_ABOVE) if queue_above is None else queue_above
    capacity = faces if limit else 0
    queued = torch.zeros(2 * images, dtype=torch.int32, device=clip.device)
    queue = torch.empty(max(1, 2 * images * capacity), dtype=torch.int32, device=clip.device)
    snapped = torch.empty(images, vertices, 2, dtype=torch.int32, device=clip.device)
    depth = torch.empty(images, vertices, dtype=torch.float64, device=clip.device)
    mesh = [_wrap(clip, 4), _wrap(snapped, 2), _wrap(depth), _wrap(triangles, 3)]
    lists = [_wrap(keys), _wrap(queued), _wrap(queue)]

    def draw(first: int, count: int) -> None:
        block = vertices if on_cpu else 1
        inputs = [mesh[0], first * vertices, block, height, width, mesh[1], mesh[2]]
        warp_runtime.launch(kernels.snap, count * vertices // block, inputs, clip.device)
        block = faces if on_cpu else 1
        inputs = [*mesh, first, vertices, block, height, width, limit, capacity, *lists]
        warp_runtime.launch(kernels.draw_triangles, (count, faces // block), inputs, clip.device)

    if on_cpu:
        warp_runtime.on_host_threads(lambda image: draw(image, 1), images)
    else:
        draw(0, images)
    if limit:
        for which, (groups, lanes) in enumerate(SHARED_BY):
            inputs = [*mesh, vertices, height, width, which, groups, lanes, capacity, *lists]
            warp_runtime.launch(kernels.draw_queued, (images, groups, lanes * lanes), inputs, clip.device)
    return keys


def _per_pixel(
    name: str, device: torch.device, images: int, pixels: int, arrays: list, middle: list, last: list, serial: bool = False
) -> None:
    """Launch a kernel over all pixels: a serial thread per image on the CPU, a thread per pixel on CUDA."""
    if images * pixels == 0:
        return
    kernel = getattr(_kernels(name.removesuffix("_backward"), device), name)
    if device.type != "cpu":
        warp_runtime.launch(kernel, (images, pixels), [*arrays, 0, *middle, 1, *last], device)
    elif serial:
        warp_runtime.launch(kernel, (images, 1), [*arrays, 0, *middle, pixels, *last], device)
    else:
        warp_runtime.on_host_threads(
            lambda image: warp_runtime.launch(kernel, (1, 1), [*arrays, image, *middle, pixels, *last], device), images
        )


def _kernels(name: str, device: torch.device) -> Any:
    """Import and load a file of kernels at its first use, not when a command only lists what there is."""
    warp_runtime.start()
    module = importlib.import_module(f"avatarzoo.rasterizers._warp_{name}")
    warp_runtime.load(module, device)
    return module


def _wrap(tensor: Tensor, width: int = 1) -> Any:
    """Hand a contiguous tensor to Warp as a flat array of numbers or of short vectors."""
    warp = warp_runtime.start()
    vectors = {
        (torch.float32, 4): warp.vec4, (torch.int32, 3): warp.vec3i, (torch.int32, 2): warp.vec2i,
        (torch.float32, 1): warp.float32, (torch.float64, 1): warp.float64,
        (torch.int32, 1): warp.int32, (torch.int64, 1): warp.int64,
    }  # fmt: skip
    flat = tensor.detach().reshape(-1) if width == 1 else tensor.detach().reshape(-1, width)
    return warp.from_torch(flat, dtype=vectors[tensor.dtype, width], return_ctype=True)


def _check_count(numbers: int) -> None:
    """Refuse arrays whose places do not fit the kernels' 32-bit integers."""
    if numbers >= 1 << 31:
        raise ValueError(f"{numbers:,} numbers came in one array; kernels count to {(1 << 31) - 1:,}. Use smaller batches.")


def _image_stride(attributes: Tensor) -> int:
    """Return how far apart images lie in the attributes: 0 when all share them."""
    return 0 if attributes.shape[0] == 1 else attributes.shape[1] * attributes.shape[2]
