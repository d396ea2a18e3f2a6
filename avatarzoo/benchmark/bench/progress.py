"""Show how far a bench is: a bar over all runs with the time that is left, or a line a minute without a terminal."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from avatarzoo.benchmark.bench.job import Job
from avatarzoo.callbacks.progress import duration

PLAIN_EVERY = 60.0  #: seconds between two lines where standard output is no terminal


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


def overhead(job: Job, training: float | None) -> float | None:
    """Return the seconds that a finished run took beside training: loading, saving and scoring; None where unknown.

    Args:
        job: done, with the seconds of its processes.
        training: seconds it trained, or None: then only scoring is known.
    """
    spent = job.seconds or {}
    if "test" not in spent:
        return None
    return spent["test"] + (max(0.0, spent.get("fit", 0.0) - training) if training is not None else 0.0)


class BenchProgress:
    """Progress of a bench's runs."""

    def __init__(
        self, runs: int, expected: float | None, console: Console, short: int = 0, overheads: Sequence[float] = ()
    ) -> None:
        """Set the bar up.

        Args:
            runs: how many there are to do.
            expected: seconds that training one is set to take, or None.
            console: to print on.
            short: how many of them have a length of their own, such as none; only loading and scoring is counted for them.
            overheads: seconds that runs of this bench that are there already took beside training.
        """
        self.runs, self.console = runs, console
        self.long, self._is_long = runs - short, True
        self.expected = expected
        self.took: list[float] = []
        self.overheads = list(overheads)
        self.done, self._printed, self._begun = 0, time.monotonic(), time.monotonic()
        self._said = ""
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
        alone = "" if self.took or self.overheads else " of training, scoring on top"
        text = f"{self.done}/{self.runs} · {duration(self.left(share, spent))} left{alone} · {name} · {state}"
        self._bar.update(self._task, completed=self.done + 0.9 * share, text=text)
        if not self.console.is_terminal and text != self._said and time.monotonic() - self._printed >= PLAIN_EVERY:
            self._printed, self._said = time.monotonic(), text
            self.say(text)

    def left(self, share: float, spent: float) -> float | None:
        """Estimate the seconds left for everything; loading and scoring count once a run of this bench has ended.

        Args:
            share: of its training that the run in progress has behind it.
            spent: seconds on that run.
        """
        beside = statistics.fmean(self.overheads) if self.overheads else 0.0
        training = self.expected
        if training is None and self.took:
            training = max(0.0, statistics.fmean(self.took) - beside)
        if training is None and self._is_long:
            training = spent / share if share > 0.02 else None
        if training is None:
            return None
        short = max(0, self.runs - self.done - self.long - (not self._is_long))
        now = training * (1 - share) + beside if self._is_long else max(0.0, beside - spent)
        return max(0, self.long - self._is_long) * (training + beside) + short * beside + now

    def end(self, job: Job, elsewhere: bool = False) -> None:
        """Say how a run ended.

        Args:
            job: done or failed.
            elsewhere: another bench ran it, so that its time here says nothing.
        """
        if job.status == "done" and not elsewhere:
            took = time.monotonic() - self._begun
            if self._is_long:
                self.took.append(took)
            self.overheads += [beside] if (beside := overhead(job, self.expected if self._is_long else None)) else []
        self.long -= self._is_long
        self.done += 1
        self._bar.update(self._task, completed=self.done, text=f"{self.done}/{self.runs}")
        if job.status == "failed":
            self.say(f"failed  {job.row}, seed {job.seed}: {job.why}", "red")

    def wait(self, names: Sequence[str]) -> None:
        """Say that other benches are running what is left."""
        self._bar.update(self._task, text=f"{self.done}/{self.runs} · another bench is running {', '.join(names)}")
