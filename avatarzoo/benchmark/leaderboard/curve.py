"""The error of every test expression as a curve, as Fig. 5 of the Pixel Codec Avatars paper shows it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from avatarzoo.benchmark.leaderboard.rows import Group, Row, number_at

REFERENCE = "pica_full"
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f", "#e377c2", "#bcbd22")
SIZE, SMOOTH = (760, 360), 3  #: pixels, and how many per pixel are drawn in each direction
LEFT, TOP, RIGHT, BOTTOM = 64, 30, 200, 40


def curves(group: Group) -> tuple[list[str], dict[str, list[float | None]]]:
    """Return the test expressions in decreasing order of the reference's MSE, and every row's MSE of them.

    Args:
        group: of rows; the reference is PiCA's full model, or else the first row.

    Returns:
        Names of the expressions (SEGMENT/FRAME), and per row's label its MSE (mean over cameras and seeds).
    """
    reference = next((row for row in group.rows if row.recipe == REFERENCE), group.rows[0])
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
    canvas = Image.new("RGB", (SIZE[0] * SMOOTH, SIZE[1] * SMOOTH), "white")
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12 * SMOOTH)
    wide, high = SIZE[0] - LEFT - RIGHT, SIZE[1] - TOP - BOTTOM

    def place(index: float, mse: float) -> tuple[float, float]:
        return SMOOTH * (LEFT + wide * index / (len(names) - 1)), SMOOTH * (TOP + high * (1 - mse / top))

    for level in range(round(top / step) + 1):
        a, b = place(0, level * step), place(len(names) - 1, level * step)
        pen.line([a, b], fill="#dddddd", width=SMOOTH)
        pen.text((a[0] - 6 * SMOOTH, a[1]), f"{level * step:g}", fill="black", font=font, anchor="rm")
    pen.text((SMOOTH * 8, SMOOTH * 8), "MSE (0..255)", fill="black", font=font)
    middle, bottom = SMOOTH * (LEFT + wide / 2), SMOOTH * (SIZE[1] - BOTTOM + 12)
    order = next((row.label for row in group.rows if row.recipe == REFERENCE), group.rows[0].label)
    text = f"{len(names)} test expressions, in decreasing order for {order}"
    pen.text((middle, bottom), text, fill="black", font=font, anchor="ma")
    for index, (label, values) in enumerate(by_row.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = [place(i, v) for i, v in enumerate(values) if v is not None]
        _polyline(pen, points, colour)
        y = SMOOTH * (TOP + 18 * index + 6)
        x = SMOOTH * (SIZE[0] - RIGHT + 14)
        pen.line([(x, y), (x + 18 * SMOOTH, y)], fill=colour, width=2 * SMOOTH)
        pen.text((x + 24 * SMOOTH, y), label[:24], fill="black", font=font, anchor="lm")
    return canvas.resize(SIZE, Image.Resampling.LANCZOS)


def _polyline(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str) -> None:
    pen.line(list(points), fill=colour, width=2 * SMOOTH, joint="curve")
    for x, y in points:
        r = 2.5 * SMOOTH
        pen.ellipse([x - r, y - r, x + r, y + r], fill=colour)


def nice_step(highest: float) -> float:
    """Return 1, 2 or 5 times a power of ten, so that four to ten steps reach a number.

    Args:
        highest: to be reached; 0 gives 1.
    """
    if highest <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(highest))
    return next(power * s for s in (0.1, 0.2, 0.5, 1.0, 2.0) if highest / (power * s) <= 10)
