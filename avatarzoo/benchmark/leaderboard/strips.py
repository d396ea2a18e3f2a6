"""Strips of test pictures: what each row renders of one expression in the named views, and its error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from avatarzoo import pictures
from avatarzoo.benchmark.compared import read_counted, read_picture, read_truth
from avatarzoo.benchmark.leaderboard.rows import Group, Row
from avatarzoo.benchmark.places import places
from avatarzoo.benchmark.predictions import PICTURES

HEIGHT = 150  #: pixels of one picture in a strip


def _folder(row: Row) -> Path | None:
    files = [entry.file.parent for entry in row.entries if entry.file is not None]
    return next((folder for folder in files if (folder / PICTURES).is_dir()), None)


def _scaled(array: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(array)
    width = max(1, round(picture.width * HEIGHT / picture.height))
    how = Image.Resampling.BOX if picture.height > HEIGHT else Image.Resampling.NEAREST
    return np.asarray(picture.resize((width, HEIGHT), how))


def _side_by_side(cells: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([_scaled(cell) for cell in cells], axis=1)


def truth_strip(group: Group) -> np.ndarray | None:
    """Return what predictions are compared with, H,W,3 uint8; None where no run kept it.

    Args:
        group: of rows.
    """
    for row in group.rows:
        folder = _folder(row)
        cells = [read_truth(folder, group.protocol, place) for place in places(row.first)] if folder else []
        if cells and all(cell is not None for cell in cells):
            return _side_by_side([cell for cell in cells if cell is not None])
    return None


def row_strip(row: Row, group: Group | None = None) -> np.ndarray | None:
    """Return a row's pictures side by side, over the heat of their errors where the truth is known.

    Args:
        row: its first run with pictures is shown.
        group: it stands in: its protocol says which pixels count, the others are black; without, there is no heat.

    Returns:
        H,W,3 uint8; None where the run's pictures are not beside its record.
    """
    folder = _folder(row)
    if folder is None:
        return None
    where = places(row.first)
    cells = [cell for place in where if (cell := read_picture(folder / PICTURES / f"{place}.png")) is not None]
    if not cells or len(cells) < len(where):
        return None
    strip = _side_by_side(cells)
    if group is None:
        return strip
    ours, seen = [], []
    for place, cell in zip(where, cells, strict=True):
        truth = _truth(row, group, place)
        if truth is None or truth.shape != cell.shape:
            return strip
        counted = read_counted(folder, group.protocol, place)
        counts = np.ones(cell.shape[:2], bool) if counted is None or counted.shape != cell.shape[:2] else counted
        ours.append(np.where(counts[..., None], cell, np.uint8(0)))
        seen.append(np.where(counts[..., None], truth, np.uint8(0)))
    both = (torch.from_numpy(_side_by_side(side)).float() / 255 for side in (ours, seen))
    heat = (pictures.error_heat(*both) * 255).round().byte().numpy()
    return np.concatenate([strip, heat])


def _truth(row: Row, group: Group, place: str) -> np.ndarray | None:
    """Return the truth beside a row's own pictures, else beside those of any row of its group."""
    folders = [folder for one in (row, *group.rows) if (folder := _folder(one)) is not None]
    found = (read_truth(folder, group.protocol, place) for folder in folders)
    return next((truth for truth in found if truth is not None), None)
