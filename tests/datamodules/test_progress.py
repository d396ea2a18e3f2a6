"""The progress bar of whatever takes long."""

from __future__ import annotations

import pytest

from avatarzoo.datamodules import progress


class Clock:
    """Time that passes one second per look."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def test_short_work_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track(range(3), "Counting")) == [0, 1, 2]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("rank", "shown"), [("0", True), ("1", False)])
def test_long_work_shows_a_bar_in_one_process(monkeypatch, capfd, rank: str, shown: bool) -> None:
    monkeypatch.setattr(progress, "time", Clock())
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(progress.track(range(6), "Counting")) == list(range(6))
    assert ("Counting" in capfd.readouterr().out) is shown


def test_the_bar_goes_when_the_work_fails(monkeypatch) -> None:
    monkeypatch.setattr(progress, "time", Clock())
    with pytest.raises(KeyError):
        for item in progress.track(range(9), "Counting"):
            if item == 7:
                raise KeyError
    assert list(progress.track(range(9), "Counting")) == list(range(9)), "a second bar may start"
