"""Whole runs: the run's folder, refusals before training, resuming, interrupts, loggers."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toy
import yaml
from toy import toys  # noqa: F401

from avatarzoo import checkpoint
from avatarzoo.build import build_capture
from avatarzoo.datamodules.base import SampleStream, ZooData
from avatarzoo.errors import ConfigError, DataError, NonFiniteError
from avatarzoo.fit import fit
from avatarzoo.run_folder import run_folder
from avatarzoo.trainer import build_loggers

HERE = Path(__file__).parent


def launch(tmp_path, config, expect=0, **options):
    """Train a config in a fresh process; return what it printed."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"config": config, **options}))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(HERE / "toy.py"), str(file)]
    how = {"capture_output": True, "text": True, "timeout": 600, "start_new_session": True}
    done = subprocess.run(command, env=environment, cwd=tmp_path, **how)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def rows(run):
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def state(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def equal(a, b):
    """Whether nested containers of tensors and numbers are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_a_run_folder_holds_config_versions_metrics_and_the_last_checkpoint(tmp_path, capsys):
    config = toy.config(tmp_path / "run", trainer__max_steps=12)
    run = fit(config)
    assert run == tmp_path / "run"
    assert yaml.safe_load((run / "config.yaml").read_text()) == config
    versions = json.loads((run / "versions.json").read_text())
    assert versions["torch"] == torch.__version__.split("+")[0] or versions["torch"] == torch.__version__
    table = rows(run)
    assert [r["iteration"] for r in table] == ["1", "10", "12"]
    assert float(table[-1]["progress"]) == 1.0
    assert all(r["g/toy_l2"] for r in table) and float(table[-1]["g/toy_l2"]) < float(table[0]["g/toy_l2"])
    assert table[-1]["r1/toy_score"] == "", "a phase that did not act since the last row leaves its cell empty"
    printed = capsys.readouterr().out
    for words in ("1,612 parameters: generator 1,386", "cpu", "precision 32-true", f"avatarzoo test ckpt={run}"):
        assert words in printed
    assert f"{run}/checkpoints/last.ckpt (12 steps)" in printed
    assert not list(run.rglob("*.partial"))


def test_a_new_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = run_folder({"recipe": "some/where/mine.yaml"}), run_folder({"recipe": "some/where/mine.yaml"})
    assert first.parent == second.parent == Path("runs/mine") and first != second
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.yaml").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds a run already; continue it with resume="):
        run_folder({"out": str(tmp_path / "taken")})


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
    assert f"avatarzoo fit resume={tmp_path / 'run'}" in printed


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


def test_what_the_capture_lacks_is_named_before_training(tmp_path):
    with pytest.raises(
        DataError, match=r"model 'toy' needs view.depth, which data=toy \(toy\) does not provide; .*view.image"
    ):
        fit(toy.config(tmp_path / "a", model__needs="view.depth"))
    term = {"term": "toy_score", "needs": "landmarks"}
    with pytest.raises(DataError, match=r"loss term 'points' of phase 'g' needs landmarks"):
        fit(toy.config(tmp_path / "b", phases__g__loss__points=term))
    assert not (tmp_path / "a").exists()
    fit(
        toy.config(tmp_path / "c", model__needs="mesh", trainer__max_steps=1)
    )  # a group counts when one of its fields is there


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


def test_a_resumed_run_keeps_model_and_phases(tmp_path):
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=1))
    with pytest.raises(ConfigError, match=r"another model, loader\.batch_size;"):
        fit(toy.config(resume=str(run), model__width=7, loader__batch_size=5))
    changed = toy.config(resume=str(run))
    del changed["phases"]["r1"]
    with pytest.raises(ConfigError, match="another phases"):
        fit(changed)


@pytest.mark.parametrize(
    ("variable", "key", "mode"),
    [(None, False, "offline"), (None, True, "online"), ("disabled", True, "disabled"), ("dryrun", True, "offline")],
)
def test_wandb_is_offline_unless_logged_in_or_told(tmp_path, monkeypatch, variable, key, mode):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    monkeypatch.setattr("avatarzoo.trainer._wandb_key", lambda: key)
    logger = build_loggers({"logger": "wandb"}, tmp_path / "runs" / "toy" / "now")[0]
    assert (logger._wandb_init["mode"], logger._wandb_init["id"]) == (mode, "toy-now")


def test_tensorboard_gets_numbers_and_pictures(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=2, pictures__every=1, logger="tensorboard"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert "g/toy_l2" in events.Tags()["scalars"] and "pictures" in events.Tags()["images"]
    assert [e.step for e in events.Images("pictures")] == [0, 1, 2]
    assert [e.step for e in events.Scalars("g/toy_l2")] == [1, 2]


def test_wandb_writes_a_run_offline(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("avatarzoo.trainer._wandb_key", lambda: False)
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=2, pictures__every=1, logger="wandb"))
    assert len(list(run.glob("wandb/offline-run-*/*.wandb"))) == 1
    assert len(list(run.glob("wandb/offline-run-*/files/media/images/*.png"))) == 3
    assert len(rows(run)) == 2


def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    """Two CPU processes with 2 pictures each, three phases, against one with 4; the running average included."""
    one = fit(toy.config(tmp_path / "one", loader__batch_size=4, trainer__max_steps=8))
    printed = launch(tmp_path, toy.config(tmp_path / "two", loader__batch_size=2, trainer__max_steps=8, trainer__devices=2))
    assert "2 x cpu" in printed and printed.count("checkpoint  ") == 1, "one process speaks"
    a, b = state(one), state(tmp_path / "two")
    assert b["avatarzoo"]["iteration"] == 8
    for name, value in a["state_dict"].items():
        torch.testing.assert_close(b["state_dict"][name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    sizes = {k: v["avatarzoo"]["config"] for k, v in (("a", a), ("b", b))}
    assert "batch_size: 4" in sizes["a"] and "batch_size: 2" in sizes["b"]


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
