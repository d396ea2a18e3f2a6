import pytest
import toy
from toy import toys  # noqa: F401
from whole_runs import rows

from avatarzoo.fit import fit
from avatarzoo.trainer import build_loggers


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
