"""S(G), the extras of the geometry terms, and the moving mean."""

from __future__ import annotations

import fixtures as fx
import pytest
import torch

from avatarzoo import registry
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.laplacian import cotangent_laplacian
from avatarzoo.models.pica.mesh import PicaMesh

SIZE = 32


def made(kind: str = "dense", residual: str = "mean", size: int = SIZE) -> PicaMesh:
    mesh = PicaMesh(kind, size, residual)
    mesh.bind(fx.summary(), registry.build("rasterizer", "warp"))
    return mesh


@pytest.mark.parametrize("kind", ["dense", "tracked"])
def test_no_offset_is_the_mean_face(kind: str) -> None:
    mesh, summary = made(kind), fx.summary()
    vertices = mesh.vertices(torch.zeros(2, 3, SIZE, SIZE))
    torch.testing.assert_close(vertices, mesh.mean.expand(2, -1, -1))
    torch.testing.assert_close(mesh.tracked(torch.zeros(1, 3, SIZE, SIZE))[0], summary.vertex_mean)
    if kind == "tracked":
        torch.testing.assert_close(mesh.mean, summary.vertex_mean)
        torch.testing.assert_close(mesh.triangles, summary.topology.triangles)
    else:
        assert len(mesh.mean) > 0.6 * SIZE**2


@pytest.mark.parametrize("kind", ["dense", "tracked"])
def test_uvs_that_no_triangle_uses_do_not_pull(kind: str) -> None:
    summary = fx.summary()
    loose = torch.tensor([[0.2, 0.2], [0.8, 0.8]])  # lines of an .obj file that no face names
    summary.topology.uvs = torch.cat([summary.topology.uvs, loose])
    mesh, clean = PicaMesh(kind, SIZE, "mean"), made(kind)
    mesh.bind(summary, registry.build("rasterizer", "warp"))
    position = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mesh.tracked(position), clean.tracked(position))
    torch.testing.assert_close(mesh.vertices(position), clean.vertices(position))


@pytest.mark.parametrize("residual", ["mean", "none"])
@pytest.mark.parametrize("kind", ["dense", "tracked"])
def test_vertices_that_no_triangle_uses_change_nothing(kind: str, residual: str) -> None:
    """A .bin file may have more vertices than the .obj names, in front of, among and behind the others."""
    summary = fx.summary()
    count = len(summary.vertex_mean)
    renamed = torch.arange(count) + 1 + (torch.arange(count) >= count // 2)  # leaves the first and a middle one out
    for name in ("vertex_mean", "neutral_vertices"):
        wide = torch.full((count + 3, 3), 77.0)
        wide[renamed] = getattr(summary, name)
        setattr(summary, name, wide)
    summary.topology.triangles = renamed[summary.topology.triangles.long()].int()
    mesh, clean = PicaMesh(kind, SIZE, residual), made(kind, residual)
    mesh.bind(summary, registry.build("rasterizer", "warp"))
    position = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mesh.tracked(position)[:, renamed], clean.tracked(position))
    drawn, expected = mesh.vertices(position), clean.vertices(position)
    assert torch.isfinite(drawn).all() and torch.isfinite(mesh.tracked(position)).all()
    torch.testing.assert_close(drawn[:, mesh.triangles.long()], expected[:, clean.triangles.long()])
    used = mesh.triangles.unique().long()
    there = clean.triangles.unique().long()
    assert mesh.smooth_region[used].sum() == clean.smooth_region[there].sum() > 0
    bend = mesh.training_extras(position, drawn)["laplacian"]
    assert torch.isfinite(bend).all()
    torch.testing.assert_close(bend[:, used], clean.training_extras(position, expected)["laplacian"][:, there])


def test_texels_know_their_chart() -> None:
    mesh = made()
    labels = mesh.chart
    front, back = labels[:, : SIZE // 2], labels[:, SIZE // 2 :]
    assert front.max() != back.max() and {1, 2} == set(labels.unique().tolist()) - {0}
    assert ((front == 0) | (front == front.max())).all() and ((back == 0) | (back == back.max())).all()


@pytest.mark.parametrize("kind", ["dense", "tracked"])
def test_the_map_is_an_offset_in_vertex_std_sampled_at_the_uvs(kind: str) -> None:
    mesh, summary = made(kind), fx.summary()
    centres = (torch.arange(SIZE) + 0.5) / SIZE
    ramp = torch.stack([centres.expand(SIZE, SIZE), centres[:, None].expand(SIZE, SIZE), torch.ones(SIZE, SIZE)])[None]
    # the map holds (u, v, 1), which bilinear sampling reproduces; a seam vertex gets the mean of its two UVs
    for found, mean, uvs, owner in (
        (mesh.vertices(ramp)[0], mesh.mean, mesh.uvs, mesh.vertex_of_uv),
        (mesh.tracked(ramp)[0], mesh.tracked_mean, mesh.tracked_uvs, mesh.tracked_vertex_of_uv),
    ):
        clamped = uvs.clamp(0.5 / SIZE, 1 - 0.5 / SIZE)
        uv = torch.stack([clamped[owner == v].mean(0) for v in range(len(mean))])
        expected = mean + summary.vertex_std * torch.cat([uv, torch.ones(len(uv), 1)], dim=1)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_without_residual_the_map_is_the_position() -> None:
    mesh, summary = made(residual="none", size=64), fx.summary()
    position = torch.nn.functional.pad(mesh.mean_map, (0, 0))[None]
    tracked = mesh.tracked(position)[0]
    away = (summary.vertex_mean[:, 2].abs() > 30) & (summary.vertex_mean[:, 1] > -100)  # far from the charts' borders
    assert away.sum() > 60
    assert (tracked - summary.vertex_mean)[away].norm(dim=1).max() < 3.0  # what sampling a full map at 64 costs, mm
    assert (mesh.training_extras(position, mesh.vertices(position))["mean_map"] == 0).all()


def test_the_mean_map_is_the_mean_face_in_vertex_std() -> None:
    mesh, summary = made(), fx.summary()
    rows, columns = mesh.chart.nonzero(as_tuple=True)
    assert (mesh.mean_map[:, mesh.chart == 0] == 0).all()
    points = (mesh.mean_map[:, rows, columns].T * summary.vertex_std).double().numpy()
    front = columns < SIZE // 2
    v = (rows + 0.5) / SIZE
    torch.testing.assert_close(
        torch.from_numpy(points[:, 1]).float(), fx.HEIGHT * ((v - 0.05) / 0.9 - 0.5), atol=2.0, rtol=0
    )
    assert (points[front.numpy(), 2] > -1).all() and (points[~front.numpy(), 2] < 1).all()


def test_the_laplacian_is_that_of_the_offset_from_the_moving_mean() -> None:
    mesh = made()
    generator = torch.Generator().manual_seed(0)
    position = torch.randn(2, 3, SIZE, SIZE, generator=generator)
    vertices = mesh.vertices(position)
    mesh.mean_mesh += torch.randn(mesh.mean_mesh.shape, generator=generator)
    extras = mesh.training_extras(position, vertices)
    neutral = fx.summary().neutral_vertices
    dense = registry.build("rasterizer", "warp")
    again = PicaMesh("dense", SIZE, "mean")
    again.bind(fx.summary(), dense)
    matrix = cotangent_laplacian(again.mean_mesh, mesh.triangles).to_dense()  # V_mu starts as the neutral, dense
    expected = torch.einsum("ij,bjc->bic", matrix, vertices - mesh.mean_mesh)
    torch.testing.assert_close(extras["laplacian"], expected, atol=1e-3, rtol=1e-3)
    # vertices that are tracked vertices start at the neutral's places
    gap = (neutral[[0, fx.COLUMNS], None] - again.mean_mesh).norm(dim=-1).amin(1)
    assert gap.max() < 1e-3


def test_a_shift_of_the_whole_head_bends_nothing() -> None:
    mesh = made()
    position = torch.full((1, 3, SIZE, SIZE), 0.5)
    mesh.mean_mesh.copy_(mesh.mean)
    lift = mesh.training_extras(position, mesh.vertices(position))["laplacian"]
    assert lift.abs().max() < 1e-3


def test_the_smooth_region_is_the_mouth() -> None:
    mesh = made("tracked")
    uv = torch.zeros(len(mesh.mean), 2).index_add(0, mesh.vertex_of_uv, mesh.uvs) / mesh.copies[:, None]
    inside = (uv[:, 0] >= 10 / 64) & (uv[:, 0] < 22 / 64) & (uv[:, 1] >= 12 / 64) & (uv[:, 1] < 20 / 64)
    assert 0 < inside.sum() < 30
    assert torch.equal(mesh.training_extras(torch.zeros(1, 3, SIZE, SIZE), mesh.mean[None])["smooth_region"], inside)


def test_the_moving_mean_moves_by_its_rate() -> None:
    mesh = made("tracked")
    start, target = mesh.mean_mesh.clone(), mesh.mean_mesh + 10
    for _ in range(3):
        mesh.update_mean(target, 0.1, None, 0.5)
    torch.testing.assert_close(mesh.mean_mesh, target - 10 * 0.9**3 * torch.ones_like(start), atol=1e-3, rtol=0)


def test_the_moving_mean_can_have_a_time_constant_in_shares_of_the_run() -> None:
    mesh = made("tracked")
    start = mesh.mean_mesh.clone()
    mesh.update_mean(start + 10, 1e-4, 0.25, 0.01)  # 1 % of the run in a time constant of 25 %
    torch.testing.assert_close(mesh.mean_mesh, start + 10 * 0.04, atol=1e-3, rtol=0)
    mesh.update_mean(start + 10, 1e-4, 0.25, 0.03)
    torch.testing.assert_close(mesh.mean_mesh, start + 0.4 + (10 - 0.4) * 0.08, atol=1e-3, rtol=0)
    mesh.update_mean(start - 5, 1e-4, 0.25, 0.9)  # never past the batch's mean
    torch.testing.assert_close(mesh.mean_mesh, start - 5, atol=1e-3, rtol=0)
    mesh.update_mean(start + 50, 1e-4, 0.25, 0.9)  # no progress, no move
    torch.testing.assert_close(mesh.mean_mesh, start - 5, atol=1e-3, rtol=0)


def test_only_the_moving_mean_is_state() -> None:
    mesh = made()
    assert set(mesh.state_dict()) == {"mean_mesh", "last_progress"}
    assert list(mesh.parameters()) == []


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.mesh is 'dense' or 'tracked', not 'coarse'"):
        PicaMesh("coarse", SIZE, "mean")


def test_the_mean_moves_by_the_share_of_the_run_that_passed() -> None:
    mesh = made()
    target, expected, last = torch.ones_like(mesh.mean_mesh), mesh.mean_mesh.clone(), 0.0
    for progress in (0.0, 0.01, 0.04, 0.5):
        mesh.update_mean(target, rate=1e-4, fraction=0.1, progress=progress)
        expected = expected + (target - expected) * min(1.0, (progress - last) / 0.1)
        last = progress
        torch.testing.assert_close(mesh.mean_mesh, expected)
    torch.testing.assert_close(mesh.mean_mesh, target)  # more than a tenth of the run passed
    assert float(mesh.last_progress) == 0.5
