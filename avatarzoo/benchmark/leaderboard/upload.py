"""The leaderboard in Weights & Biases: a Table per group, the pictures, and an Artifact of the records."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avatarzoo.benchmark.leaderboard.columns import Speeds, columns
from avatarzoo.benchmark.leaderboard.curve import draw_curves
from avatarzoo.benchmark.leaderboard.floor import SIGN, floor_line, floor_of, is_below
from avatarzoo.benchmark.leaderboard.rows import Failure, Group
from avatarzoo.benchmark.leaderboard.strips import row_strip, truth_strip
from avatarzoo.benchmark.leaderboard.text import failures_in_words
from avatarzoo.errors import ConfigError
from avatarzoo.trainer import wandb_mode


def upload(
    groups: Sequence[Group], project: str, folder: Path, failures: Sequence[Failure] = (), speeds: Speeds | None = None
) -> str:
    """Log groups as one run.

    Args:
        groups: of rows.
        project: "ENTITY/PROJECT", or "PROJECT" of one's own.
        folder: gets wandb/ with the run's files.
        failures: runs that could not be made.
        speeds: measured by bench-speed.

    Returns:
        Where the run is: its address, or its folder when it is offline.

    Raises:
        ConfigError: the project's name cannot be used.
    """
    import wandb

    entity, _, name = project.rpartition("/")
    if not name or "/" in entity or project.startswith("/"):
        raise ConfigError(f"wandb={project!r}: expected ENTITY/PROJECT or PROJECT.")
    os.environ.setdefault("WANDB_SILENT", "true")
    mode: Any = wandb_mode()
    run = wandb.init(
        project=name, entity=entity or None, dir=str(folder), job_type="leaderboard", name="leaderboard", mode=mode
    )
    try:
        for index, group in enumerate(groups):
            key = f"{index + 1}_{group.capture}_{group.protocol}_{group.test_inputs}".replace(" ", "_")
            run.log(_group(wandb, group, groups, key, speeds))
        if failures:
            run.summary["failed"] = failures_in_words(failures)
        records = [e.record for g in groups for row in g.rows for e in row.entries]
        file = Path(run.dir) / "records.json"  # among the run's own files too, so that an offline run's folder is whole
        file.write_text(json.dumps(records, indent=1), encoding="utf-8")
        artifact = wandb.Artifact("records", type="records")
        artifact.add_file(str(file))
        run.log_artifact(artifact)
    finally:
        where = run.url or str(Path(run.dir).parent)
        run.finish()
    return where


def _group(wandb: Any, group: Group, groups: Sequence[Group], key: str, speeds: Speeds | None) -> dict[str, Any]:
    heads = columns(group, speeds)
    names = [name for c in heads for name in (c.head, f"{c.head} spread")]
    table = wandb.Table(columns=["row", "recipe", "seeds", "pictures", *names])
    logged: dict[str, Any] = {}
    truth = truth_strip(group)
    strips = []
    floor = floor_of(group, groups)
    for row in group.rows:
        strip = row_strip(row, group)
        shown = wandb.Image(strip, caption=row.label) if strip is not None else None
        strips += [shown] if shown else []
        numbers: list[float | None] = []
        for column in heads:
            value = column.value(row)
            numbers += [None, None] if value is None else [value.mean, value.spread]
        label = f"{row.label} {SIGN}" if is_below(row, floor) else row.label
        table.add_data(label, row.recipe, " ".join(map(str, row.seeds)), shown, *numbers)
    logged[f"{key}/table"] = table
    if floor is not None:
        logged[f"{key}/floor"] = floor_line(group, groups)
    if truth is not None:
        logged[f"{key}/truth"] = wandb.Image(truth, caption="what the cameras saw")
    if strips:
        logged[f"{key}/pictures"] = strips
    drawn = draw_curves(group)
    if drawn is not None:
        logged[f"{key}/expressions"] = wandb.Image(np.asarray(drawn), caption="MSE of every test expression")
    return logged
