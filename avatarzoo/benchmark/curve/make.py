"""``avatarzoo curve``: score every snapshot of some runs and draw PSNR against minutes of training."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from avatarzoo import registry
from avatarzoo.benchmark.curve.captures import scenes_of
from avatarzoo.benchmark.curve.draw import draw_lines
from avatarzoo.benchmark.curve.lines import PSNR, differing_views, lines_of, seen_by
from avatarzoo.benchmark.curve.saved import find_runs, saved_of
from avatarzoo.benchmark.curve.scored import Scored, score_all
from avatarzoo.benchmark.leaderboard.make import write
from avatarzoo.benchmark.leaderboard.rows import CURVE, number_at
from avatarzoo.errors import DataError

COLUMNS = ("run", "recipe", "seed", "protocol", "test_inputs", "minutes", "steps")
METRICS = ("psnr", "ssim", "mse")


def curve(
    runs: Sequence[str | Path],
    protocol: str = "tracked-v1",
    out: str | Path | None = None,
    *,
    data: Sequence[str] = (),
    device: str = "auto",
    batch_size: int = 4,
    workers: int = 0,
    plugins: Sequence[str | Path] = (),
    console: Console | None = None,
) -> Path:
    """Score snapshots and draw how good runs became with time.

    Records lie in RUN/curve/SNAPSHOT/record.json; those of the same file on the same pictures are not made again.

    Args:
        runs: folders of runs, or folders that hold some.
        protocol: id.
        out: folder for curve.csv and curve.png; default: "curve" in the first folder.
        data: what differs from the capture of training, such as "data.root=DIR".
        device: "cpu", "cuda" or "auto".
        batch_size: pictures rendered at a time.
        workers: loader processes.
        plugins: Python files the checkpoints were made with.
        console: defaults to the terminal.

    Returns:
        The folder.

    Raises:
        ConfigError: no such run or protocol.
        DataError: runs of different captures, before anything is scored; or no picture that counts.
    """
    console = console or Console()
    for file in plugins:
        registry.load_plugin_file(file)
    registry.get("protocol", protocol)
    folders = find_runs(runs)
    by_run = {run: saved_of(run) for run in folders}
    scenes = scenes_of(((run, saved[-1].config) for run, saved in by_run.items()), data)
    found = [saved for many in by_run.values() for saved in many]
    options = {"device": device, "batch_size": batch_size, "workers": workers, "plugins": plugins}
    scored = score_all(found, scenes, protocol, console, **options)
    lines = lines_of(scored)
    if not lines:
        raise DataError(f"{protocol} gives no number: {scored[-1].record['missing'].get('psnr', 'no picture counts.')}")
    folder = Path(out) if out is not None else Path(runs[0]) / CURVE
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "curve.csv", csv_text(scored))
    about = scenes[folders[0]].about
    draw_lines(lines, f"{protocol} on {about['capture']}").save(folder / "curve.png")
    for warning in warnings(scored):
        console.print(f"Warning: {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    last = {s.saved.run: s for s in scored}
    best = max(last, key=lambda run: number_at(last[run].record, PSNR) or 0.0)
    told = {
        "numbers": folder / "curve.csv",
        "picture": folder / "curve.png",
        "next": f"avatarzoo test ckpt={best} protocol={protocol}",
    }
    for word, value in told.items():
        console.print(f"{word:<10}{value}", highlight=False, markup=False, soft_wrap=True)
    return folder


def warnings(scored: Sequence[Scored]) -> list[str]:
    """Return what keeps the points from being read at face value.

    Args:
        scored: of all runs.
    """
    last = {s.saved.run: s for s in scored}
    told = []
    for what in differing_views([s.record for s in last.values()]):
        values: dict[str, list[str]] = {}
        for run, one in last.items():
            values.setdefault(seen_by(one.record)[what], []).append(str(run))
        said = "; ".join(f"{value or 'unknown'}: {', '.join(runs)}" for value, runs in values.items())
        told.append(f"lines are not alike ({what} {said}); compare those of one kind, the legend says which.")
    for run in last:
        own = [s.saved for s in scored if s.saved.run == run]
        if len(own) == 1 and own[0].steps:
            told.append(f"{run} kept no snapshots, so it is one point; train with checkpoint.snapshot_minutes=1.")
    return told


def csv_text(scored: Sequence[Scored]) -> str:
    """Write scored checkpoints as CSV, a line each; a number that does not exist is left empty.

    Args:
        scored: of all runs.
    """
    regions = list(dict.fromkeys(name for s in scored for name in s.record["metrics"]["regions"]))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS, *METRICS, *(f"psnr_{name}" for name in regions)])
    for s in scored:
        record = s.record
        said = [s.saved.run, record["recipe"], record["config"].get("seed", 0), record["protocol"]["id"]]
        said += [record["test_inputs"], f"{s.saved.minutes:.3f}", s.saved.steps]
        paths = [("metrics", "overall", name) for name in METRICS] + [("metrics", "regions", r, "psnr") for r in regions]
        numbers = [number_at(record, path) for path in paths]
        writer.writerow([*said, *("" if n is None else f"{n:.6g}" for n in numbers)])
    return file.getvalue()
