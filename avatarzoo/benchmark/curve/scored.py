"""Score what runs kept: one record per checkpoint in RUN/curve/STEM, nothing twice, no pictures left behind.

All of a run's checkpoints are rendered alike: what a model makes when its run ends, which snapshots have not, is set aside.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from avatarzoo import registry
from avatarzoo.benchmark.curve.captures import Scene
from avatarzoo.benchmark.curve.saved import Saved, read_saved
from avatarzoo.benchmark.leaderboard.rows import CURVE
from avatarzoo.benchmark.record import read_records, sha256_of_file, write_records
from avatarzoo.benchmark.score import RECORD, score
from avatarzoo.callbacks.progress import duration
from avatarzoo.errors import DataError
from avatarzoo.models.base import Model


@dataclass(frozen=True)
class Scored:
    """A checkpoint with its record."""

    saved: Saved
    record: dict[str, Any]


def folder_of(saved: Saved) -> Path:
    """Return where the record of a checkpoint lies."""
    return saved.run / CURVE / saved.file.stem


def known_record(saved: Saved, protocol: str, about: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record that an earlier command made of this very file, on the same pictures, or None.

    Args:
        saved: the checkpoint.
        protocol: id.
        about: what the record has to say of the capture.
    """
    kind = registry.get("model", saved.config["model"]["name"])
    alike = kind.set_finish_aside is Model.set_finish_aside  # whatever is said of it
    for record in _records_of(saved):
        if (record["protocol"]["id"], record["data"], record["iteration"]) == (protocol, about, saved.steps):
            if alike or record.get("finished") is False:  # earlier versions scored a run's end with its finish
                return record
    return None


def _records_of(saved: Saved, digest: str | None = None) -> list[dict[str, Any]]:
    """Return the records of a file's bytes (None: as they are now), under any protocol."""
    try:
        records = read_records(folder_of(saved) / RECORD)
    except DataError:  # none, or of another version
        return []
    digest = digest or sha256_of_file(saved.file)
    return [record for record in records if record["checkpoint_sha256"] == digest]


def score_saved(saved: Saved, scene: Scene, protocol: str, **options: Any) -> Scored:
    """Score one checkpoint and keep its record alone.

    Args:
        saved: the checkpoint.
        scene: what it is scored on.
        protocol: id.
        options: for ``score``: device, batch_size, workers, plugins.

    Raises:
        DataError: training replaced the file meanwhile, twice.
    """
    folder = folder_of(saved)
    work = folder.with_name(f"{folder.name}.partial")  # what a killed command left there is in the way
    shutil.rmtree(work, ignore_errors=True)
    try:
        record = score(saved.file, scene.capture, [protocol], work, quiet=True, finished=False, **options)[0]
        if record["iteration"] != saved.steps:
            saved = read_saved(saved.run, saved.file)  # the run goes on, and its last checkpoint is a newer one
        if record["iteration"] != saved.steps:
            raise DataError(f"{saved.file} changes faster than it is scored; wait until its training has ended.")
        others = _records_of(saved, record["checkpoint_sha256"])
        others = [r for r in others if (r["protocol"]["id"], r["data"]) != (protocol, record["data"])]
        folder.mkdir(parents=True, exist_ok=True)
        write_records([*others, record], work / RECORD)
        os.replace(work / RECORD, folder / RECORD)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Scored(saved, record)


def score_all(
    found: Sequence[Saved], scenes: dict[Path, Scene], protocol: str, console: Console, **options: Any
) -> list[Scored]:
    """Score checkpoints that are not scored yet, and show how long it takes.

    Args:
        found: of all runs.
        scenes: by run.
        protocol: id.
        console: to print on.
        options: for ``score``.

    Returns:
        One per checkpoint, in the same order.
    """
    known = {s.file: known_record(s, protocol, scenes[s.run].about) for s in found}
    done = {file: Scored(s, record) for s in found if (record := known[(file := s.file)]) is not None}
    todo = [s for s in found if s.file not in done]
    console.print(f"to score  {len(todo)} checkpoints, {len(done)} are scored already", highlight=False)
    columns = (BarColumn(bar_width=20), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task, begun = bar.add_task("curve", total=max(1, len(todo)), text=""), time.monotonic()
        for index, saved in enumerate(todo):
            left = (time.monotonic() - begun) / index * (len(todo) - index) if index else None
            bar.update(task, completed=index, text=f"{index}/{len(todo)} · {duration(left)} left · {name_of(saved)}")
            scored = done[saved.file] = score_saved(saved, scenes[saved.run], protocol, **options)
            left = (time.monotonic() - begun) / (index + 1) * (len(todo) - index - 1)
            _say(console, scored, f"{index + 1}/{len(todo)} · {duration(left)} left")
        bar.update(task, completed=max(1, len(todo)), text=f"{len(todo)}/{len(todo)}")
    return [done[s.file] for s in found]


def name_of(saved: Saved) -> str:
    """Return a checkpoint in words, for people who wait."""
    return f"{'/'.join(saved.run.parts[-2:])}, {saved.minutes:.2f} min"


def _say(console: Console, scored: Scored, how_far: str) -> None:
    psnr = scored.record["metrics"]["overall"]["psnr"]
    number = "n/a" if psnr is None else f"{psnr:.2f} dB"
    text = f"{how_far} · {name_of(scored.saved)}, {scored.saved.steps:,} steps: {number}"
    console.print(Text(text), soft_wrap=True)
