"""ARKit weights: the 52 names in the order of Live Link Face, and the table a capture keeps them in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatarzoo.datamodules.formats import NUMBER, read_text
from avatarzoo.errors import DataError, did_you_mean
from avatarzoo.rigs.arkit import ARKIT_NAMES

__all__ = ["ARKIT_NAMES", "read_arkit"]

MARGIN = 0.1  # recorded weights overshoot 0..1 by a few hundredths


def read_arkit(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """Read the weights of every frame.

    Args:
        path: a CSV whose header names segment, frame and the 52 weights in any order and case; other columns are ignored.

    Returns:
        52 float32 in the order of ``ARKIT_NAMES`` by (segment, frame), as written.

    Raises:
        DataError: a column or a number is missing, or a frame appears twice.
    """
    lines = [(n, line) for n, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty; expected a header and one row per frame, or remove the file.")
    header = [name.strip().lower() for name in lines[0][1].split(",")]
    places = []
    for name in ("segment", "frame", *ARKIT_NAMES):
        if header.count(name.lower()) != 1:
            found = f"has it {header.count(name.lower())} times" if name.lower() in header else "lacks it"
            raise DataError(
                f"{path}: expected one column {name!r}; the header {found}.{did_you_mean(name.lower(), header)}"
            )
        places.append(header.index(name.lower()))
    rows: dict[tuple[str, str], np.ndarray] = {}
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in line.split(",")]
        where = f"{path}, line {number}"
        if len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} columns, but the header has {len(header)}. Repair the line.")
        key = (cells[places[0]], cells[places[1]])
        weights = [cells[place] for place in places[2:]]
        for name, weight in zip(ARKIT_NAMES, weights, strict=True):
            if not NUMBER.fullmatch(weight) or not -MARGIN <= float(weight) <= 1 + MARGIN:
                raise DataError(f"{where}: {name} is {weight!r}; expected a weight in 0..1. Repair the line.")
        if key in rows:
            raise DataError(f"{where}: frame {key[0]}/{key[1]} appears twice; remove one row.")
        rows[key] = np.array([float(w) for w in weights], dtype=np.float32)
    return rows
