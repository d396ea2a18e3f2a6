"""CaptureSummary: what travels in a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avatarzoo.capture import CameraTable, CaptureSummary, Topology
from avatarzoo.errors import DataError


def summary(**changed: object) -> CaptureSummary:
    """Return a summary of a quad seen by two cameras."""
    generator = torch.Generator().manual_seed(0)
    values = {
        "name": "quad",
        "topology": Topology(
            torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32),
            torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
            torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32),
        ),
        "cameras": CameraTable(
            ["left", "front"], torch.rand(2, 3, 3), torch.rand(2, 3, 3), torch.rand(2, 3), (4, 6), {"Front": "front"}
        ),
        "vertex_mean": torch.rand(4, 3, generator=generator),
        "vertex_std": 2.5,
        "texture_mean": torch.rand(3, 8, 8, generator=generator),
        "texture_std": 0.1,
        "colour_mean": torch.rand(3),
        "colour_axes": torch.rand(3, 3),
        "regions": {"mouth": torch.rand(8, 8, generator=generator) > 0.5},
        "neutral_vertices": torch.rand(4, 3),
        "neutral_average": torch.rand(3, 8, 8),
        "neutral_coverage": torch.ones(1, 8, 8),
        "head_pose": torch.rand(3, 4),
        "tables": {"segment": ["E1"], "frame": ["000001"], "camera": ["left", "front"], "subject": ["quad"]},
    }
    return CaptureSummary(**(values | changed))


def equal(one: object, other: object) -> bool:
    """Compare plain containers of tensors, types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


@pytest.mark.parametrize("changed", [{}, {"neutral_arkit": torch.rand(52), "regions": {}}])
def test_a_summary_survives_a_checkpoint_that_runs_no_code(tmp_path: Path, changed: dict) -> None:
    first = summary(**changed)
    torch.save({"summary": first.to_plain()}, tmp_path / "x.ckpt")
    second = CaptureSummary.from_plain(torch.load(tmp_path / "x.ckpt", weights_only=True)["summary"])
    assert equal(first.to_plain(), second.to_plain())
    assert second.cameras.size == (4, 6)
    assert isinstance(second.topology, Topology)
    assert second.topology.triangles.dtype == torch.int32
    assert second.regions.keys() == first.regions.keys()


def test_plain_means_plain() -> None:
    def check(node: object) -> None:
        assert isinstance(node, (dict, list, str, int, float, torch.Tensor, type(None))), type(node)
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            check(child)

    plain = summary(vertex_mean=torch.rand(4, 3, requires_grad=True)).to_plain()
    check(plain)
    assert not plain["vertex_mean"].requires_grad


def test_a_field_that_is_missing_is_named_and_one_with_a_default_is_not_needed() -> None:
    plain = summary().to_plain()
    del plain["neutral_arkit"]
    assert CaptureSummary.from_plain(plain).neutral_arkit is None
    with pytest.raises(KeyError, match="cameras"):
        CaptureSummary.from_plain({k: v for k, v in plain.items() if k != "cameras"})


def test_regions_are_looked_up_texel_by_texel_with_row_0_at_v_0() -> None:
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 3] = True  # v in 0..0.25, u in 0.75..1
    made = summary(regions={"mouth": mask})
    uv = torch.tensor([[[0.8, 0.1], [0.1, 0.8]], [[0.74, 0.1], [1.0, 0.0]]])
    assert made.region_at("mouth", uv).tolist() == [[True, False], [False, True]]
    assert made.region_at("eyes", uv).tolist() == [[False, False], [False, False]]


def test_every_texel_centre_finds_its_own_texel() -> None:
    made = summary()
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    uv = (torch.stack([columns, rows], dim=-1) + 0.5) / 8
    assert torch.equal(made.region_at("mouth", uv), made.regions["mouth"])


@pytest.mark.parametrize(("which", "cause"), [("texture_std", "set the unit"), ("vertex_std", "Train on several frames")])
def test_a_spread_of_zero_is_refused_before_somebody_divides_by_it(which: str, cause: str) -> None:
    made = summary(**{which: 0.25})
    assert made.spread(which, "loss term 'image'") == 0.25
    for nothing in (0.0, 1e-9, float("nan")):
        with pytest.raises(DataError, match=rf"loss term 'image' divides by the {which} of .*{cause}"):
            summary(**{which: nothing}).spread(which, "loss term 'image'")


def test_the_spread_of_colours_is_the_mean_over_channels() -> None:
    axes = torch.tensor([[0.3, 0.0, 0.1], [0.2, 0.1, 0.0], [0.1, 0.0, 0.05]])
    expected = float(((axes @ axes.T).trace() / 3).sqrt())
    assert summary(colour_axes=axes).spread("colour_std", "x") == pytest.approx(expected)
    with pytest.raises(DataError, match="a single colour"):
        summary(colour_axes=torch.zeros(3, 3)).spread("colour_std", "x")
