"""The parts of PiCA's encoding on their own, and the two controls without a map."""

from __future__ import annotations

import pytest
import torch

from avatarzoo.encodings.identity import Identity
from avatarzoo.encodings.learned_map_2d import LearnedMap2D
from avatarzoo.encodings.learned_maps import LearnedMaps
from avatarzoo.encodings.learned_maps_1d import LearnedMaps1D
from avatarzoo.encodings.none import NoEncoding
from avatarzoo.errors import ConfigError

POINTS = 1.4 * torch.rand(80, 2, generator=torch.Generator().manual_seed(0)) - 0.2


def test_each_is_its_part_of_the_whole() -> None:
    """``learned_maps`` is tested against interpolation by NumPy."""
    whole = LearnedMaps(2, size=7, channels=3, length=11, line_channels=2)
    plane, lines = LearnedMap2D(2, size=7, channels=3), LearnedMaps1D(2, length=11, line_channels=2)
    for part in (plane, lines):
        part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    expected = whole(POINTS)
    torch.testing.assert_close(plane(POINTS), expected[:, :3], rtol=0, atol=0)
    torch.testing.assert_close(lines(POINTS), expected[:, 3:], rtol=0, atol=0)
    assert (plane.out_dim, lines.out_dim) == (3, 4)


@pytest.mark.parametrize(("encoding", "count"), [(LearnedMap2D, 4_194_304), (LearnedMaps1D, 40_000)])
def test_the_published_sizes(encoding: type, count: int) -> None:
    with torch.device("meta"):
        made = encoding()
    assert sum(p.numel() for p in made.parameters()) == count
    assert made.out_dim == 4


@pytest.mark.parametrize(("encoding", "options"), [(LearnedMap2D, {"size": 64}), (LearnedMaps1D, {"length": 2000})])
def test_entries_start_uniform(encoding: type, options: dict) -> None:
    torch.manual_seed(0)
    for parameter in encoding(2, init_scale=0.1, **options).parameters():
        assert parameter.abs().max() <= 0.1
        assert float(parameter.detach().std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)


@pytest.mark.parametrize("encoding", [LearnedMap2D, LearnedMaps1D])
def test_points_are_refused(encoding: type) -> None:
    with pytest.raises(ConfigError, match=r"surface coordinates \(2\), not 3"):
        encoding(3)


def test_the_controls() -> None:
    torch.testing.assert_close(Identity(2)(POINTS), POINTS, rtol=0, atol=0)
    assert (Identity(3).out_dim, NoEncoding(3).out_dim) == (3, 0)
    assert NoEncoding(2)(POINTS).shape == (80, 0)
