"""Keep what nvdiffrast draws, for machines without it: writes tests/reference/nvdiffrast_NAME.npz.

    python benchmarks/make_nvdiffrast_golden.py

Needs a CUDA device and nvdiffrast. Each file holds the inputs (clip, triangles, attributes, weight), the raster, the
interpolated picture, and the gradients of sum(picture * weight); tests/rasterizers/test_nvdiffrast.py reads them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarzoo import registry

FOLDER = Path(__file__).parents[1] / "tests" / "reference"


def sheet(w: float, lean: float, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A jittered sheet of 20 x 20 quads around distance w; lean pushes its sides through the near and far planes."""
    draw = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-0.9, 0.9, 21), torch.linspace(-0.9, 0.9, 21), indexing="ij")
    x, y = (p + 0.02 * torch.randn(p.shape, generator=draw) for p in (x, y))
    far = w * (1 + 0.3 * torch.rand(x.shape, generator=draw))
    clip = torch.stack([x * far, y * far, (0.1 + lean * x) * far, far], -1).reshape(1, -1, 4)
    i = torch.arange(21 * 21).reshape(21, 21)
    a, b, c, d = i[:-1, :-1].flatten(), i[:-1, 1:].flatten(), i[1:, :-1].flatten(), i[1:, 1:].flatten()
    triangles = torch.cat([torch.stack([a, b, c], -1), torch.stack([d, b, c], -1)]).int()
    return torch.cat([clip, clip * torch.tensor([-1.0, 0.7, 1.0, 1.0])]), triangles


CASES = {"metres": (1.0, 0.0), "millimetres": (1000.0, 0.0), "small_w": (0.02, 0.0), "clipped": (1.0, 1.5)}


def main() -> None:
    nvdiffrast = registry.build("rasterizer", "nvdiffrast")
    FOLDER.mkdir(parents=True, exist_ok=True)
    size = (96, 128)
    for name, (w, lean) in CASES.items():
        clip, triangles = (t.cuda() for t in sheet(w, lean, size))
        draw = torch.Generator().manual_seed(1)
        attributes = torch.randn(*clip.shape[:2], 3, generator=draw).cuda()
        weight = torch.randn(clip.shape[0], *size, 3, generator=draw).cuda()
        clip.requires_grad_()
        attributes.requires_grad_()
        raster = nvdiffrast.rasterize(clip, triangles, size)
        picture = nvdiffrast.interpolate(attributes, raster, triangles)
        grad_clip, grad_attributes = torch.autograd.grad((picture * weight).sum(), (clip, attributes))
        arrays = {
            "clip": clip, "triangles": triangles, "attributes": attributes, "weight": weight, "raster": raster,
            "picture": picture, "grad_clip": grad_clip, "grad_attributes": grad_attributes,
        }  # fmt: skip
        path = FOLDER / f"nvdiffrast_{name}.npz"
        np.savez_compressed(path, **{key: value.detach().cpu().numpy() for key, value in arrays.items()})
        print(f"{path.name}: {int((raster[..., 3] > 0).sum())} pixels drawn, {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
