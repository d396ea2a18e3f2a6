"""Show a run's progress: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any, cast

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from avatarzoo.callbacks.metrics import Metrics
from avatarzoo.lightning import ZooModule

DAY = 86_400.0
BAR = 24  #: characters
JUDGE_AFTER = 30.0  #: seconds of training before the time that is left is believed


class ProgressBar(L.Callback):
    """Print progress over the whole run, losses, steps per second and the time that is left."""

    def __init__(self, metrics: Metrics, console: Console | None = None, plain_every: float = 15.0) -> None:
        """Set the callback up.

        Args:
            metrics: the callback whose rows are shown; it has to run before this one.
            console: defaults to standard output.
            plain_every: seconds between two lines where standard output is no terminal.
        """
        self.metrics, self.console, self.plain_every = metrics, console or Console(), plain_every
        self._bar: Progress | None = None
        self._printed_at, self._shown, self._warned = 0.0, -1.0, False
        self._first = (0.0, 0)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin."""
        module = cast(ZooModule, pl_module)
        self._first = (time.monotonic(), module.iteration)
        if trainer.is_global_zero and self.console.is_terminal:
            columns = (BarColumn(bar_width=BAR), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.fields[text]}"))
            self._bar = Progress(*columns, console=self.console, refresh_per_second=2)
            self._task = self._bar.add_task("fit", total=1.0, text="")
            self._bar.update(self._task, completed=module.progress)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any = None, batch: Any = None, batch_idx: int = 0
    ) -> None:
        """Show the latest row if it is new."""
        row = self.metrics.latest
        if not trainer.is_global_zero or not row or row["iteration"] == self._shown:
            return
        self._shown = row["iteration"]
        left = self.time_left(cast(ZooModule, pl_module))
        self._warn(left)
        if self._bar is not None:
            room = self.console.width - BAR - 8  # a longer line would be wrapped and squeeze the bar
            text = self.line(row, left)
            text = text if len(text) <= room else text[: max(0, room - 1)].rsplit(" ", 1)[0] + " …"
            self._bar.update(self._task, completed=row["progress"], text=text)
        elif trainer.should_stop or time.monotonic() - self._printed_at >= self.plain_every:
            self._printed_at = time.monotonic()
            self.console.print(f"{row['progress']:4.0%} {self.line(row, left)}", highlight=False, soft_wrap=True)
        if trainer.should_stop:  # what follows the last step may show a bar of its own
            self._stop()

    def time_left(self, module: ZooModule) -> float | None:
        """Return the seconds left, or None while they are unknown.

        Args:
            module: that is trained. Its limit of time, and that of steps at this sitting's pace: what comes first counts.
        """
        lefts = [module.max_time - module.elapsed] if module.max_time else []
        spent, done = time.monotonic() - self._first[0], module.iteration - self._first[1]
        if module.max_steps is not None and done > 0:
            lefts.append(spent / done * (module.max_steps - module.iteration))
        return max(0.0, min(lefts)) if lefts else None

    def line(self, row: dict[str, float], left: float | None) -> str:
        """Return the text of a row.

        Args:
            row: of the metrics.
            left: seconds, or None.
        """
        hidden = ("/grad_norm", "/total") if len(row) > 16 else ("/grad_norm",)
        shown = {k: v for k, v in row.items() if "/" in k and not k.startswith("lr/") and not k.endswith(hidden)}
        one_phase = len({k.split("/")[0] for k in shown}) == 1
        losses = " ".join(f"{k.split('/', 1)[1] if one_phase else k} {v:.4g}" for k, v in shown.items())
        rate = row["steps_per_s"]
        pace = f"{rate:.1f} it/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s/it"
        return f"step {row['iteration']:,} · {pace} · {duration(left)} left · {losses}"

    def _warn(self, left: float | None) -> None:
        if self._warned or left is None or left < DAY or time.monotonic() - self._first[0] < JUDGE_AFTER:
            return
        self._warned = True
        self.console.print(
            f"Warning: at this pace the run takes {duration(left)} more. scale=small trains in minutes on two cores; "
            f"trainer.max_time=HH:MM:SS ends the run earlier.",
            style="yellow",
            highlight=False,
        )

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End the bar."""
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """End the bar."""
        self._stop()


def duration(seconds: float | None) -> str:
    """Return a duration for people, e.g. "3 min 20 s", "2.4 days"; "?" for None.

    Args:
        seconds: or None.
    """
    if seconds is None:
        return "?"
    if seconds >= DAY:
        return f"{seconds / DAY:.1f} days"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
