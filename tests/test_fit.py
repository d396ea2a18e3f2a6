"""Whole runs: refusals before training, resuming, interrupts, several processes."""

import os
import signal

import pytest
import torch
import toy
import yaml
from toy import toys  # noqa: F401
from whole_runs import equal, launch, rows, state

from avatarzoo import checkpoint
from avatarzoo.build import build_capture
from avatarzoo.datamodules.base import SampleStream, ZooData
from avatarzoo.errors import ConfigError, DataError, NonFiniteError
from avatarzoo.fit import fit


def test_killed_and_resumed_equals_never_stopped(tmp_path):
    """20 steps in one go, against 10 saved, a kill -9 at 13, and the rest in a fresh process."""
    changes = {"trainer__max_steps": 20, "checkpoint__every": 10}
    whole = fit(toy.config(tmp_path / "whole", **changes))
    broken = toy.config(tmp_path / "broken", **changes)
    launch(tmp_path, broken, expect=-9, signal="kill", at=13)
    assert state(tmp_path / "broken")["avatarzoo"]["iteration"] == 10
    printed = launch(tmp_path, broken | {"resume": str(tmp_path / "broken")})
    assert "resumes" in printed
    a, b = state(whole), state(tmp_path / "broken")
    assert b["avatarzoo"]["iteration"] == 20
    assert equal(a["state_dict"], b["state_dict"])
    assert equal(a["optimizer_states"], b["optimizer_states"])
    assert [r["iteration"] for r in rows(tmp_path / "broken")] == ["1", "10", "11", "20"]
    assert yaml.safe_load((tmp_path / "broken" / "config.yaml").read_text())["resume"] is None


def test_resuming_a_run_that_ended_goes_on_exactly_too(tmp_path):
    """The checkpoint of an ended run, resumed for longer; without a decay the steps do not depend on the run's length."""
    config = toy.config(tmp_path / "a", trainer__max_steps=6, phases__g__optimizer={"lr": 1e-2})
    whole = fit({**config, "out": str(tmp_path / "b"), "trainer": {**config["trainer"], "max_steps": 11}})
    run = fit(config)
    fit({**config, "resume": str(run), "out": None, "trainer": {**config["trainer"], "max_steps": 11}})
    assert equal(state(whole)["state_dict"], state(run)["state_dict"])
    finished = state(run)
    fit({**config, "resume": str(run), "out": None, "trainer": {**config["trainer"], "max_steps": 11}})
    assert equal(finished["state_dict"], state(run)["state_dict"]), "a run that is over takes no further step"


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(tmp_path):
    config = toy.config(tmp_path / "run", trainer__max_steps=10_000)
    printed = launch(tmp_path, config, signal="interrupt", at=5)
    assert state(tmp_path / "run")["avatarzoo"]["iteration"] == 6
    assert "Stopping after this step" in printed
    assert f"to resume   avatarzoo fit resume={tmp_path / 'run'}" in printed and "next  " not in printed


def test_ctrl_c_leaves_loader_workers_alive(tmp_path):
    capture = build_capture(toy.config())
    capture.prepare()
    batches = iter(ZooData(capture, batch_size=1, workers=1).batches("train"))
    sizes = [next(batches).size]
    os.kill(batches._workers[0].pid, signal.SIGINT)  # as a terminal does to the whole group
    sizes += [batch.size for batch in batches]
    assert sizes == [1] * 12


def test_a_second_ctrl_c_aborts(tmp_path):
    config = toy.config(tmp_path / "run", trainer__max_steps=10_000)
    launch(tmp_path, config, expect=1, signal="interrupt", at=5, times=2)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_last_good_checkpoint_survives_a_loss_that_is_not_finite(tmp_path):
    order = [SampleStream(12, 1, seed=3).at(i)[0][0] // 2 for i in range(12)]  # two pictures per frame
    bad = next(frame for frame in order if order.index(frame) >= 3)
    config = toy.config(tmp_path / "run", data__bad_frame=bad, loader__batch_size=1, checkpoint__every=2)
    with pytest.raises(NonFiniteError, match=f"'d' at iteration {order.index(bad)}, for S1/00{bad}"):
        fit(config | {"trainer": config["trainer"] | {"max_steps": 50}})
    saved = state(tmp_path / "run")
    assert saved["avatarzoo"]["iteration"] == order.index(bad) // 2 * 2
    assert all(v.isfinite().all() for v in saved["state_dict"].values())


def test_a_loader_workers_error_is_raised_as_it_was(tmp_path, monkeypatch):
    from avatarzoo.fit import _plain_errors

    wrapped = "Caught DataError in DataLoader worker process 0.\nOriginal:\navatarzoo.errors.DataError: x.png is cut off."
    with pytest.raises(DataError, match=r"^x.png is cut off\.$"), _plain_errors():
        raise DataError(wrapped)
    with pytest.raises(KeyboardInterrupt), _plain_errors():
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("Please call `iter(combined_loader)` first.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainer__precision": "16-mixed"}, "32-true or bf16-mixed"),
        ({"logger": "wandbb"}, "wandb"),
        ({"trainer__max_steps": None}, "no end"),
        ({"resume": "/no/where"}, "no checkpoint or run at"),
    ],
)
def test_what_cannot_run_is_refused(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        fit(toy.config(tmp_path / "run", **changes))


def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    """Two CPU processes with 2 pictures each, three phases, against one with 4; the running average included."""
    one = fit(toy.config(tmp_path / "one", loader__batch_size=4, trainer__max_steps=8))
    printed = launch(tmp_path, toy.config(tmp_path / "two", loader__batch_size=2, trainer__max_steps=8, trainer__devices=2))
    assert "2 x cpu" in printed and printed.count("checkpoint  ") == 1, "one process speaks"
    a, b = state(one), state(tmp_path / "two")
    assert b["avatarzoo"]["iteration"] == 8
    for name, value in a["state_dict"].items():
        torch.testing.assert_close(b["state_dict"][name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    for one_row, two_row in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):  # of all processes' pictures
        for name in (n for n in one_row if "/" in n):
            found, expected = (float(row[name] or "nan") for row in (two_row, one_row))
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-6, nan_ok=True), name
    sizes = {k: v["avatarzoo"]["config"] for k, v in (("a", a), ("b", b))}
    assert "batch_size: 4" in sizes["a"] and "batch_size: 2" in sizes["b"]
    with pytest.raises(ConfigError, match=r"trained by 2 processes.*go on with 1.*trainer\.devices=2"):
        fit(toy.config(loader__batch_size=2, trainer__max_steps=9, resume=str(tmp_path / "two")))


def test_no_step_saves_the_model_as_it_was_built(tmp_path):
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=0))
    loaded = checkpoint.load(run)
    assert loaded.iteration == 0 and loaded.model.mean_image.abs().sum() == 0


def test_checkpoints_load_by_themselves(tmp_path):
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=3))
    loaded = checkpoint.load(run)
    assert loaded.iteration == 3 and not loaded.model.training and loaded.model.progress == 1.0
    assert loaded.config["model"] == {"name": "toy", "width": 6}
    weights = {k.removeprefix("model."): v for k, v in state(run)["state_dict"].items()}
    assert equal(dict(loaded.model.state_dict()), weights)
    assert loaded.summary.tables["camera"] == ["left", "front"]
