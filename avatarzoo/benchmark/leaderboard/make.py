"""``avatarzoo leaderboard``: read records and write Markdown, CSV, a page and curves; and, when asked, Weights & Biases."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from avatarzoo.benchmark.leaderboard.columns import Speeds
from avatarzoo.benchmark.leaderboard.curve import draw_curves
from avatarzoo.benchmark.leaderboard.page import page
from avatarzoo.benchmark.leaderboard.rows import group_entries, read_entries
from avatarzoo.benchmark.leaderboard.text import csv_text, markdown
from avatarzoo.errors import DataError


def leaderboard(
    paths: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    wandb: str | None = None,
    speed: Sequence[str | Path] = (),
    note: str | None = None,
    console: Console | None = None,
) -> Path:
    """Make a leaderboard of records.

    Args:
        paths: folders that hold record.json files somewhere, or files of records.
        out: folder for leaderboard.md, .csv, .html and curve_*.png; default: "leaderboard" in the first folder.
        wandb: "ENTITY/PROJECT" to log it to, or None.
        speed: files that ``avatarzoo bench-speed`` wrote.
        note: shown on top of the page, e.g. whom the capture is owed to.
        console: defaults to the terminal.

    Returns:
        The folder.

    Raises:
        ConfigError: a path does not exist, or the project's name cannot be used.
        DataError: no records, or a file that cannot be read as what it was given for.
    """
    console = console or Console()
    entries, failures, unread = read_entries(paths)
    speeds = read_speeds(speed)
    groups = group_entries(entries)
    first = Path(paths[0])
    folder = Path(out) if out is not None else (first if first.is_dir() else first.parent) / "leaderboard"
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(groups, failures, speeds)
    write(folder / "leaderboard.md", text)
    write(folder / "leaderboard.csv", csv_text(groups, failures, speeds))
    write(folder / "leaderboard.html", page(groups, failures, speeds, note))
    for index, group in enumerate(groups):
        drawn = draw_curves(group)
        if drawn is not None:
            name = re.sub(r"[^a-z0-9]+", "_", f"{group.capture}_{group.protocol}_{group.test_inputs}".lower())
            drawn.save(folder / f"curve_{index + 1}_{name}.png")
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    for line in unread:
        console.print(f"left out: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if wandb is not None:
        from avatarzoo.benchmark.leaderboard.upload import upload

        where = upload(groups, wandb, folder, failures, speeds)
        console.print(f"wandb     {where}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"page      {folder / 'leaderboard.html'}", highlight=False, markup=False, soft_wrap=True)
    return folder


def write(path: Path, text: str) -> None:
    """Write a file in one act, so that a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def read_speeds(files: Sequence[str | Path]) -> Speeds:
    """Read what ``avatarzoo bench-speed`` wrote.

    Args:
        files: JSON.

    Returns:
        Median milliseconds by (recipe, scale) and column.

    Raises:
        DataError: a file is missing or is not of that kind.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    for file in files:
        try:
            content: Any = json.loads(Path(file).read_text(encoding="utf-8"))
            for row in content["measured"]:
                for recipe, times in row["times"].items():
                    head = f"{row['what']}, {row['dtype']}"
                    found.setdefault((recipe, content["scale"]), {})[head] = float(times["median_ms"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file} is no file of `avatarzoo bench-speed` ({type(error).__name__}: {error}).") from error
    return found
