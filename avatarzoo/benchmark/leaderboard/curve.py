"""The error of every test expression as a curve, as Fig. 5 of the Pixel Codec Avatars paper shows it."""

from __future__ import annotations

import math
import statistics

from PIL import Image

from avatarzoo.benchmark.leaderboard.own import own_recipe
from avatarzoo.benchmark.leaderboard.rows import Group, Row, number_at
from avatarzoo.benchmark.plot import COLOURS, Plot, nice_step

REFERENCE = "pica_full"


def reference_row(group: Group) -> Row:
    """Return the row whose errors order the expressions: PiCA's full model as its recipe stands, or else the first row.

    Args:
        group: of rows.
    """
    return next((row for row in group.rows if own_recipe(row) == REFERENCE), group.rows[0])


def curves(group: Group) -> tuple[list[str], dict[str, list[float | None]]]:
    """Return the test expressions in decreasing order of the reference's MSE, and every row's MSE of them.

    Args:
        group: of rows.

    Returns:
        Names of the expressions (SEGMENT/FRAME), and per row's label its MSE (mean over cameras and seeds).
    """
    reference = reference_row(group)
    names = [name for name in reference.first["metrics"]["frames"] if _mse(reference, name) is not None]
    names.sort(key=lambda name: -(_mse(reference, name) or 0.0))
    return names, {row.label: [_mse(row, name) for name in names] for row in group.rows}


def _mse(row: Row, frame: str) -> float | None:
    found = [v for e in row.entries if (v := number_at(e.record, ("metrics", "frames", frame, "mse"))) is not None]
    return statistics.fmean(found) if found else None


def draw_curves(group: Group) -> Image.Image | None:
    """Draw the curves.

    Args:
        group: of rows.

    Returns:
        The picture; None where there are fewer than two expressions.
    """
    names, by_row = curves(group)
    if len(names) < 2:
        return None
    highest = max((v for values in by_row.values() for v in values if v is not None), default=0.0)
    step = nice_step(highest)
    top = step * max(1, math.ceil(highest / step - 1e-9))
    plot = Plot((0, len(names) - 1), (0, top))
    plot.y_axis(step, "MSE (0..255)")
    plot.x_axis(f"{len(names)} test expressions, in decreasing order for {reference_row(group).label}")
    for index, (label, values) in enumerate(by_row.items()):
        colour = COLOURS[index % len(COLOURS)]
        plot.curve([(i, v) for i, v in enumerate(values) if v is not None], colour)
        plot.legend(index, label[:24], colour)
    return plot.picture()
