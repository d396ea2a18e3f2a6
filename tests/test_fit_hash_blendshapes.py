"""Hash-table blendshapes with a warp, trained on a tiny capture: exact resumption, and two processes against one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import toys  # noqa: F401
from whole_runs import equal, launch, state

from avatarzoo import config
from avatarzoo.fit import fit
from avatarzoo.lightning import ZooModule

VOLUME = {
    "anchors": 60, "uv_size": 16, "encoder": "[4,8]", "decoder": "[8,8,8]", "clusters": 8, "rays": 100, "coarse": 6,
    "fine": 6, "union_resolution": 16, "union_frames": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def volume(cache: Path, run: Path, *overrides: str) -> dict[str, Any]:
    """The shipped recipe, small, on 32-pixel pictures of two cameras; its warp switches on at the third step."""
    capture = {"image_height": 32, "cameras": 2, "train_frames": 4, "test_frames": 1, "val_fraction": 0.0}
    said = [f"data.{key}={value}" for key, value in capture.items()] + [f"data.cache_dir={cache}"]
    said += [f"model.{key}={value}" for key, value in VOLUME.items()]
    said += ["warp.width=8", "warp.depth=1", "warp.start=2", "warp.window=4", "encoding.log2_table_size=4"]
    said += ["scale=small", "trainer.accelerator=cpu", "pictures.every=0", "checkpoint.every=0", f"out={run}"]
    return config.load("hash_blendshapes", [*said, *overrides]).resolved


def test_stopped_and_resumed_equals_never_stopped(tmp_path, cache, monkeypatch) -> None:
    """Ctrl-C in the midst of the warp's window, and 3 more steps: bit for bit, the grid made at the end included."""
    whole = fit(volume(cache, tmp_path / "whole", "trainer.max_steps=6"))
    original = ZooModule.training_step

    def step(self, batch, batch_idx) -> None:
        if self.iteration == 2:
            signal.raise_signal(signal.SIGINT)
        original(self, batch, batch_idx)

    monkeypatch.setattr(ZooModule, "training_step", step)
    broken = fit(volume(cache, tmp_path / "broken", "trainer.max_steps=6"))
    stopped = state(broken)
    assert stopped["avatarzoo"]["iteration"] == 3 and not bool(stopped["state_dict"]["model.union_ready"])
    monkeypatch.setattr(ZooModule, "training_step", original)
    fit(config.load(overrides=[f"resume={broken}"]).resolved)
    a, b = state(whole), state(broken)
    assert b["avatarzoo"]["iteration"] == 6 and bool(b["state_dict"]["model.union_ready"])
    opened = [float(found["state_dict"]["model.warp.encoding.alpha"]) for found in (stopped, a)]
    assert 0 < opened[0] < opened[1]
    assert equal(a["state_dict"], b["state_dict"])
    assert equal(a["optimizer_states"], b["optimizer_states"])


def test_two_processes_equal_one_with_twice_the_batch_before_and_after_the_warp_starts(tmp_path, cache) -> None:
    # plain SGD: Adam's first steps take the sign of a gradient, and the sign of a rounding error is no rounding error
    short = ("phases.fit.optimizer.name=sgd", "phases.fit.optimizer.lr_by_part={}")
    one = fit(volume(cache, tmp_path / "one", *short, "trainer.max_steps=3", "loader.batch_size=4"))
    two = volume(cache, tmp_path / "two", *short, "trainer.max_steps=3", "loader.batch_size=2", "trainer.devices=2")
    launch(tmp_path, two)
    start = state(fit(volume(cache, tmp_path / "none", *short, "trainer.max_steps=0")))["state_dict"]
    a, b = state(one)["state_dict"], state(tmp_path / "two")["state_dict"]
    moved = set()
    for name, value in a.items():
        if value.is_floating_point():
            step = (value - start[name]).abs().max()
            moved |= {name.split(".")[1]} if step > 0 else set()
            tolerance = float(1e-3 * step + 1e-6)
            torch.testing.assert_close(b[name], value, rtol=1e-4, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")
    assert {"blendshapes", "field", "warp"} <= moved
