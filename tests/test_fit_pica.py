"""PiCA small, trained for real on a tiny synthetic capture: exact resumption, and two processes against one."""

import pytest
import torch
import yaml
from toy import toys  # noqa: F401
from whole_runs import equal, launch, state

from avatarzoo import checkpoint, config
from avatarzoo.batch import collate
from avatarzoo.build import build_capture
from avatarzoo.fit import fit


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def pica(cache, run, *overrides):
    """The shipped recipe at scale=small on 64-pixel pictures of two cameras."""
    capture = {"image_height": 64, "cameras": 2, "train_frames": 4, "test_frames": 1, "val_fraction": 0.0}
    said = [f"data.{key}={value}" for key, value in capture.items()] + [f"data.cache_dir={cache}"]
    said += ["scale=small", "trainer.accelerator=cpu", "pictures.every=0", "checkpoint.every=10", f"out={run}"]
    return config.load("pica_full", [*said, *overrides]).resolved


def test_pica_killed_and_resumed_equals_never_stopped(tmp_path, cache):
    """10 steps saved, kill -9 at 12, 10 more in a fresh process; two loader workers; bit for bit, V_mu included."""
    short = ("trainer.max_steps=20", "loader.batch_size=2")
    whole = fit(pica(cache, tmp_path / "whole", *short))
    broken = pica(cache, tmp_path / "broken", *short, "loader.workers=2")
    launch(tmp_path, broken, expect=-9, signal="kill", at=12)
    assert state(tmp_path / "broken")["avatarzoo"]["iteration"] == 10
    resumed = config.load(overrides=[f"resume={tmp_path / 'broken'}"]).resolved
    launch(tmp_path, resumed)
    a, b = state(whole), state(tmp_path / "broken")
    assert b["avatarzoo"]["iteration"] == 20
    assert any("mean" in name for name in a["state_dict"])
    assert equal(a["state_dict"], b["state_dict"])
    assert equal(a["optimizer_states"], b["optimizer_states"])
    loaded = checkpoint.load(tmp_path / "broken")
    assert equal({f"model.{k}": v for k, v in loaded.model.state_dict().items()}, dict(b["state_dict"]))
    assert loaded.config == yaml.safe_load((tmp_path / "broken" / "config.yaml").read_text())


def test_pica_in_two_processes_equals_one_with_twice_the_batch(tmp_path, cache):
    # plain SGD: Adam's first steps take the sign of a gradient, and the sign of a rounding error is no rounding error
    short = ("trainer.max_steps=4", "phases.fit.optimizer.name=sgd", "phases.fit.optimizer.lr_by_part={}")
    one = fit(pica(cache, tmp_path / "one", *short, "loader.batch_size=4"))
    launch(tmp_path, pica(cache, tmp_path / "two", *short, "loader.batch_size=2", "trainer.devices=2"))
    a, b = state(one)["state_dict"], state(tmp_path / "two")["state_dict"]
    start = fit(pica(cache, tmp_path / "none", *short[1:], "loader.batch_size=4", "trainer.max_steps=1"))
    first = state(start)["state_dict"]
    moved = 0
    for name, value in a.items():
        if value.is_floating_point():
            step = (value - first[name]).abs().max()
            moved += int(step > 0)
            torch.testing.assert_close(
                b[name], value, rtol=1e-4, atol=float(1e-3 * step + 1e-6), msg=lambda m, n=name: f"{n}: {m}"
            )
    assert moved > 10


def test_pica_in_bf16_draws_what_it_draws_in_float32(tmp_path, cache):
    """The same steps in mixed precision: pictures, coverage and depth as in float32, up to what 8 bits of mantissa cost."""
    drawn = {}
    for precision in ("32-true", "bf16-mixed"):
        short = ("trainer.max_steps=6", "loader.batch_size=2", f"trainer.precision={precision}")
        loaded = checkpoint.load(fit(pica(cache, tmp_path / precision, *short)))
        capture = build_capture(loaded.config)
        capture.prepare()
        batch = collate([capture.read(sample) for sample in capture.splits["test"]])
        drawn[precision] = loaded.model.render(batch)
    exact, rounded = drawn["32-true"], drawn["bf16-mixed"]
    assert not torch.equal(exact.image, rounded.image), "bf16 was really used"
    assert (exact.coverage == rounded.coverage).float().mean() > 0.995
    both = exact.coverage & rounded.coverage
    difference = (exact.image - rounded.image).abs()
    assert difference.mean() < 0.005 and difference.max() < 0.2
    assert (exact.depth - rounded.depth).abs()[both].mean() < 0.2  # mm
