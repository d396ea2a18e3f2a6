import pytest
import toy
from toy import toys  # noqa: F401

from avatarzoo.errors import DataError
from avatarzoo.fit import fit


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
