"""The hash grid: its layout by arithmetic, its lookups by a plain loop, its backends against each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from avatarzoo import registry, warp_runtime
from avatarzoo.encodings import _hash_kernels, _hash_torch, _hash_warp
from avatarzoo.encodings._hash_layout import Level, make_layout
from avatarzoo.encodings.hash_grid import HashGrid
from avatarzoo.errors import BackendError, ConfigError

SMALL = {"levels": 4, "channels": 2, "log2_table_size": 6, "coarsest": 3, "growth": 1.7, "init_scale": 1.0}


def grid(in_dim: int = 3, **options: object) -> HashGrid:
    torch.manual_seed(0)
    return registry.build("encoding", {"name": "hash_grid", **SMALL, **options}, in_dim)


def draw(count: int, dims: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(count, dims, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def loop(point: np.ndarray, values: np.ndarray, levels: tuple[Level, ...]) -> np.ndarray:
    """Encode one point with Python's integers: values entries,C -> levels*C."""
    found = []
    for level in levels:
        position = [float(x) * level.scale + 0.5 for x in point]
        cell = [math.floor(x) for x in position]
        total = np.zeros(values.shape[1])
        for corner in itertools.product((0, 1), repeat=len(point)):
            weight, vertex = 1.0, []
            for x, low, bit in zip(position, cell, corner, strict=True):
                weight *= x - low if bit else 1 - (x - low)
                vertex.append(low + bit)
            if level.resolution ** len(point) > level.size:
                index = 0
                for x, prime in zip(vertex, (1, 2654435761, 805459861), strict=False):
                    index ^= x * prime % 2**32
            else:
                index = sum(x * level.resolution**axis for axis, x in enumerate(vertex))
            total += weight * values[level.offset + index % level.size]
        found.append(total)
    return np.concatenate(found)


def test_the_layout_of_instant_ngp() -> None:
    layout = make_layout(3, 16, 19, 16, 1.3819128799)  # 16 to 2048
    assert 2 * layout.entries == 12_196_240  # as tiny-cuda-nn counts them
    assert [level.resolution for level in layout.levels[:5]] == [16, 23, 31, 43, 59]
    assert [level.size for level in layout.levels[:6]] == [4096, 12168, 29792, 79512, 205384, 2**19]
    assert [level.hashed for level in layout.levels] == [False] * 5 + [True] * 11
    assert layout.levels[-1].offset + 2**19 == layout.entries


def test_the_layout_of_local_tables() -> None:
    """Mesh-anchored blendshapes: 2 levels of 2^8 entries at 32 and 64, 4 channels, 5 tables on each of 1,772 anchors."""
    with torch.device("meta"):
        local = HashGrid(3, levels=2, channels=4, log2_table_size=8, coarsest=32, finest=64, tables=1772 * 5)
    assert sum(p.numel() for p in local.parameters()) == 18_145_280
    assert local.out_dim == 8
    first, second = local.layout.levels
    assert first == Level(scale=31.0, resolution=32, offset=0, size=256, hashed=True)
    assert second == Level(scale=63.0, resolution=64, offset=256, size=256, hashed=True)


@pytest.mark.parametrize(
    ("dims", "log2", "coarsest", "size", "hashed"),
    [
        (2, 10, 5, 32, False),
        (2, 3, 3, 8, True),
        (3, 6, 4, 64, False),
        (3, 6, 5, 64, True),
        (2, 1, 1, 2, False),
        (2, 0, 2, 1, True),
    ],
)
def test_levels_are_padded_to_eight_and_hashed_when_they_do_not_fit(
    dims: int, log2: int, coarsest: int, size: int, hashed: bool
) -> None:
    (level,) = make_layout(dims, 1, log2, coarsest, 1.0).levels
    assert (level.scale, level.resolution, level.size, level.hashed) == (coarsest - 1, coarsest, size, hashed)


def test_growth_or_the_finest_resolution_set_the_levels() -> None:
    by_finest = HashGrid(2, levels=3, log2_table_size=10, coarsest=4, finest=16)
    by_growth = HashGrid(2, levels=3, log2_table_size=10, coarsest=4, growth=2.0, finest=7)
    assert by_finest.layout == by_growth.layout
    assert [level.scale for level in by_growth.layout.levels] == [3, 7, 15]
    assert HashGrid(2, levels=1, coarsest=4, finest=16, log2_table_size=10).layout.levels[0].scale == 3


@pytest.mark.parametrize("backend", ["warp", "torch"])
@pytest.mark.parametrize("dims", [2, 3])
def test_features_are_those_of_the_loop(backend: str, dims: int) -> None:
    encoding = grid(dims, backend=backend)
    assert {level.hashed for level in encoding.layout.levels} == {False, True}
    edges = torch.tensor(list(itertools.product((0.0, 0.5, 1.0), repeat=dims)))  # a grid wraps around behind 1
    points = torch.cat([draw(40, dims), edges])
    found = encoding(points).detach().numpy()
    values = encoding.values[0].detach().double().numpy()
    expected = np.stack([loop(point, values, encoding.layout.levels) for point in points.numpy()])
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_both_backends_agree_to_rounding_with_their_gradients(dims: int) -> None:
    options = {"levels": 6, "log2_table_size": 9, "coarsest": 5, "growth": 1.9, "tables": 3}
    fast = grid(dims, **options)
    readable = grid(dims, backend="torch", **options)
    readable.load_state_dict(fast.state_dict())
    table = torch.randint(3, (300,), generator=torch.Generator().manual_seed(4))
    seed = torch.randn(300, fast.out_dim, generator=torch.Generator().manual_seed(5))
    results = []
    for encoding in (fast, readable):
        points = draw(300, dims).requires_grad_()
        features = encoding(points, table)
        (features * seed).sum().backward()
        results.append((features.detach(), encoding.values.grad, points.grad))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_kernels_gradients_are_exact(dims: int) -> None:
    layout = make_layout(dims, 2, 4, 3, 1.6)
    points, values = draw(6, dims, 1, torch.float64), draw(2 * layout.entries, 2, 2, torch.float64)
    table = torch.tensor([0, 1, 1, 0, 1, 0])
    inputs = (points.requires_grad_(), values.reshape(2, -1, 2).requires_grad_())
    assert torch.autograd.gradcheck(lambda p, v: _hash_warp.encode(p, v, layout, table), inputs, eps=1e-6, atol=1e-8)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    encoding, points = grid(), draw(20, 3)
    encoding(points).sum().backward()
    assert points.grad is None and encoding.values.grad.any()
    encoding.requires_grad_(False)
    assert not encoding(points).requires_grad
    encoding(points.requires_grad_()).sum().backward()
    assert points.grad.any()


def test_the_gradient_stops_where_coordinates_are_clamped() -> None:
    encoding = grid(2)
    points = torch.tensor([[-0.5, 0.3], [0.4, 1.5]], requires_grad=True)
    torch.testing.assert_close(encoding(points), encoding(points.detach().clamp(0, 1)))
    encoding(points).square().sum().backward()
    assert (points.grad == 0).tolist() == [[True, False], [False, True]]


def test_the_warp_backend_has_no_second_derivative_and_torch_has() -> None:
    for backend in ("warp", "torch"):
        points = draw(4, 2).requires_grad_()
        (grad,) = torch.autograd.grad(grid(2, backend=backend)(points).square().sum(), points, create_graph=True)
        if backend == "warp":
            with pytest.raises(RuntimeError, match="once_differentiable"):
                grad.sum().backward()
        else:
            grad.sum().backward()
            assert points.grad.any()


@pytest.mark.parametrize("backend", ["warp", "torch"])
def test_every_point_is_looked_up_in_its_own_table(backend: str) -> None:
    many, points = grid(tables=5, backend=backend), draw(30, 3)
    table = torch.arange(30) % 5
    found = many(points, table)
    for number in range(5):
        one = grid(backend=backend)
        with torch.no_grad():
            one.values.copy_(many.values[number : number + 1])
        mine = table == number
        torch.testing.assert_close(found[mine], one(points[mine]), rtol=0, atol=0)
    found[table == 3].sum().backward()
    touched = many.values.grad.flatten(1).abs().sum(1) > 0
    assert touched.tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("backend", ["warp", "torch"])
def test_blending_tables_first_is_blending_features(backend: str) -> None:
    """Looked up at once, five tables are channels side by side."""
    encoding, points = grid(backend=backend), draw(30, 3)
    generator = torch.Generator().manual_seed(1)
    tables = torch.randn(7, encoding.layout.entries, 5, 2, generator=generator, requires_grad=True)
    weights, table = torch.randn(7, 5, generator=generator), torch.randint(7, (30,), generator=generator)
    merged = encoding.look_up(points, torch.einsum("tejc,tj->tec", tables, weights), table)
    (first,) = torch.autograd.grad(merged.square().sum(), tables)
    apart = encoding.look_up(points, tables.flatten(2), table).unflatten(1, (-1, 5, 2))
    blended = torch.einsum("nljc,nj->nlc", apart, weights[table]).flatten(1)
    torch.testing.assert_close(blended, merged, rtol=1e-4, atol=1e-5)
    (second,) = torch.autograd.grad(blended.square().sum(), tables)
    torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-4)


def test_ids_and_shapes_that_do_not_fit_are_refused() -> None:
    one, many, points = grid(), grid(tables=3), draw(4, 3)
    with pytest.raises(ValueError, match=r"N,3 points, got \(4, 2\)"):
        one(points[:, :2])
    with pytest.raises(ValueError, match="3 tables; every point needs the id"):
        many(points)
    with pytest.raises(ValueError, match=r"0\.\.2, got 0\.\.3"):
        many(points, torch.tensor([0, 3, 1, 2]))
    with pytest.raises(ValueError, match=r"0\.\.0, got 0\.\.1"):
        one(points, torch.tensor([0, 0, 1, 0]))
    with pytest.raises(ValueError, match="4 integers, got"):
        many(points, torch.zeros(4))
    with pytest.raises(ValueError, match=r"T,\d+,C values, got \(1, 5, 2\)"):
        one.look_up(points, torch.zeros(1, 5, 2))


def test_the_kernels_answer_nan_to_a_wrong_id_or_point_and_read_nothing() -> None:
    """On CUDA ids are not read on the host; the same kernels run here."""
    layout, points = make_layout(2, 2, 4, 3, 1.6), draw(4, 2)
    values = torch.ones(2, layout.entries, 1, requires_grad=True)
    found = _hash_warp.encode(points.requires_grad_(), values, layout, torch.tensor([0, 2, 1, -(2**40)]))
    assert found.isnan().all(1).tolist() == [False, True, False, True]
    found.sum().backward()
    assert values.grad.sum((1, 2)).tolist() == pytest.approx([2, 2])  # one point, two levels each
    assert points.grad.isfinite().all() and not points.grad[[1, 3]].any()
    lost = torch.tensor([[math.nan, 0.5], [0.5, 0.5]])
    found = _hash_warp.encode(lost, values.detach(), layout, torch.tensor([1, 0]))
    assert found.isnan().all(1).tolist() == [True, False]


def test_repeats_to_the_bit_on_any_number_of_threads() -> None:
    encoding, table = grid(tables=2), torch.arange(200) % 2
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            warp_runtime._forget_threads()
            points = draw(200, 3).requires_grad_()
            encoding.zero_grad()
            features = encoding(points, table)
            features.square().sum().backward()
            results.append((features.detach(), encoding.values.grad.clone(), points.grad))
    finally:
        torch.set_num_threads(before)
        warp_runtime._forget_threads()
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(("dims", "channels"), [(3, 2), (2, 4)])
def test_kernels_compile_for_a_gpu_without_one(dims: int, channels: int, tmp_path) -> None:
    made = _hash_warp.kernels(dims, channels, torch.float32, torch.device("cpu"))
    warp_runtime.start().compile_aot_module(made.module, arch=90, module_dir=str(tmp_path), use_ptx=True)
    (ptx,) = tmp_path.glob("*.ptx")
    text = ptx.read_text()
    assert ".target sm_90" in text
    for kernel in _hash_kernels.NAMES:
        assert f".entry {getattr(made, kernel).get_mangled_name()}" in text


def test_entries_start_small_and_uniform() -> None:
    encoding = HashGrid(2, levels=4, log2_table_size=12, coarsest=32, finest=128)
    values = encoding.values.detach()
    assert values.abs().max() <= 1e-4 and values.abs().max() > 0.99e-4
    assert float(values.std()) == pytest.approx(1e-4 / 3**0.5, rel=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "wrap"}, "Did you mean 'warp'"),
        ({"levels": 0}, "at least 1"),
        ({"log2_table_size": 31}, "from 0 to 30"),
        ({"growth": 0.5}, "at least 1, not 0.5"),
        ({"growth": None, "finest": 2}, "finest=2 is below"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grid(**options)
    with pytest.raises(ConfigError, match="2 or 3 coordinates, not 4"):
        HashGrid(4)


def test_a_backend_that_is_missing_says_how_to_get_it() -> None:
    reasons = HashGrid.backends()
    assert reasons["torch"] is None and reasons["warp"] is None
    if reasons["tinycudann"] is None:
        pytest.skip("tinycudann works here")
    with pytest.raises(BackendError, match=r"backend=tinycudann cannot be used: .*(pip install|backend=warp)"):
        grid(backend="tinycudann")
    with pytest.raises(ConfigError, match=r"no encoding\.backend"):
        grid(backend="cuda")


def test_the_twin_s_entries_stay_inside_a_level() -> None:
    vertices = torch.tensor([[0, 0, 0], [5, 0, 0], [5, 5, 5], [2**20, 2**20, 2**20]])
    for level in (Level(4.0, 5, 0, 128, False), Level(4.0, 5, 0, 64, True), Level(0.0, 1, 0, 1, True)):
        found = _hash_torch.entry(vertices, level)
        assert ((found >= 0) & (found < level.size)).all()


@pytest.mark.cuda
@pytest.mark.parametrize("dims", [2, 3])
def test_a_gpu_gives_what_the_cpu_gives(dims: int) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    here, table = grid(dims, tables=3), torch.arange(300) % 3
    there = grid(dims, tables=3).cuda()
    results = []
    for encoding, device in ((here, "cpu"), (there, "cuda")):
        points = draw(300, dims).to(device).requires_grad_()
        features = encoding(points, table.to(device))
        features.square().sum().backward()
        results.append([t.detach().cpu() for t in (features, encoding.values.grad, points.grad)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4 * float(a.abs().max()))
