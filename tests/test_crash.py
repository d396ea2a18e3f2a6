"""What is said of errors that no message was written for."""

import errno

import pytest

from avatarzoo import crash


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as found:
        return found


def test_the_traceback_goes_to_the_runs_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(crash, "run", tmp_path)
    told = crash.report(caught(ValueError("two\nlines")), ["fit", "recipe=x"])
    (file,) = tmp_path.iterdir()
    assert str(file) in told and "ValueError: two lines in test_crash.py:" in told
    assert "two\nlines" in file.read_text()


def test_a_folder_that_cannot_be_written_is_passed_over(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(crash, "run", tmp_path / "gone")
    monkeypatch.chdir(tmp_path)
    crash.report(caught(ValueError("x")), [])
    assert len(list(tmp_path.glob("avatarzoo-error-*.txt"))) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied"),
        (MemoryError("no more"), "out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "loader.batch_size=1"),
    ],
)
def test_a_machine_that_gives_out_is_no_bug(tmp_path, monkeypatch, error, words) -> None:
    monkeypatch.setattr(crash, "run", tmp_path)
    told = crash.report(caught(error), [])
    assert words in told and "bug" not in told
    assert not list(tmp_path.iterdir())
