import json

import pytest
import toy
from toy import toys  # noqa: F401

from avatarzoo.errors import DataError
from avatarzoo.fit import fit
from avatarzoo.requirements import absent_inputs


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


def test_optional_inputs_that_are_absent_are_announced_and_recorded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(toy.ToyCapture, "stand_ins", {"view.depth": "data.depth=made_up"})
    term = {"term": "toy_score", "needs": "view.depth?"}
    far = {**term, "of": "real"}
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=1, phases__g__loss__near=term, phases__d__loss__far=far))
    recorded = json.loads((run / "versions.json").read_text())["absent_inputs"]
    assert recorded == {
        "texture.average": ["model toy"],
        "view.depth": ["loss term d/far", "loss term g/near"],
    }
    printed = capsys.readouterr().out
    stays = "without     view.depth, which the capture lacks: loss terms d/far, g/near stay 0; data.depth=made_up renders"
    assert stays in printed
    assert "without     texture.average, which the capture lacks: the model does without" in printed


def test_what_is_there_or_not_optional_is_not_absent():
    capture = toy.ToyCapture()
    readers = {"a": ("view.image?", "view?", "view.depth"), "b": ("view.depth?",), "c": ("view.depth?", "driving?")}
    assert absent_inputs(capture, readers) == {"view.depth": ["b", "c"], "driving": ["c"]}
