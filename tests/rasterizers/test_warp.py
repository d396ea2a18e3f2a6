from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest
import raster_worker
import torch
from raster_scenes import SCENES, scene

from avatarzoo import registry, warp_runtime
from avatarzoo.errors import BackendError
from avatarzoo.rasterizers import warp as backend

KERNELS = {
    "draw": {"snap", "draw_triangles", "draw_queued"},
    "shade": {"shade", "shade_backward"},
    "interpolate": {"interpolate", "interpolate_backward"},
}


@pytest.fixture
def rasterizer():
    return registry.build("rasterizer", "warp")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
    warp_runtime._forget_threads()


@pytest.mark.parametrize("part", KERNELS)
def test_kernels_compile_for_a_gpu_without_one(part, tmp_path):
    warp = warp_runtime.start()
    module = backend._kernels(part, torch.device("cpu"))
    warp.compile_aot_module(module, arch=90, module_dir=str(tmp_path), use_ptx=True)
    (ptx,) = tmp_path.glob("*.ptx")
    text = ptx.read_text()
    assert ".target sm_90" in text
    for kernel in KERNELS[part]:
        assert f".entry {kernel}_" in text
    assert "fma.rn" not in text  # float multiply-adds are not fused: the CPU's bits are reached


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("queue_above", [1, 20])
def test_shared_drawing_of_large_triangles_finds_the_same_owners(name, queue_above, monkeypatch):
    # On CUDA large triangles are drawn by groups of threads; the same code runs here thread after thread, with fewer.
    monkeypatch.setattr(backend, "SHARED_BY", ((3, 2), (1, 4)))
    clip, triangles, (height, width) = scene(name)
    shared = backend.find_owners(clip, triangles, height, width, queue_above)
    assert torch.equal(shared, backend.find_owners(clip, triangles, height, width))


def test_repeats_to_the_bit_on_any_number_of_threads(threads):
    threads(1)
    expected = raster_worker.step()
    assert all(t.abs().max() > 0 for t in expected)
    for count in (1, 2, 3, 3):
        threads(count)
        warp_runtime._forget_threads()
        assert all(torch.equal(a, b) for a, b in zip(raster_worker.step(), expected, strict=True))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_works_in_worker_processes(threads, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method} processes")
    threads(2)
    expected = raster_worker.step()  # leaves threads behind, which a fork does not copy
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    child = context.Process(target=raster_worker.send_step, args=(there,), daemon=True)
    child.start()
    there.close()
    try:
        assert here.poll(600), "the worker did not answer"
        for a, b in zip(here.recv(), expected, strict=True):
            np.testing.assert_array_equal(a, b.numpy())
        child.join(120)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_area_damping_adds_a_millionth_to_the_area(rasterizer):
    damped = registry.build("rasterizer", {"name": "warp", "area_damping": True})
    triangles = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    ndc = torch.tensor([[-0.6, -0.7, 0.0], [0.8, -0.5, 0.0], [0.1, 0.9, 0.0]], dtype=torch.float64)

    def gradient(chosen, w):
        clip = (torch.cat([ndc, torch.ones(3, 1, dtype=torch.float64)], -1) * w)[None].float().requires_grad_()
        raster = chosen.rasterize(clip, triangles, (1, 1))  # one pixel, at ndc (0, 0)
        (2 * raster[..., 0] - raster[..., 1]).sum().backward()
        return clip.grad[0].double()

    for w in (1000.0, 0.003):
        x, y = (ndc[:, :2] * w).T
        area = torch.stack([x[1] * y[2] - y[1] * x[2], x[2] * y[0] - y[2] * x[0], x[0] * y[1] - y[0] * x[1]])
        grown = area.sum() + torch.sign(area.sum()) * 1e-6
        # u = area_0 / total: the quotient rule with the grown total; each x stands in the two areas beside its corner.
        to_area = torch.tensor([2.0, -1.0, 0.0]) / grown - (2 * area[0] - area[1]) / grown**2
        expected_x = to_area.roll(-2) * y.roll(-1) - to_area.roll(-1) * y.roll(-2)
        torch.testing.assert_close(gradient(damped, w)[:, 0], expected_x, rtol=1e-5, atol=0)
        change = (gradient(damped, w) - gradient(rasterizer, w)).abs().max() / gradient(rasterizer, w).abs().max()
        assert change < 1e-6 if w == 1000 else change > 0.05


def test_a_triangle_without_area_gives_finite_values_and_no_gradient(rasterizer):
    # Collinear to the last bit, but its snapped corners are not.
    line = torch.tensor([[-0.83, -0.83], [0.11, 0.11], [0.97, 0.97]])
    draw = torch.Generator().manual_seed(0)
    found = 0
    for _ in range(60):
        w = torch.rand(3, 1, generator=draw) + 0.5
        turn = torch.rand(2, generator=draw)
        clip = torch.cat([line * turn * w, torch.zeros(3, 1), w], -1)[None].requires_grad_()
        raster = rasterizer.rasterize(clip, torch.tensor([[0, 1, 2]], dtype=torch.int32), (64, 64))
        found += int((raster[..., 3] > 0).sum())
        assert raster.isfinite().all()
        raster[..., :2].sum().backward()
        assert clip.grad.isfinite().all()
    assert found > 0


def test_an_unusable_cache_folder_is_replaced_and_nothing_is_said_about_drivers(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code = (
        "import torch; from avatarzoo import registry; r = registry.build('rasterizer', 'warp');"
        "clip = torch.tensor([[[-3., -3, 0, 1], [5, -3, 0, 1], [-3, 5, 0, 1]]]);"
        "print(int(r.rasterize(clip, torch.tensor([[0, 1, 2]], dtype=torch.int32), (4, 4))[..., 3].sum()))"
    )
    environment = os.environ | {"WARP_CACHE_PATH": str(tmp_path / "file" / "cache"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "16"
    assert "kernel cache cannot be used" in done.stderr and "WARP_CACHE_PATH" in done.stderr
    assert "driver" not in done.stderr
    assert not list(tmp_path.glob("avatarzoo-warp-*"))  # removed at exit


def test_lines_other_than_the_silenced_one_are_passed_on(capfd):
    with warp_runtime._without_line("no driver"):
        os.write(2, b"warning: no driver\nwarning: something else\n")
    assert capfd.readouterr().err == "warning: something else\n"


def test_a_missing_warp_is_an_error_that_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(warp_runtime, "_started", None)
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(BackendError, match="pip install warp-lang"):
        registry.build("rasterizer", "warp")


def test_listing_rasterizers_does_not_import_warp():
    code = "import sys; from avatarzoo import registry; registry.names('rasterizer'); print('warp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "False"


def test_a_raster_of_other_triangles_is_refused(rasterizer):
    clip, triangles, size = scene("crowded")
    raster = rasterizer.rasterize(clip, triangles, size)
    with pytest.raises(ValueError, match="only 5"):
        rasterizer.interpolate(clip, raster, triangles[:5])


def test_more_numbers_than_the_kernels_count_are_refused(rasterizer):
    clip, triangles, _ = scene("random")
    with pytest.raises(ValueError, match="smaller batches"):
        rasterizer.rasterize(clip[:1].expand(8, -1, -1), triangles, (1 << 13, 1 << 13))
    raster = torch.zeros(1, 1, 1, 4).expand(4, 1 << 12, 1 << 12, 4)
    with pytest.raises(ValueError, match="smaller batches"):
        rasterizer.interpolate(torch.zeros(1, 3, 1).expand(1, 3, 32), raster, triangles.clamp_max(2))
