"""Parameter counts of the recipe: the published ones at scale=paper, our own at scale=small."""

from __future__ import annotations

from functools import lru_cache

import pytest

from avatarzoo import config, registry
from avatarzoo.build import build_model
from avatarzoo.models.base import parameter_counts
from avatarzoo.models.pica import PiCA

MAPS = 4_234_304
SMALL = {
    "driver": 36_432,
    "geometry": 169_664,
    "expression": 188_217,
    "encoding": 272_144,
    "pixel_decoder": 343,
    "pixel": 307,
    "xyz": 36,
}


@lru_cache
def counts(*overrides: str) -> dict[str, int]:
    model: PiCA = build_model(config.load("pica_full", list(overrides)).resolved)
    pixel_decoder = model.pixel_decoder
    inside = {"pixel": pixel_decoder.pixel, "xyz": pixel_decoder.xyz}
    return parameter_counts(model) | {name: sum(p.numel() for p in part.parameters()) for name, part in inside.items()}


def decoder_side(found: dict[str, int]) -> int:
    """All that renders: the avatar without its encoder."""
    return found["geometry"] + found["expression"] + found["encoding"] + found["pixel_decoder"]


def test_paper_scale_has_the_published_counts() -> None:
    found = counts("scale=paper")
    assert found["pixel"] == 307
    assert found["xyz"] == 36
    assert found["encoding"] == MAPS
    assert found["driver"] == 3_346_496
    assert (found["geometry"], found["expression"]) == (582_648, 650_281)


@pytest.mark.parametrize(("block", "total"), [("D+", 5_467_576), ("D", 5_465_288), ("A+", 5_157_918), ("A", 5_155_567)])
def test_the_decoder_side_by_block_layout(block: str, total: int) -> None:
    assert decoder_side(counts("scale=paper", f"model.block={block}")) == total


def test_paper_scale_is_the_default() -> None:
    assert counts() == counts("scale=paper")


def test_small_scale_has_its_own_counts() -> None:
    assert counts("scale=small") == SMALL


def test_small_scale_s_counts_follow_from_its_layers() -> None:
    resolved = config.load("pica_full", ["scale=small"])
    model, encoding, driver = resolved["model"], resolved["encoding"], resolved["driver"]
    found = counts("scale=small")
    shape = (model["latent_size"], model["latent_channels"])
    assert found["geometry"] == deep_plus(shape[1], [*model["geometry_channels"], 3], shape[0])
    assert found["expression"] == deep_plus(shape[1] + 3, [*model["expression_channels"], model["code_dim"]], shape[0])
    flat, lines = encoding["channels"] * encoding["size"] ** 2, 2 * encoding["line_channels"] * encoding["length"]
    assert found["encoding"] == flat + lines
    first, second = driver["texture_channels"]
    total = convolution(3, first, 4) + convolution(first, second, 4) + convolution(3, driver["position_channels"], 1)
    width = second + driver["position_channels"]
    for out in driver["joint_channels"]:
        total += convolution(width, out, 4)
        width = out
    assert found["driver"] == total + 2 * convolution(width, shape[1], 1)


def convolution(inside: int, outside: int, kernel: int) -> int:
    return inside * outside * kernel**2 + outside


def deep_plus(inside: int, channels: list[int], side: int) -> int:
    """Scalars of a decoder of layout D+: untied in->in, tied in->out and a 1x1 skip; one untied convolution at the end."""
    total = 0
    for outside in channels[:-1]:
        side *= 2
        total += 9 * inside**2 + inside * side**2 + convolution(inside, outside, 3) + convolution(inside, outside, 1)
        inside = outside
    return total + 9 * inside * channels[-1] + channels[-1] * (2 * side) ** 2


def test_at_paper_scale_the_numbers_are_the_papers() -> None:
    resolved = config.load("pica_full").resolved
    loss = resolved["phases"]["fit"]["loss"]
    weights = {name: term["weight"] for name, term in loss.items()}
    assert weights == {"image": 2, "depth": 10, "normal": 1, "tracked_mesh": 0.1, "smoothness": 1, "kl": 0.001}
    assert loss["depth"]["gate_mm"] == 10 and loss["tracked_mesh"]["exclude"] == ["mouth"]
    assert resolved["model"]["mean_mesh_rate"] == 1e-4 and resolved["model"]["mean_mesh_fraction"] is None
    optimizer = resolved["phases"]["fit"]["optimizer"]
    assert (optimizer["name"], optimizer["lr"], optimizer["decay"]) == ("adam", 1e-3, "none")
    assert (resolved["loader"]["batch_size"], resolved["trainer"]["max_steps"]) == (4, 400_000)


def test_what_goes_beyond_the_paper_is_off_there() -> None:
    """Options of the components are the defaults, and the defaults are the published configuration."""
    resolved = config.load("pica_full").resolved
    for kind in ("model", "encoding", "driver"):
        node = resolved[kind]
        defaults = {name: option.default for name, option in registry.options(registry.get(kind, node["name"])).items()}
        assert {key: value for key, value in node.items() if key != "name"} == defaults
    for name, term in resolved["phases"]["fit"]["loss"].items():
        defaults = {key: option.default for key, option in registry.options(registry.get("loss", name)).items()}
        said = {key: value for key, value in term.items() if key in defaults}
        assert said == {key: defaults[key] for key in said}, name
