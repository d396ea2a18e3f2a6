"""What may change when a run is resumed, and what is refused."""

import copy
import re

import pytest
import torch
import toy
import yaml
from toy import toys  # noqa: F401
from whole_runs import state

from avatarzoo import checkpoint
from avatarzoo.build import build_capture
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.fit import fit
from avatarzoo.resuming import check_resumed, check_same_capture, train_samples

HARMLESS = {
    "trainer": {"max_steps": None, "max_time": "00:10:00", "accelerator": "auto", "devices": "auto"},
    "pictures": {"every": 3},
    "checkpoint": {"every": 7},
    "loader": {"workers": 2},
    "logger": "tensorboard",
    "out": "/elsewhere",
    "resume": "/somewhere",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    toy.enlist()
    return fit(toy.config(tmp_path_factory.mktemp("runs") / "run", trainer__max_steps=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases__g__optimizer__lr": 0.3}, "phases.g.optimizer.lr was 0.01 and is now 0.3"),
        ({"phases__g__optimizer__lr_by_part": {}}, "phases.g.optimizer.lr_by_part.colour was 0.05 and is now not set"),
        ({"phases__g__loss__toy_l2__weight": 1.0}, "phases.g.loss.toy_l2.weight was 2.0 and is now 1.0"),
        ({"phases__r1__every": 2}, "phases.r1.every was 4 and is now 2"),
        ({"data__frames": 5}, "data.frames was 6 and is now 5"),
        ({"model__width": 7}, "model.width was 6 and is now 7"),
        ({"loader__batch_size": 3}, "loader.batch_size was 2 and is now 3"),
        ({"seed": 4}, "seed was 3 and is now 4"),
        ({"scale": "paper"}, "scale was 'small' and is now 'paper'"),
        ({"trainer__precision": "bf16-mixed"}, "trainer.precision was '32-true' and is now 'bf16-mixed'"),
    ],
)
def test_what_would_change_a_step_is_refused_with_both_values(run, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        fit(toy.config(resume=str(run), **changes))
    assert "last.ckpt" in str(caught.value) and "Leave it as before, or start a new run" in str(caught.value)


def test_a_run_does_not_end_before_where_it_stands(run):
    config = (run / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"has done 2 steps, and trainer.max_steps=1 ends before that"):
        fit(toy.config(resume=str(run), trainer__max_steps=1))
    assert (run / "config.yaml").read_bytes() == config


def test_a_snapshot_is_refused_before_anything_is_built_or_written(run, tmp_path, monkeypatch):
    content = state(run)
    del content["optimizer_states"], content["lr_schedulers"]
    snapshot = checkpoint.snapshot_path(run / "checkpoints", 1.5)
    torch.save(content, snapshot)
    torch.save(content, tmp_path / "alone.ckpt")
    kept = (run / "config.yaml").read_text()
    monkeypatch.setattr(toy.ToyCapture, "prepare", lambda self: pytest.fail("the capture was built"))
    with pytest.raises(ConfigError, match=re.escape(f"Resume {run}/checkpoints/last.ckpt; avatarzoo test")):
        fit(toy.config(resume=str(snapshot), trainer__max_steps=3))
    with pytest.raises(ConfigError, match=r"alone\.ckpt holds weights alone.*Start a new run without resume="):
        fit(toy.config(resume=str(tmp_path / "alone.ckpt"), trainer__max_steps=3))
    assert (run / "config.yaml").read_text() == kept
    snapshot.unlink()


def test_several_changes_are_counted_and_phases_keep_their_order(run):
    config = toy.config(
        resume=str(run), phases__g__every=2, phases__d__every=2, seed=9, model__width=2, loader__batch_size=9
    )
    with pytest.raises(ConfigError, match=r"; and 1 more\. Leave them"):
        fit(config)
    swapped = toy.config(resume=str(run))
    swapped["phases"] = {name: swapped["phases"][name] for name in ("g", "d", "r1")}
    with pytest.raises(ConfigError, match="phases were d, g, r1 and are now g, d, r1"):
        fit(swapped)


def test_what_changes_no_step_may_change(run):
    changed = toy.config()
    for key, value in HARMLESS.items():
        changed[key] = changed[key] | value if isinstance(value, dict) else value
    check_resumed(changed, yaml.safe_load(state(run)["avatarzoo"]["config"]), run)


def test_an_option_that_an_older_version_did_not_write_counts_as_its_default(run):
    before = yaml.safe_load(state(run)["avatarzoo"]["config"])
    assert "accumulate" not in before["phases"]["g"]
    now = toy.config(phases__g__accumulate=1, phases__d__accumulate=1, phases__r1__accumulate=1)
    check_resumed(now, before, run)
    with pytest.raises(ConfigError, match="accumulate was 1 and is now 2"):
        check_resumed({**now, "phases": {k: {**v, "accumulate": 2} for k, v in now["phases"].items()}}, before, run)


def test_another_capture_under_the_same_options_is_refused(run, monkeypatch):
    """Another folder behind data.root: other statistics, or the same with other training pictures."""
    original = toy.ToyCapture.prepare

    def prepare(self):
        original(self)
        self.summary.colour_mean = self.summary.colour_mean + 0.25

    monkeypatch.setattr(toy.ToyCapture, "prepare", prepare)
    with pytest.raises(DataError, match=r"colour_mean was a tensor \(3,\) of mean 0\.5 and is now .* of mean 0\.75"):
        fit(toy.config(resume=str(run), trainer__max_steps=3))
    assert state(run)["avatarzoo"]["iteration"] == 2
    monkeypatch.setattr(toy.ToyCapture, "prepare", original)
    capture = build_capture(toy.config())
    capture.prepare()
    capture.splits["train"] = capture.splits["train"][1:]
    with pytest.raises(DataError, match=r"other pictures than data=toy gives \(12 then, 11 now"):
        check_same_capture(capture, state(run)["avatarzoo"], run)


def test_a_capture_may_be_renamed_and_measured_on_another_machine(run):
    capture = build_capture(toy.config())
    capture.prepare()
    record = state(run)["avatarzoo"]
    summary = capture.summary
    summary.name, summary.tables = "moved", {**summary.tables, "subject": ["moved"]}
    summary.colour_mean = summary.colour_mean * (1 + 1e-6)  # sums in another order
    record["summary"]["motion_per_unit"], summary.motion_per_unit = {"arkit": torch.ones(52)}, {"arkit": torch.zeros(52)}
    bound = check_same_capture(capture, record, run)
    assert bound.motion_per_unit["arkit"].sum() == 52, "an estimate that another version makes differently"
    assert bound.to_plain().keys() == record["summary"].keys()
    assert bound.colour_mean.equal(record["summary"]["colour_mean"]), "bound to what it was trained with, to the last bit"
    cut = copy.deepcopy(record)
    del cut["train_samples"]  # a checkpoint of an earlier version
    assert isinstance(check_same_capture(capture, cut, run), CaptureSummary)
    summary.vertex_std *= 1.01
    with pytest.raises(DataError, match=r"vertex_std was 1\.0 and is now 1\.01"):
        check_same_capture(capture, record, run)


def test_the_order_of_samples_is_part_of_their_digest():
    capture = build_capture(toy.config())
    before = train_samples(capture)
    capture.splits["train"] = capture.splits["train"][::-1]
    assert train_samples(capture) != before and train_samples(capture)["count"] == before["count"] == 12
