"""Parameter counts: the released ones at scale=paper, our own at scale=small."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import fixtures as fx
import pytest
import torch

from avatarzoo import config, registry
from avatarzoo.build import build_model
from avatarzoo.capture import CameraTable, CaptureSummary
from avatarzoo.models.base import parameter_counts

ENCODER, CORRECTION = 6_921_408, 228


def capture(vertices: int, cameras: int, texture: int) -> CaptureSummary:
    """A summary of some size; nothing in it is looked at but shapes."""
    table = CameraTable(
        [str(i) for i in range(cameras)], torch.eye(3).repeat(cameras, 1, 1), torch.eye(3).repeat(cameras, 1, 1),
        torch.arange(3.0 * cameras).view(cameras, 3), (8, 8), {},
    )  # fmt: skip
    points = torch.zeros(vertices, 3)
    picture = torch.zeros(3, texture, texture)
    return dataclasses.replace(
        fx.summary(), cameras=table, vertex_mean=points, neutral_vertices=points, texture_mean=picture
    )


def counts(recipe: str, summary: CaptureSummary, *overrides: str) -> dict[str, int]:
    return parameter_counts(build_model(config.load(recipe, list(overrides)).resolved, summary))


def test_paper_scale_has_the_released_counts() -> None:
    found = counts("dam", capture(7306, 38, 1024), "scale=paper")
    assert found == {"driver": ENCODER, "decoder": 17_392_170, "colour_correction": CORRECTION}
    assert sum(found.values()) == 24_313_806


@pytest.mark.parametrize(
    ("recipe", "latent", "decoder", "whole"),
    [
        ("dam_non", 256, 8_250_381, 15_172_017),
        ("dam_non", 128, 6_754_957, 13_545_009),
        ("dam", 128, 15_888_682, 22_678_734),
    ],
)
def test_the_variants_have_theirs(recipe: str, latent: int, decoder: int, whole: int) -> None:
    said = [f"model.latent_shape=[{latent}]", f"model.texture_channels=[{latent},64,64,32,32,16,16]"]
    found = counts(recipe, capture(7306, 38, 1024), *said)
    assert (found["decoder"], sum(found.values())) == (decoder, whole)


def test_small_scale_has_its_own_counts() -> None:
    found = counts("dam", capture(10_390, 14, 512), "scale=small")
    assert found == {"driver": 2_142_560, "decoder": 3_950_466, "colour_correction": 84}


def test_small_scale_s_counts_follow_from_its_layers() -> None:
    resolved = config.load("dam", ["scale=small"]).resolved
    model, driver = resolved["model"], resolved["driver"]
    vertices, width = 10_390, model["hidden"]
    (latent,) = model["latent_shape"]
    channels = [model["texture_channels"][0], *model["texture_channels"], 3]

    def normed(inside: int, outside: int) -> int:
        return inside * outside + 2 * outside

    decoder = normed(3, 8) + normed(latent, width) + normed(width, 3 * vertices) + normed(8 + width, 16 * channels[0])
    decoder += sum(normed(16 * a, b) + b * (8 << i) ** 2 for i, (a, b) in enumerate(pairwise(channels)))
    encoder = sum(
        normed(16 * a, b) for a, b in zip([3, *driver["texture_channels"]], driver["texture_channels"], strict=False)
    )
    hidden = driver["hidden"]
    encoder += normed(16 * driver["texture_channels"][-1], hidden) + normed(3 * vertices, hidden)
    encoder += normed(2 * hidden, 2 * latent)
    found = counts("dam", capture(vertices, 14, 512), "scale=small")
    assert (found["decoder"], found["driver"]) == (decoder, encoder)


def test_what_goes_beyond_the_release_is_off_at_paper_scale() -> None:
    resolved = config.load("dam").resolved
    for kind in ("model", "driver"):
        node = resolved[kind]
        defaults = {name: option.default for name, option in registry.options(registry.get(kind, node["name"])).items()}
        assert {key: value for key, value in node.items() if key != "name"} == defaults
    loss = resolved["phases"]["fit"]["loss"]
    assert {name: term["weight"] for name, term in loss.items()} == {"vertex": 1, "texture": 1, "image": 1, "kl": 0.01}
    assert loss["texture"]["texels"] is None and loss["image"]["region_weights"] is None


def test_it_is_trained_as_pica_trains_all_its_models() -> None:
    ours, pica = config.load("dam").resolved, config.load("pica_full").resolved
    assert ours["phases"]["fit"]["optimizer"]["lr"] == pica["phases"]["fit"]["optimizer"]["lr"] == 1e-3
    for key in ("loader", "trainer"):
        assert ours[key] == pica[key]
