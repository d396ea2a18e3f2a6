"""Show how far a bench is: a bar over all runs with the time that is left, or a line a minute without a terminal."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from avatarzoo.benchmark.bench.job import Job
from avatarzoo.callbacks.progress import duration

PLAIN_EVERY = 60.0  #: seconds between two lines where standard output is no terminal
SCORING = 0.1  #: share of a run's time that scoring is taken to need before the first one has ended


def training_row(run: Path) -> dict[str, float]:
    """Return the newest row of a run's metrics.csv; empty while there is none.

    Args:
        run: its folder.
    """
    try:
        with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
            head = file.readline()
            file.seek(max(len(head), (run / "metrics.csv").stat().st_size - 4096))
            last = [line for line in file.read().splitlines() if line][-1]
        row = dict(zip(next(csv.reader([head])), map(float, next(csv.reader([last]))), strict=True))
    except (OSError, ValueError, IndexError, StopIteration):
        return {}
    return row


class BenchProgress:
    """Progress of a bench's runs."""

    def __init__(self, runs: int, expected: float | None, console: Console, short: int = 0) -> None:
        """Set the bar up.

        Args:
            runs: how many there are to do.
            expected: seconds that training one is set to take, or None.
            console: to print on.
            short: how many of them have a length of their own, such as none; their time is not counted.
        """
        self.runs, self.console = runs, console
        self.long, self._is_long = runs - short, True
        self.expected = expected * (1 + SCORING) if expected else None
        self.took: list[float] = []
        self.done, self._printed, self._begun = 0, time.monotonic(), time.monotonic()
        self._bar = Progress(
            BarColumn(bar_width=20), TextColumn("{task.fields[text]}"), console=console, disable=not console.is_terminal
        )
        self._task = self._bar.add_task("bench", total=max(1, runs), text="")

    def __enter__(self) -> BenchProgress:
        """Start the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print a line above the bar."""
        self.console.print(Text(text, style), soft_wrap=True)

    def begin(self, name: str, short: bool = False) -> None:
        """Say that a run begins.

        Args:
            name: of the run.
            short: it has a length of its own.
        """
        self._begun, self._is_long = time.monotonic(), not short
        self.show(name, {})

    def show(self, name: str, row: dict[str, float]) -> None:
        """Show the run in progress.

        Args:
            name: of the run.
            row: newest of its metrics.
        """
        share = row.get("progress", 0.0)
        spent = time.monotonic() - self._begun
        state = f"step {int(row['iteration']):,} · {row['steps_per_s']:.1f} it/s" if row else "starting"
        state = "scoring" if share >= 1 else state
        text = f"{self.done}/{self.runs} · {duration(self.left(share, spent))} left · {name} · {state}"
        self._bar.update(self._task, completed=self.done + 0.9 * share, text=text)
        if not self.console.is_terminal and time.monotonic() - self._printed >= PLAIN_EVERY:
            self._printed = time.monotonic()
            self.say(text)

    def left(self, share: float, spent: float) -> float | None:
        """Estimate the seconds left for everything.

        Args:
            share: of its training that the run in progress has behind it.
            spent: seconds on that run.
        """
        each = sum(self.took) / len(self.took) if self.took else self.expected
        if each is None and self._is_long:
            each = spent / share * (1 + SCORING) if share > 0.02 else None
        if each is None:
            return None
        if not self._is_long:
            return self.long * each
        return max(0, self.long - 1) * each + each * (1 - (1 - SCORING) * share)

    def end(self, job: Job, elsewhere: bool = False) -> None:
        """Say how a run ended.

        Args:
            job: done or failed.
            elsewhere: another bench ran it, so that its time here says nothing.
        """
        if self._is_long and job.status == "done" and not elsewhere:
            self.took.append(time.monotonic() - self._begun)
        self.long -= self._is_long
        self.done += 1
        self._bar.update(self._task, completed=self.done, text=f"{self.done}/{self.runs}")
        if job.status == "failed":
            self.say(f"failed  {job.row}, seed {job.seed}: {job.why}", "red")

    def wait(self, names: Sequence[str]) -> None:
        """Say that other benches are running what is left."""
        self._bar.update(self._task, text=f"{self.done}/{self.runs} · another bench is running {', '.join(names)}")
