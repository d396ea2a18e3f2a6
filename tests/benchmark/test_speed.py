"""Timing: turns, spread, ratios, folding, the pixels that are shaded. No test looks at how long anything took."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.benchmark import speed
from avatarzoo.benchmark.bench_speed import bench_speed
from avatarzoo.build import build_model
from avatarzoo.errors import ConfigError

CPU = torch.device("cpu")
DAM = {
    "model": {"name": "deep_appearance", "latent_shape": [8], "hidden": 8, "texture_channels": [8, 8, 4, 4]},
    "driver": {"name": "deep_appearance_vae", "texture_channels": [4, 4, 8, 8, 8], "hidden": 8},
    "rasterizer": {"name": "warp"},
}


def subject(config: dict, name: str, dtype: torch.dtype = torch.float32) -> speed.Subject:
    torch.manual_seed(0)
    return speed.prepare(name, build_model(copy.deepcopy(config), fx.summary()), dtype, CPU)


def test_pieces_of_work_take_turns_and_the_first_turns_do_not_count() -> None:
    order: list[str] = []
    works = {name: lambda n=name: order.append(n) for name in ("a", "b")}
    found = speed.alternate(works, repeat=3, device=CPU, warm_up=2)
    assert order == ["a", "b"] * 5
    assert set(found) == {"a", "b"}
    for figures in found.values():
        assert figures["cpu_ms"] >= 0
        assert 0 <= figures["min_ms"] <= figures["quarter_ms"] <= figures["median_ms"] <= figures["max_ms"]


def test_the_spread_is_numpy_s() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    found = speed.spread(values)
    expected = np.percentile(values, [50, 25, 75, 0, 100])
    np.testing.assert_allclose(
        [found[k] for k in ("median_ms", "quarter_ms", "three_quarters_ms", "min_ms", "max_ms")], expected
    )
    assert speed.spread([7.0])["median_ms"] == 7.0


def test_ratios_are_the_first_s_time_over_the_others() -> None:
    figures = {"dam": {"median_ms": 40.0}, "pica": {"median_ms": 8.0}, "floor": {"median_ms": 2.0}}
    assert speed.ratios({"a": {"cpu_ms": 3.0}, "b": {"cpu_ms": 2.0}}, "cpu_ms") == {"a / b": 1.5}
    assert speed.ratios(figures) == {"dam / pica": 5.0, "dam / floor": 20.0}


def test_folding_the_norms_changes_nothing_but_the_parameters() -> None:
    torch.manual_seed(0)
    model = build_model(copy.deepcopy(DAM), fx.summary()).eval()
    code, towards = torch.randn(1, 8), torch.tensor([[0.0, 0, 1]])
    before = model.decoder(code, towards)
    speed.fold(model.decoder)
    after = model.decoder(code, towards)
    assert not any("parametrizations" in name for name, _ in model.decoder.named_parameters())
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("config", [DAM, fx.PICA], ids=["dam", "pica"])
def test_the_halves_are_what_the_model_draws(config: dict) -> None:
    """Decoding and shading by halves gives the colours that the model itself gives for that code and direction."""
    made = subject(config, "one")
    vertices, maps = made.decode()
    assert vertices.shape[0] == 1 and vertices.shape[2] == 3
    uv, xyz = speed.surface(made.halves, vertices, 3000)
    colours = made.shade(maps, uv, xyz)
    assert colours.shape == (len(uv), 3) and torch.isfinite(colours).all()
    assert 0.9 * 3000 < len(uv) < 1.1 * 3000


@pytest.mark.parametrize("config", [DAM, fx.PICA], ids=["dam", "pica"])
def test_bfloat16_is_near_float32(config: dict) -> None:
    with torch.no_grad():
        exact, rough = subject(config, "a").decode(), subject(config, "b", torch.bfloat16).decode()
    for one, other in zip(exact, rough, strict=True):
        assert other.dtype == torch.float32
        assert float((one - other).abs().max()) < 0.05 * float(one.abs().max())
    assert not all(torch.equal(one, other) for one, other in zip(exact, rough, strict=True))


def test_several_avatars_shade_what_each_shows() -> None:
    made = subject(DAM, "dam")
    with torch.inference_mode():
        one, two = speed.draw(made, 1, 200), speed.draw(made, 2, 200)
    assert one > 100
    assert 1.7 * one < two < 2.3 * one  # side by side, 25 cm apart
    found = speed.time_avatars([made], 2, repeat=1, side=200)
    assert found["dam"]["avatars"] == 2 and found["dam"]["pixels"] == two


def test_it_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speed.json"
    options = {"scale": "small", "dtypes": ["float32"], "repeat": 1, "pixels": [2000], "avatars": [1]}
    found = bench_speed(["dam", "pica_full"], overrides=SMALL, out=out, **options)
    assert json.loads(out.read_text()) == found
    assert [row["what"] for row in found["measured"]] == ["per object", "per pixel, 0.0 M", "picture of 1"]
    for row in found["measured"]:
        assert set(row["times"]) == {"dam", "pica_full"} and set(row["ratios"]) == {"dam / pica_full"}
    assert (found["threads"], found["scale"]) == (1, "small")
    printed = capsys.readouterr().out
    assert printed.count("dam / pica_full = ") == 3
    assert printed.endswith(f"wrote {out}\n")


SMALL = ["data.image_height=32", "data.train_frames=2", "data.test_frames=1", "data.val_fraction=0", "data.cameras=2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtypes": ["float16"]}, "dtype=float16 is not known"),
        ({"what": ["objects"]}, "Did you mean 'object'"),
        ({"repeat": 0}, "repeat=0 is no whole number of at least 1"),
        ({"pixels": ["many"]}, "pixels=many is no whole number"),
        ({"device": "tpu"}, "device=tpu is not here"),
        ({"recipes": ["static_texture"]}, "StaticTexture has no work per object"),
        ({"recipes": ["dam", "static_texture"], "overrides": [*SMALL, "data.texture_size=512"]}, "has no work per object"),
    ],
)
def test_what_cannot_be_timed_is_named(options: dict, message: str) -> None:
    settings = {"scale": "small", "overrides": SMALL} | options
    with pytest.raises(ConfigError, match=message):
        bench_speed(settings.pop("recipes", ["dam"]), **settings)
