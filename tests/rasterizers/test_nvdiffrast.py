from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from raster_references import on_nudged_picture
from raster_scenes import grid, scene

from avatarzoo import registry
from avatarzoo.errors import BackendError
from avatarzoo.rasterizers import nvdiffrast as backend

GOLDEN = sorted((Path(__file__).parents[1] / "reference").glob("nvdiffrast_*.npz"))
MISSING = backend.NvdiffrastRasterizer.available()


@pytest.mark.skipif(MISSING is None, reason="nvdiffrast can be used here")
def test_where_it_is_missing_the_error_says_how_to_get_it():
    with pytest.raises(BackendError, match=r"pip install .*nvdiffrast\.git|CUDA"):
        registry.build("rasterizer", "nvdiffrast")


def test_tensors_on_the_cpu_are_refused(monkeypatch):
    monkeypatch.setattr(backend.NvdiffrastRasterizer, "available", classmethod(lambda cls: None))
    clip, triangles, size = scene("random")
    with pytest.raises(BackendError, match="rasterizer=warp"):
        registry.build("rasterizer", "nvdiffrast").rasterize(clip, triangles, size)


def test_its_functions_get_what_they_take(monkeypatch):
    """A stand-in for the library, so that a machine without it runs these lines too."""
    calls = []

    def rasterize(context, clip, triangles, resolution, grad_db):
        assert clip.is_contiguous() and triangles.is_contiguous() and grad_db is False
        calls.append(resolution)
        return torch.ones(clip.shape[0], *resolution, 4), torch.empty(0)

    def interpolate(attributes, raster, triangles):
        return torch.full((*raster.shape[:3], attributes.shape[2]), 2.0), torch.empty(0)

    def texture(picture, uv, filter_mode, boundary_mode):
        assert (filter_mode, boundary_mode) == ("linear", "clamp")
        return torch.full((*uv.shape[:3], picture.shape[3]), 3.0)

    library = SimpleNamespace(rasterize=rasterize, interpolate=interpolate, texture=texture)
    monkeypatch.setattr(backend.NvdiffrastRasterizer, "available", classmethod(lambda cls: None))
    monkeypatch.setattr(backend, "_check_cuda", lambda tensor: None)
    monkeypatch.setattr(backend, "_ops", lambda: library)
    monkeypatch.setattr(backend, "_context", lambda device: object())
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    rasterizer = registry.build("rasterizer", "nvdiffrast")
    clip, triangles, size = scene("random")
    raster = rasterizer.rasterize(clip.transpose(0, 1).contiguous().transpose(0, 1), triangles, size)
    assert calls == [list(size)] and raster.shape == (3, *size, 4)
    assert rasterizer.interpolate(clip[:1], raster, triangles).shape == (3, *size, 4)
    assert rasterizer.texture(torch.rand(1, 4, 4, 3), raster[..., :2]).shape == (3, *size, 3)


def compare(clip, triangles, size, ids, expected_ids):
    """At least 99.9 % of the ids are equal, and the rest lies within 1/16 pixel of an edge."""
    differ = (ids != expected_ids).nonzero().tolist()
    for image, row, column in differ:
        near = on_nudged_picture(clip[image], triangles, size, row, column)
        assert int(ids[image, row, column]) in near and int(expected_ids[image, row, column]) in near
    assert len(differ) <= 0.001 * ids.numel()


@pytest.mark.cuda
@pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
def test_draws_as_warp_does():
    size = (512, 512)
    clip, triangles = grid(250, 250, 0.2, 0, size)
    both = [registry.build("rasterizer", name) for name in ("warp", "nvdiffrast")]
    rasters = [rasterizer.rasterize(clip.cuda(), triangles.cuda(), size).cpu() for rasterizer in both]
    compare(clip, triangles, size, *(r[..., 3].long() - 1 for r in rasters))
    same = rasters[0][..., 3] == rasters[1][..., 3]
    assert (rasters[0] - rasters[1])[same].abs().median() < 1e-4


def golden_cases():
    if GOLDEN:
        return [pytest.param(path, id=path.stem) for path in GOLDEN]
    reason = "no golden outputs of nvdiffrast; make them on a GPU machine with benchmarks/make_nvdiffrast_golden.py"
    return [pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))]


@pytest.mark.parametrize("path", golden_cases())
@pytest.mark.parametrize("name", ["warp", "torch"])
def test_draws_as_nvdiffrast_did(name, path):
    golden = {key: torch.from_numpy(value) for key, value in np.load(path).items()}
    options = {"area_damping": True} if name == "warp" else {}
    rasterizer = registry.build("rasterizer", {"name": name, **options})
    size = tuple(golden["raster"].shape[1:3])
    clip = golden["clip"].requires_grad_()
    raster = rasterizer.rasterize(clip, golden["triangles"], size)
    compare(clip.detach(), golden["triangles"], size, raster[..., 3].long() - 1, golden["raster"][..., 3].long() - 1)
    same = raster[..., 3] == golden["raster"][..., 3]
    assert (raster - golden["raster"])[same].abs().median() < 1e-4

    # Gradients sum over pixels: only vertices all of whose pixels have the same owner can be compared.
    picture = rasterizer.interpolate(golden["attributes"], raster, golden["triangles"])
    (found,) = torch.autograd.grad((picture * golden["weight"]).sum(), clip)
    expected = golden["grad_clip"]
    touched = torch.zeros(clip.shape[:2], dtype=torch.bool)
    for of in (raster[..., 3], golden["raster"][..., 3]):
        image, row, column = (~same & (of > 0)).nonzero(as_tuple=True)
        touched[image[:, None], golden["triangles"][of[image, row, column].long() - 1].long()] = True
    scale = expected.abs().mean()
    error = (found - expected)[~touched].abs() / (expected[~touched].abs() + scale)
    assert error.median() < 1e-3 and error.quantile(0.99) < 0.05
