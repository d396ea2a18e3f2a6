"""Codes of unseen frames: an error unless asked for, and recorded when fitted."""

from __future__ import annotations

from pathlib import Path

import driven_capture as driven
import fixtures
import pytest
import torch

from avatarzoo import checkpoint
from avatarzoo.benchmark.score import score
from avatarzoo.callbacks.pictures import choose
from avatarzoo.errors import ConfigError
from avatarzoo.fitting import fit_codes


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driven.write_checkpoint(tmp_path_factory.mktemp("run") / "model.ckpt", "frame_code")


def test_scoring_an_unseen_frame_is_an_error_before_anything_is_written(ckpt: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no code for frame '001'.*fit_codes=STEPS"):
        score(ckpt, driven.DrivenCapture(), out=tmp_path / "out", device="cpu", quiet=True)
    assert not (tmp_path / "out").exists()


def test_fitting_that_was_asked_for_is_recorded(ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    capture = driven.DrivenCapture()
    record = score(ckpt, capture, out=tmp_path / "out", fit_codes=3, device="cpu", quiet=True)[0]
    assert record["test_time_fitting"] == "frame codes: 3 steps of Adam on the test split's own pictures"
    assert record["test_inputs"] == "pictures" and record["data"]["flame_edition"] == "2020"


def test_fitting_moves_the_codes_of_these_frames_alone_and_lowers_the_error(
    ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pictures are the model's own under a code that fitting does not know."""
    capture, model = driven.DrivenCapture(), checkpoint.load(ckpt).model
    with torch.no_grad():
        model.driver.codes[1] = 0.5 * torch.randn(model.driver.shape, generator=torch.Generator().manual_seed(1))
    model.driver.known[1] = True
    batches = [capture.read(s) for s in capture.splits["test"]]
    for batch in batches:
        batch.view.image = model.render(batch).image
    by_camera = {int(b.meta.camera): b for b in batches}
    monkeypatch.setattr(capture, "read", lambda s, key=0: by_camera[fixtures.CAMERAS.index(s.camera)])

    def error() -> float:
        return float((model.render(batches[0]).image - batches[0].view.image).abs().mean())

    model.driver.known[1] = False
    fit_codes(model, capture, "test", 1, lr=0.0, quiet=True)
    start = error()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.driver.known[1] = False
    fit_codes(model, capture, "test", 40, lr=0.05, quiet=True)
    assert start > 0 and error() < 0.8 * start
    for name, value in model.state_dict().items():
        same = value == before[name]
        assert same.all() if name != "driver.codes" else (same[[0, 2]].all() and not same[1].all()), name
    assert all(p.requires_grad for p in model.driver.parameters())


def test_other_drivers_have_no_codes_to_fit(tmp_path: Path) -> None:
    path = driven.write_checkpoint(tmp_path / "model.ckpt", "arkit")
    with pytest.raises(ConfigError, match=r"fit_codes=5 .* leave it out"):
        score(path, driven.DrivenCapture(), out=tmp_path / "out", fit_codes=5, device="cpu", quiet=True)


def test_pictures_during_training_show_frames_that_have_codes() -> None:
    capture = driven.DrivenCapture()
    capture.splits["val"] = capture.splits["test"]
    shown = choose(capture, 3, only_training=True)
    assert len(shown) > 1 and {s.frame for s in shown} <= {"000", "002"}
    assert "001" in {s.frame for s in choose(capture, 3)}
    assert torch.equal(capture.summary.train_frames, torch.tensor([0, 2]))
