"""What runs kept on the way: their snapshots and last checkpoints, with when they were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from avatarzoo import checkpoint
from avatarzoo.errors import ConfigError, DataError


@dataclass(frozen=True)
class Saved:
    """A checkpoint of a run.

    Attributes:
        run: its folder.
        file: of the checkpoint.
        minutes: of training when it was written.
        steps: completed by then.
        config: resolved config of the run.
    """

    run: Path
    file: Path
    minutes: float
    steps: int
    config: dict[str, Any]


def read_saved(run: Path, file: Path) -> Saved:
    """Read when a checkpoint was written.

    Args:
        run: its folder.
        file: of the checkpoint.

    Raises:
        ConfigError: it cannot be read as a checkpoint.
        DataError: it does not say how long it was trained.
    """
    record = checkpoint.read(file)["avatarzoo"]
    steps, elapsed = int(record["iteration"]), record.get("elapsed", None if record["iteration"] else 0.0)
    if elapsed is None:
        raise DataError(
            f"{file} does not say how long it was trained ({steps:,} steps); an older version wrote it. Train again."
        )
    return Saved(run, file, float(elapsed) / 60, steps, yaml.safe_load(record["config"]))


def saved_of(run: Path) -> list[Saved]:
    """Return a run's snapshots and its last checkpoint, by minutes.

    Args:
        run: its folder.
    """
    found = [read_saved(run, file) for file in checkpoint_files(run)]
    return sorted(found, key=lambda saved: (saved.minutes, saved.steps))


def checkpoint_files(run: Path) -> list[Path]:
    """Return a run's snapshots and its last checkpoint, no other files; none where the folder is no run's."""
    folder = run / "checkpoints"
    return [*checkpoint.snapshots(folder), *(p for p in [folder / "last.ckpt"] if p.is_file())]


def find_runs(paths: Sequence[str | Path]) -> list[Path]:
    """Find runs.

    Args:
        paths: folders of runs, or folders that hold some, such as runs/bench.

    Returns:
        Folders of runs, each once.

    Raises:
        ConfigError: a path does not exist, is a file, or holds no run.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_file():
            raise ConfigError(f"{path} is a file; curve takes folders of runs, such as runs/pica_full/DATE-TIME.")
        if not path.exists():
            checkpoint.find(path)  # which says what there is instead
        below = sorted({file.parent.parent for file in path.rglob("checkpoints/*.ckpt")})
        runs = [run for run in ([path] if checkpoint_files(path) else below) if checkpoint_files(run)]
        if not runs:
            others = f" (in {below[0]} are others, which nothing says the minutes of)" if below else ""
            raise ConfigError(
                f"{path} holds no checkpoints/last.ckpt and no checkpoints/snapshot_MMMMM.MM.ckpt{others}: the run saved "
                "nothing yet, or this is not a folder of runs."
            )
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())
