"""What a model does when a run ends: once, over the frames of the training split, and not after an interrupt."""

from __future__ import annotations

import csv
import itertools
import signal
import time

import pytest
import toy
from toy import toys  # noqa: F401
from whole_runs import equal, state

from avatarzoo.batch import HeadBatch
from avatarzoo.datamodules.base import ZooData
from avatarzoo.fit import fit

LINE = "left out    what the model makes when a run ends"


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[tuple[int, int, int]]]]:
    """What ``finish`` was called with: how many frames, and each picture's size, frame and camera."""
    calls = []

    def finish(self: toy.ToyAvatar, batches: list[HeadBatch], frames: int) -> None:
        seen = [(batch.size, int(batch.meta.frame[0]), int(batch.meta.camera[0])) for batch in batches]
        calls.append((frames, seen))

    monkeypatch.setattr(toy.ToyAvatar, "finish", finish)
    return calls


def test_it_sees_each_frame_once_though_two_cameras_do(tmp_path, finished, capsys) -> None:
    fit(toy.config(tmp_path / "run", trainer__max_steps=3))
    assert finished == [(6, [(1, frame, 0) for frame in range(6)])]
    assert LINE not in capsys.readouterr().out


def test_frames_that_it_does_not_ask_for_are_not_read(tmp_path, monkeypatch) -> None:
    read, original = [], toy.ToyCapture.read

    def reads(self, sample, noise_key=0) -> HeadBatch:
        read.append((sample.frame, sample.camera))
        return original(self, sample, noise_key)

    def finish(self: toy.ToyAvatar, batches: list[HeadBatch], frames: int) -> None:
        read.clear()  # of the training
        assert [int(batch.meta.frame[0]) for batch in batches] == [0, 2, 3, 5] and frames == 4

    monkeypatch.setattr(toy.ToyCapture, "read", reads)
    monkeypatch.setattr(toy.ToyAvatar, "finish", finish)
    monkeypatch.setattr(toy.ToyAvatar, "finishing_frames", 4)
    fit(toy.config(tmp_path / "run", trainer__max_steps=0))
    assert read == [(f"00{frame}", "left") for frame in (0, 2, 3, 5)]


@pytest.mark.parametrize(("at_most", "count"), [(None, 399), (1, 1), (200, 200), (398, 398), (399, 399), (1000, 399)])
def test_the_frames_are_spread_evenly_and_as_many_as_asked_for(at_most, count) -> None:
    capture = toy.ToyCapture(frames=399)
    places = [place for ((place, _),) in ZooData(capture).frames("train", at_most).batch_sampler]
    frames = [int(capture.splits["train"][place].frame) for place in places]
    assert len(frames) == count and {capture.splits["train"][place].camera for place in places} == {"left"}
    apart = [b - a for a, b in itertools.pairwise(frames)]
    assert all(0 < gap <= -(-399 // count) for gap in apart)
    assert frames[0] <= 399 / count / 2 and 398 - frames[-1] <= 399 / count / 2


def interrupt(monkeypatch, at: int | None = None):
    """Press Ctrl-C in a step, or in each; return the method that was in place before."""
    original = toy.ToyAvatar.after_step

    def after_step(self, batch, prediction, average) -> None:
        original(self, batch, prediction, average)
        if at in (None, self.iteration):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(toy.ToyAvatar, "after_step", after_step)
    return original


def test_an_interrupted_run_does_without_and_says_so_and_its_end_makes_up_for_it(
    tmp_path, finished, capsys, monkeypatch
) -> None:
    original = interrupt(monkeypatch, at=2)
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=6))
    assert state(run)["avatarzoo"]["iteration"] == 3
    assert finished == []
    assert LINE in capsys.readouterr().out
    monkeypatch.setattr(toy.ToyAvatar, "after_step", original)
    fit(toy.config(resume=str(run), trainer__max_steps=6))
    assert [frames for frames, _ in finished] == [6]
    assert LINE not in capsys.readouterr().out


def test_its_failure_costs_no_step_and_resuming_makes_up_for_it(tmp_path, monkeypatch) -> None:
    def fails(self: toy.ToyAvatar, batches: list[HeadBatch], frames: int) -> None:
        next(iter(batches))
        raise MemoryError("no room for the grid")

    monkeypatch.setattr(toy.ToyAvatar, "finish", fails)
    with pytest.raises(MemoryError, match="no room"):
        fit(toy.config(tmp_path / "run", trainer__max_steps=3))
    kept = state(tmp_path / "run")
    assert kept["avatarzoo"]["iteration"] == 3 and kept["avatarzoo"]["complete"] is False
    monkeypatch.setattr(toy.ToyAvatar, "finish", paint)
    run = fit(toy.config(resume=str(tmp_path / "run"), trainer__max_steps=3))
    whole = state(run)
    assert whole["avatarzoo"]["complete"] and whole["avatarzoo"]["iteration"] == 3
    assert whole["avatarzoo"]["elapsed"] == kept["avatarzoo"]["elapsed"], "it is no training"
    assert equal(kept["optimizer_states"], whole["optimizer_states"])
    assert (whole["state_dict"]["model.mean_image"] == 7).all() and not equal(kept["state_dict"], whole["state_dict"])


def paint(self: toy.ToyAvatar, batches: list[HeadBatch], frames: int) -> None:
    self.mean_image.fill_(frames + 1)


def test_a_run_that_begins_at_its_end_is_finished_once(tmp_path, finished, monkeypatch) -> None:
    """Of no steps, resumed with no step left after an interrupt, and resumed when all is done."""
    fit(toy.config(tmp_path / "none", trainer__max_steps=0))
    assert [frames for frames, _ in finished] == [6] and state(tmp_path / "none")["avatarzoo"]["elapsed"] == 0
    original = interrupt(monkeypatch)
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=6))
    assert state(run)["avatarzoo"]["iteration"] == 1 and len(finished) == 1
    for _ in range(2):
        fit(toy.config(resume=str(run), trainer__max_steps=1))
        assert len(finished) == 2 and state(run)["avatarzoo"]["complete"]
    monkeypatch.setattr(toy.ToyAvatar, "after_step", original)
    fit(toy.config(resume=str(run), trainer__max_steps=2))
    assert len(finished) == 3, "other weights, another finish"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("steps", [3, 0])
def test_ctrl_c_leaves_it_out_and_the_run_ends_as_a_whole_one(tmp_path, capsys, monkeypatch, number, steps) -> None:
    def finish(self: toy.ToyAvatar, batches: list[HeadBatch], frames: int) -> None:
        self.mean_image.fill_(7)  # half-made things are not saved
        next(iter(batches))
        signal.raise_signal(number)
        raise AssertionError("Ctrl-C does not wait for what can be left out")

    before = signal.getsignal(number)
    monkeypatch.setattr(toy.ToyAvatar, "finish", finish)
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=steps))
    assert signal.getsignal(number) is before
    kept = state(run)
    assert kept["avatarzoo"]["iteration"] == steps and not kept["avatarzoo"]["complete"]
    assert not (kept["state_dict"]["model.mean_image"] == 7).any()
    printed = capsys.readouterr().out
    assert "Stopping after this step" not in printed and "to resume" not in printed
    assert LINE in printed and f"to make it  avatarzoo fit resume={run}" in printed
    assert f"next        avatarzoo test ckpt={run}" in printed
    monkeypatch.setattr(toy.ToyAvatar, "finish", paint)
    fit(toy.config(resume=str(run), trainer__max_steps=steps))
    assert (state(run)["state_dict"]["model.mean_image"] == 7).all() and LINE not in capsys.readouterr().out


def test_ctrl_c_in_the_last_step_leaves_it_out_too_and_the_run_is_no_broken_one(
    tmp_path, finished, capsys, monkeypatch
) -> None:
    interrupt(monkeypatch, at=2)
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=3))
    printed = capsys.readouterr().out
    assert finished == [] and state(run)["avatarzoo"]["iteration"] == 3
    assert LINE in printed and "to make it" in printed and "next  " in printed and "to resume" not in printed


def test_a_second_ctrl_c_while_the_end_is_saved_aborts(tmp_path, capsys, monkeypatch) -> None:
    from avatarzoo.callbacks import checkpoints

    original = checkpoints.save_whole

    def save_whole(*args) -> None:
        original(*args)
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(checkpoints, "save_whole", save_whole)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            fit(toy.config(tmp_path / "run", trainer__max_steps=3))
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores it from there on
    printed = capsys.readouterr().out
    assert "Training is over and its end is being saved" in printed and "Stopping after this step" not in printed
    assert state(tmp_path / "run")["avatarzoo"]["iteration"] == 3


def test_it_is_announced_and_is_no_part_of_the_training(tmp_path, capsys, monkeypatch) -> None:
    def finish(self: toy.ToyAvatar, batches: list[HeadBatch], frames: int) -> None:
        assert self.mean_image.isfinite().all() and len(list(batches)) == frames
        time.sleep(0.2)

    monkeypatch.setattr(toy.ToyAvatar, "finish", finish)
    monkeypatch.setattr(toy.ToyAvatar, "finishing", "the toy's grid")
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=3))
    with open(run / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert last["iteration"] == "3"
    kept = state(run)["avatarzoo"]["elapsed"]
    assert kept == pytest.approx(float(last["elapsed"]), abs=1e-3), "the clock stops with the last step"
    printed = capsys.readouterr().out
    assert printed.index("step 3") < printed.index("making the toy's grid of 6 frames ...") < printed.index("checkpoint ")


def test_a_model_that_makes_nothing_says_nothing(tmp_path, capsys, monkeypatch) -> None:
    original = toy.ToyAvatar.after_step

    def after_step(self, batch, prediction, average) -> None:
        original(self, batch, prediction, average)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(toy.ToyAvatar, "after_step", after_step)
    fit(toy.config(tmp_path / "run", trainer__max_steps=6))
    printed = capsys.readouterr().out
    assert "to resume" in printed and LINE not in printed
