"""The nearest anchors: kernels against torch, the clustered search against the exact one."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.capture import Topology
from avatarzoo.datamodules.obj import read_obj
from avatarzoo.errors import ConfigError
from avatarzoo.models.hash_blendshapes.anchors import Anchors
from avatarzoo.models.hash_blendshapes.neighbours import NeighbourSearch


def set_up(count: int = 100, k: int = 3, clusters: int = 12) -> tuple[NeighbourSearch, Anchors]:
    anchors = Anchors()
    anchors.bind(fx.summary(), count, 1.0)
    frames = anchors(fx.summary().neutral_vertices[None])
    search = NeighbourSearch(k, clusters=clusters)
    search.bind(frames.positions[0], frames.axes[0, :, 2], 30.0)
    return search, anchors


def around(positions: torch.Tensor, normals: torch.Tensor, count: int, reach: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    pick = torch.randint(len(positions), (count,), generator=generator)
    height = reach * (2 * torch.rand(count, 1, generator=generator) - 1)
    return positions[pick] + height * normals[pick] + 8 * torch.randn(count, 3, generator=generator)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_kernels_find_what_sorting_finds(k: int) -> None:
    search, anchors = set_up(k=k)
    positions = anchors(torch.stack([fx.frame_vertices(0), fx.frame_vertices(2)])).positions
    points = 120 * torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    image = torch.arange(500) % 2
    index, distance = search(points, image, positions, "exact")
    other, expected = search(points, image, positions, "torch")
    torch.testing.assert_close(distance, expected, rtol=1e-5, atol=1e-3)
    flat = positions.reshape(-1, 3)
    torch.testing.assert_close((flat[index] - points[:, None]).norm(dim=-1), distance, rtol=1e-5, atol=1e-3)
    assert (index == other).float().mean() > 0.999 and (index // 100 == image[:, None]).all()


def test_clustered_search_recalls_the_nearest_on_bent_meshes() -> None:
    search, anchors = set_up()
    for frame in (0, 2):
        frames = anchors(fx.frame_vertices(frame)[None])
        points = around(frames.positions[0], frames.axes[0, :, 2], 4000, 25.0)
        image = torch.zeros(4000, dtype=torch.long)
        index, _ = search(points, image, frames.positions)
        exact, _ = search(points, image, frames.positions, "exact")
        assert (index[:, :, None] == exact[:, None]).any(1).float().mean() > 0.995


def test_clustered_search_on_the_widest_expressions_of_a_capture() -> None:
    root = fx.captures("lps_mono")
    mesh = read_obj(sorted((root / "tracked_mesh").glob("*/*.obj"))[0])
    triangles, uv_triangles = (
        torch.from_numpy(np.asarray(t).astype(np.int32)) for t in (mesh.triangles, mesh.uv_triangles)
    )
    topology = Topology(triangles, torch.from_numpy(np.asarray(mesh.uvs)).float(), uv_triangles)
    files = sorted((root / "tracked_mesh").glob("*/*.bin"))
    vertices = torch.stack([torch.from_numpy(np.fromfile(file, "<f4").reshape(-1, 3)) for file in files])
    mean = vertices.mean(0)
    widest = (vertices - mean).square().sum((1, 2)).topk(5).indices
    summary = fx.summary()
    summary.topology, summary.neutral_vertices = topology, mean
    for density in (0.35, 1.055):
        anchors = Anchors()
        anchors.bind(summary, None, density)
        template = anchors(mean[None])
        search = NeighbourSearch(3)
        search.bind(template.positions[0], template.axes[0, :, 2], 40.0)
        frames = anchors(vertices[widest])
        for number in range(len(widest)):
            points = around(frames.positions[number], frames.axes[number, :, 2], 4000, 25.0)
            image = torch.zeros(4000, dtype=torch.long)
            own = frames.positions[number : number + 1]
            index, exact = search(points, image, own)[0], search(points, image, own, "exact")[0]
            assert (index[:, :, None] == exact[:, None]).any(1).float().mean() > 0.995


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="clustered or exact or torch"):
        NeighbourSearch(3, "kd")
    with pytest.raises(ConfigError, match="1 to 8"):
        NeighbourSearch(0)
    with pytest.raises(ConfigError, match="more neighbours than there are anchors"):
        NeighbourSearch(8).bind(torch.randn(5, 3), torch.randn(5, 3), 10.0)
