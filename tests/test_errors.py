"""Hints about names and paths."""

from pathlib import Path

import pytest

from avatarzoo.errors import did_you_mean, near_path


def test_near_names_come_in_the_form_they_are_typed_in() -> None:
    known = ["max_steps", "max_time", "devices"]
    assert did_you_mean("max_step", known, "trainer.{}") == " Did you mean 'trainer.max_steps' or 'trainer.max_time'?"
    assert did_you_mean("zzz", known, "trainer.{}") == " Known: trainer.devices, trainer.max_steps, trainer.max_time."
    assert did_you_mean("zzz", []) == ""


def test_all_names_are_listed_where_that_helps() -> None:
    cameras = ["400002", "400005"]
    assert did_you_mean("400003", cameras, all_of="Cameras").endswith("? Cameras: 400002, 400005.")
    assert did_you_mean("front", cameras, all_of="Cameras") == " Cameras: 400002, 400005."


def test_a_path_that_is_not_there_is_compared_with_what_is(tmp_path: Path) -> None:
    (tmp_path / "captures" / "me" / "images").mkdir(parents=True)
    (tmp_path / "captures" / "somebody").mkdir()
    assert near_path(tmp_path / "captures" / "mee") == f" Did you mean '{tmp_path}/captures/me'?"
    assert near_path(tmp_path / "capturs" / "me") == f" Did you mean '{tmp_path}/captures/me'?"
    assert near_path(tmp_path / "heads" / "me") == f" {tmp_path} is there, {tmp_path}/heads is not."


@pytest.mark.parametrize("path", ["/zqx", "/zqx/heads/me"])
def test_what_lies_beside_the_root_is_no_hint(path: str) -> None:
    told = near_path(Path(path))
    assert "Known" not in told and "bin" not in told
    assert told == ("" if path == "/zqx" else " / is there, /zqx is not.")
