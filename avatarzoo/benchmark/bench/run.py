"""``avatarzoo bench``: every recipe of a suite with every seed, one after the other, whatever becomes of each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from avatarzoo.benchmark.bench.captures import check_protocols
from avatarzoo.benchmark.bench.job import Busy, Job, Stopped, is_done, run
from avatarzoo.benchmark.bench.progress import BenchProgress, overhead, training_row
from avatarzoo.benchmark.bench.suite import Budget, Planned, Suite, plan, refuse_half
from avatarzoo.benchmark.bench.table import print_table
from avatarzoo.callbacks.progress import duration
from avatarzoo.errors import AvatarZooError, ConfigError

LAUNCHERS = ("local", "slurm")
OUT = Path("runs/bench")
WIDTH = 120  #: characters of the tables in a file or a pipe
LOOK_AGAIN = 3.0  #: seconds between two looks at jobs that another bench runs


def bench(
    suite: Suite,
    words: Sequence[str] = (),
    *,
    seeds: Sequence[int] = (0,),
    budget: Budget | None = None,
    out: Path = OUT,
    plugins: Sequence[str] = (),
    launcher: str = "local",
    slurm: Mapping[str, Any] | None = None,
    partial: bool = False,
    console: Console | None = None,
) -> list[tuple[Planned, Job]]:
    """Train and score every row of a suite with every seed.

    A run that was made before, by this bench or another one with the same folder, is taken as it is; one that was cut is
    continued; one that failed is tried again. Several benches may run side by side: each job is locked.

    Args:
        suite: rows and protocols.
        words: ``key=value`` for every recipe.
        seeds: one run of each row per seed.
        budget: the same for all.
        out: folder of all benches; runs go to ROW/KEY-seedN in it.
        plugins: Python files.
        launcher: "local" runs the jobs here, one after the other; "slurm" submits them.
        slurm: parameters of the submission.
        partial: go on where half of the rows or more cannot run.
        console: defaults to the terminal.

    Returns:
        Each run that was planned with what became of it.

    Raises:
        ConfigError: nothing could be run at all, or half of the rows cannot and ``partial`` is not set.
        DataError: the capture lacks what a protocol reads.
        KeyboardInterrupt: the bench was stopped; running it again goes on.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f"launcher={launcher!r} is not known: {' or '.join(LAUNCHERS)}.")
    if slurm and launcher != "slurm":
        raise ConfigError("slurm={...} sets how jobs are submitted and needs launcher=slurm.")
    console, budget = console or Console(), budget or Budget()
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    if plugins:
        words = [*words, f"plugins=[{','.join(plugins)}]"]
    planned = check_protocols(plan(suite, seeds, budget, words), suite.protocols)
    if not partial:
        refuse_half(planned)
    jobs = {p: _job(p, suite, plugins) for p in planned}
    left = [p for p in planned if not p.why_not and not is_done(out / p.folder, list(suite.protocols))]
    for p in planned:
        if p.why_not is None and p not in left:
            jobs[p].status = "done"
    there = [Job.read(out / p.folder) for p in planned if jobs[p].status == "done" and p.row.steps is None]
    expected = 60 * budget.minutes if budget.minutes else None
    overheads = [beside for job in there if job and (beside := overhead(job, expected)) is not None]
    _announce(suite, planned, left, budget, out, console, overheads)
    try:
        if launcher == "slurm":
            from avatarzoo.benchmark.bench.slurm import submit

            submit({p: jobs[p] for p in left}, out, dict(slurm or {}), console)
        else:
            _run_here(left, jobs, out, expected, console, overheads)
    finally:
        print_table(suite, [(p, jobs[p]) for p in planned], out, console)
    return [(p, jobs[p]) for p in planned]


def _job(planned: Planned, suite: Suite, plugins: Sequence[str]) -> Job:
    job = Job(
        planned.row.name, planned.seed, list(planned.words), list(suite.protocols), list(map(str, plugins)), str(Path.cwd())
    )
    if planned.why_not:
        job.status, job.why = "failed", planned.why_not
    return job


def _announce(
    suite: Suite,
    planned: Sequence[Planned],
    left: Sequence[Planned],
    budget: Budget,
    out: Path,
    console: Console,
    overheads: Sequence[float],
) -> None:
    rows = list(dict.fromkeys(p.row.name for p in planned))
    ready = sum(1 for p in planned if p.why_not is None) - len(left)
    lines = [
        f"suite     {suite.name}: {', '.join(rows)}",
        f"runs      {len(planned)}" + (f", {ready} of them there already" if ready else ""),
        f"training  {budget}; scored under {', '.join(suite.protocols)}",
        f"folder    {out}",
    ]
    if budget.minutes and left:
        timed = sum(1 for p in left if p.row.steps is None)
        training = timed * budget.minutes * 60
        if overheads:
            beside = statistics.fmean(overheads)
            told = f"loading and scoring about {duration(beside)} per run, as in {len(overheads)} finished"
            lines.append(
                f"time      about {duration(training + beside * len(left))}: training {duration(training)}, {told}"
            )
        else:
            lines.append(f"time      training alone {duration(training)}, scoring comes on top")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    for name, why in {p.row.name: p.why_not for p in planned if p.why_not}.items():
        console.print(f"cannot run {name}: {why}", style="red", highlight=False, markup=False, soft_wrap=True)


def _run_here(
    left: Sequence[Planned],
    jobs: Mapping[Planned, Job],
    out: Path,
    expected: float | None,
    console: Console,
    overheads: Sequence[float],
) -> None:
    begun = datetime.now(UTC).isoformat(timespec="microseconds")
    waiting = list(left)
    short = sum(1 for planned in left if planned.row.steps is not None)
    with BenchProgress(len(waiting), expected, console, short, overheads) as progress:
        while waiting:
            busy = []
            for planned in waiting:
                if not _attempt(planned, jobs[planned], out, begun, progress):
                    busy.append(planned)
            waiting = busy
            if waiting:
                progress.wait([p.folder for p in waiting])
                time.sleep(LOOK_AGAIN)


def _attempt(planned: Planned, job: Job, out: Path, begun: str, progress: BenchProgress) -> bool:
    """Run one job; return False when another process is at it."""
    folder = out / planned.folder
    earlier = Job.read(folder)
    if earlier and earlier.status == "failed" and earlier.date >= begun:  # another bench has just tried
        job.status, job.why = "failed", earlier.why
        progress.end(job, elsewhere=True)
        return True
    name = f"{planned.row.name}, seed {planned.seed}"
    progress.begin(name, short=planned.row.steps is not None)
    elsewhere = is_done(folder, job.protocols)
    try:
        run(job, folder, tick=lambda: progress.show(name, training_row(folder)))
    except Busy:
        return False
    except Stopped:
        raise KeyboardInterrupt from None
    except (AvatarZooError, OSError) as error:
        job.status, job.why = "failed", str(error)
    progress.end(job, elsewhere)
    return True
