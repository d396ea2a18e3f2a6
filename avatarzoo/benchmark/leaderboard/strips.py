"""Strips of test pictures: what each row renders of one expression in the named views, and its error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from avatarzoo import pictures
from avatarzoo.benchmark.leaderboard.rows import Group, Row
from avatarzoo.benchmark.places import places
from avatarzoo.benchmark.predictions import PICTURES, TRUTHS

HEIGHT = 150  #: pixels of one picture in a strip


def _folder(row: Row) -> Path | None:
    files = [entry.file.parent for entry in row.entries if entry.file is not None]
    return next((folder for folder in files if (folder / PICTURES).is_dir()), None)


def _read(path: Path) -> np.ndarray | None:
    try:
        picture = Image.open(path).convert("RGB")
    except (OSError, SyntaxError, ValueError):
        return None
    width = max(1, round(picture.width * HEIGHT / picture.height))
    how = Image.Resampling.BOX if picture.height > HEIGHT else Image.Resampling.NEAREST
    return np.asarray(picture.resize((width, HEIGHT), how))


def _side_by_side(cells: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(cells, axis=1)


def truth_strip(group: Group) -> np.ndarray | None:
    """Return what the cameras saw, H,W,3 uint8; None where no run kept it.

    Args:
        group: of rows.
    """
    for row in group.rows:
        folder = _folder(row)
        cells = [_read(folder / TRUTHS / f"{place}.png") for place in places(row.first)] if folder else []
        if cells and all(cell is not None for cell in cells):
            return _side_by_side([cell for cell in cells if cell is not None])
    return None


def row_strip(row: Row, truth: np.ndarray | None = None) -> np.ndarray | None:
    """Return a row's pictures side by side, over the heat of their errors where the truth is known.

    Args:
        row: its first run with pictures is shown.
        truth: from ``truth_strip``.

    Returns:
        H,W,3 uint8; None where the run's pictures are not beside its record.
    """
    folder = _folder(row)
    cells = [_read(folder / PICTURES / f"{place}.png") for place in places(row.first)] if folder else []
    if not cells or any(cell is None for cell in cells):
        return None
    strip = _side_by_side([cell for cell in cells if cell is not None])
    if truth is None or truth.shape != strip.shape:
        return strip
    ours, seen = (torch.from_numpy(picture.copy()).float() / 255 for picture in (strip, truth))
    heat = (pictures.error_heat(ours, seen) * 255).round().byte().numpy()
    return np.concatenate([strip, heat])
