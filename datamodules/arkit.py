"""ARKit weights: the 52 names in the order of Live Link Face, and the table a capture keeps them in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    rows: dict[tuple[str, str], np.ndarray] = {}
    for row in arkit_rows(path, ("segment", "frame")):
        key = (row.cells["segment"], row.cells["frame"])
        if key in rows:
            raise DataError(f"{row.where}: frame {key[0]}/{key[1]} appears twice; remove one row.")
        rows[key] = np.array(row.weights, dtype=np.float32)
    return rows


@dataclass(frozen=True)
class ArkitRow:
    """One row of a table of weights.

    Attributes:
        where: file and line, for messages.
        cells: text by column, names in lower case; of columns of one name, the first.
        weights: 52 numbers in the order of ``ARKIT_NAMES``, as written.
    """

    where: str
    cells: dict[str, str]
    weights: list[float]


def arkit_rows(path: Path, also: Sequence[str] = ()) -> Iterator[ArkitRow]:
    """Read a table of weights row by row; columns are found by name in any order and case.

    Args:
        path: a CSV whose header names the 52 weights; what else there is stays text.
        also: columns that have to be there besides.

    Yields:
        Rows in order.

    Raises:
        DataError: nothing in it, or a column or a number is missing.
    """
    lines = [(n, line) for n, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty; expected a header and one row per frame, or remove the file.")
    header = [name.strip().lower() for name in lines[0][1].split(",")]
    for name in (*also, *ARKIT_NAMES):
        if header.count(name.lower()) != 1:
            found = f"has it {header.count(name.lower())} times" if name.lower() in header else "lacks it"
            raise DataError(
                f"{path}: expected one column {name!r}; the header {found}.{did_you_mean(name.lower(), header)}"
            )
    for number, line in lines[1:]:
        texts = [text.strip() for text in line.split(",")]
        where = f"{path}, line {number}"
        if len(texts) != len(header):
            raise DataError(f"{where}: {len(texts)} columns, but the header has {len(header)}. Repair the line.")
        cells: dict[str, str] = {}
        for name, text in zip(header, texts, strict=True):
            cells.setdefault(name, text)
        for name in ARKIT_NAMES:
            weight = cells[name.lower()]
            if not NUMBER.fullmatch(weight) or not -MARGIN <= float(weight) <= 1 + MARGIN:
                raise DataError(f"{where}: {name} is {weight!r}; expected a weight in 0..1. Repair the line.")
        yield ArkitRow(where, cells, [float(cells[name.lower()]) for name in ARKIT_NAMES])
