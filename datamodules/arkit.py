"""ARKit weights: the 52 names in the order of Live Link Face, and the table a capture keeps them in."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatarzoo.datamodules.formats import NUMBER, read_text
from avatarzoo.errors import DataError
from avatarzoo.rigs.arkit import ARKIT_NAMES

__all__ = ["ARKIT_NAMES", "read_arkit"]

NEAR = 0.8  # how alike a column has to be to be taken for a weight misspelt
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
    lacking = [name for name in ARKIT_NAMES if name.lower() not in header]
    if len(lacking) > 1:
        raise DataError(
            f"{path}: the header lacks {len(lacking)} of the {len(ARKIT_NAMES)} weights: {', '.join(lacking[:3])}"
            f"{', ...' if len(lacking) > 3 else ''}.{_renamed(lacking, header)} Expected a column for each weight of ARKit."
        )
    for name in (*also, *ARKIT_NAMES):
        if header.count(name.lower()) != 1:
            found = f"has it {header.count(name.lower())} times" if name.lower() in header else "lacks it"
            near = _renamed([name], header) if name.lower() not in header else ""
            raise DataError(f"{path}: expected one column {name!r}; the header {found}.{near}")
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


def _renamed(lacking: Sequence[str], header: Sequence[str]) -> str:
    """Say which columns look like weights that are lacking, misspelt."""
    known = {name.lower() for name in ARKIT_NAMES}
    strange = [name for name in header if name not in known]
    found = [(name, difflib.get_close_matches(name.lower(), strange, n=1, cutoff=NEAR)) for name in lacking]
    pairs = [f"{near[0]!r} for {name!r}" for name, near in found if near][:3]
    return f" Did you mean {', '.join(pairs)}?" if pairs else ""
