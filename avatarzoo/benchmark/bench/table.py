"""The table that a bench ends with, made from the records of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from avatarzoo.benchmark.bench.job import Job
from avatarzoo.benchmark.bench.suite import Planned, Suite
from avatarzoo.benchmark.leaderboard.floor import SIGN, floor_line, floor_of, is_below
from avatarzoo.benchmark.leaderboard.rows import Entry, Group, Row, Value, group_entries
from avatarzoo.benchmark.record import read_records
from avatarzoo.errors import DataError


def number(value: Value | None, digits: int = 2) -> str:
    """Return a number as text, its spread over seeds on a second line; "-" where there is none.

    Args:
        value: over seeds.
        digits: after the point.
    """
    if value is None:
        return "-"
    return f"{value.mean:.{digits}f}" + (f"\n±{value.spread:.{digits}f}" if value.spread is not None else "")


def count(value: int) -> str:
    """Return a number of parameters for people: 307, 12.3 k, 5.47 M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)


def group_table(groups: Sequence[Group], order: Sequence[str] = ()) -> Table:
    """Lay the groups of one protocol and capture out, one section per kind of test input.

    Args:
        groups: they differ in what the models see.
        order: labels in the order wanted; rows that are not among them come after these, best first.
    """
    views, first = groups[0].views, groups[0]
    pictures = f"{first.images} pictures of {first.size[0]} x {first.size[1]}"
    caption = f"{pictures}; MSE on 0..255, also of single views; ± deviation over seeds"
    floors = list(dict.fromkeys(floor_line(group, groups) for group in groups))
    whole = [line for line in floors if line and not any(line != o and o.startswith(line) for o in floors)]
    caption = "\n".join([caption, *whole])
    table = Table(title=f"{first.capture}, {first.protocol}", caption=caption, box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("", no_wrap=True)
    for head in ("PSNR", "MSE", *views, "cover%", "steps", "params", "runs"):
        table.add_column(head, justify="right", no_wrap=True)
    for group in groups:
        table.add_row(f"sees {group.test_inputs}", style="dim")
        for row in sorted(group.rows, key=lambda r: order.index(r.label) if r.label in order else len(order)):
            sign = f" {SIGN}" if is_below(row, floor_of(group, groups)) else ""
            table.add_row(f"  {row.label}{sign}", *cells(row, views), str(len(row.entries)))
        table.add_section()
    return table


def cells(row: Row, views: Sequence[str]) -> list[str]:
    """Return a row's numbers as text.

    Args:
        row: over its seeds.
        views: to show the errors of.
    """
    metrics = [number(row.value("metrics", "overall", key)) for key in ("psnr", "mse")]
    metrics += [number(row.value("metrics", "views", view, "mse")) for view in views]
    coverage, steps = row.value("metrics", "overall", "coverage"), row.value("iteration")
    share = "-" if coverage is None else f"{100 * coverage.mean:.1f}"
    return [*metrics, share, f"{steps.mean:,.0f}" if steps else "-", count(row.first["parameters"]["total"])]


def print_table(suite: Suite, results: Sequence[tuple[Planned, Job]], out: Path, console: Console) -> None:
    """Print what a bench has so far: numbers, what failed and why, what is missing, and what to type next.

    Args:
        suite: that was run.
        results: each planned run with what became of it.
        out: folder of the bench.
        console: to print on.
    """
    entries = []
    for planned, job in results:
        file = out / planned.folder / "test" / "record.json"
        if job.status == "done":
            try:
                entries += [Entry(record, file, planned.row.name) for record in read_records(file)]
            except DataError as error:
                job.status, job.why = "failed", str(error)
    groups = [g for g in group_entries(entries) if g.protocol in suite.protocols]
    order = [row.name for row in suite.rows]
    for place in dict.fromkeys((g.capture, g.protocol) for g in groups):
        console.print(group_table([g for g in groups if (g.capture, g.protocol) == place], order))
    for reason in sorted({why for e in entries for why in e.record["missing"].values()}):
        console.print(f"n/a: {reason}", style="yellow", highlight=False, markup=False)
    failed: dict[tuple[str, str], list[int]] = {}
    for _, job in results:
        if job.status == "failed":
            failed.setdefault((job.row, job.why or "unknown"), []).append(job.seed)
    for (row, why), seeds in failed.items():
        text = f"failed: {row}, seed {', '.join(map(str, seeds))}: {why}"
        console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)
    if failed:
        console.print(f"logs      {out / 'ROW' / 'KEY-seedN' / 'log.txt'}; the same command tries failed runs again")
    left = [job for _, job in results if job.status not in ("done", "failed")]
    if left:
        number_left = f"{len(left)} run{' is' if len(left) == 1 else 's are'} left"
        console.print(f"{number_left}; the same command goes on where this one stopped.", highlight=False)
    console.print(f"next      avatarzoo leaderboard {out}", highlight=False, soft_wrap=True)
