"""PSNR against minutes of training as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from PIL import Image, ImageColor

from avatarzoo.benchmark.curve.lines import Line
from avatarzoo.benchmark.plot import BOTTOM, COLOURS, SIZE, TOP, Plot, nice_range, text_width

LONGEST = 60  #: characters of a label


def draw_lines(lines: Sequence[Line], what: str) -> Image.Image:
    """Draw lines over minutes: the mean of the runs, each run thin beneath it; a dashed level for untrained runs.

    Where the runs of a line share no minute there is no mean, and they are drawn alone.

    Args:
        lines: at least one, each with a point.
        what: protocol and capture, for the axis.

    Returns:
        RGB.
    """
    points = [p for line in lines for run in line.runs for p in run]
    trained = [x for line in lines if not line.untrained for run in line.runs for x, _ in run]
    _, end, x_step = nice_range(0.0, max(trained, default=0.0) or 1.0)
    low, high, y_step = nice_range(min(y for _, y in points), max(y for _, y in points))
    labels = [label_of(line) for line in lines]
    right = 50 + max(text_width(label) for label in labels)
    height = max(SIZE[1], TOP + BOTTOM + 18 * len(lines))
    plot = Plot((0.0, end), (low, high), (SIZE[0] - 200 + right, height), right)
    plot.y_axis(y_step, f"PSNR (dB), {what}")
    plot.x_axis("training (minutes)", x_step)
    for index, (line, label) in enumerate(zip(lines, labels, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        mean = line.mean()
        if line.untrained:
            plot.level(statistics.fmean(y for _, y in line.final()), colour)
        else:
            beneath = line.runs if mean and len(line.runs) > 1 else []
            for run in beneath:
                plot.curve(run, _pale(colour), width=0.8, dots=len(run) == 1)
            for points in [mean] if mean else line.runs:
                plot.curve(points, colour)
        plot.legend(index, label, colour, dashed=line.untrained)
    return plot.picture()


def label_of(line: Line) -> str:
    """Return what the legend says of a line."""
    name = line.label if len(line.label) <= LONGEST else f"{line.label[: LONGEST - 3]}..."
    count = len(line.runs)
    told = [f"{count} {'seeds' if len(line.seeds) == count else 'runs'}"] if count > 1 else []
    told += ["untrained"] if line.untrained else [] if line.mean() else ["no minute in common"]
    return f"{name} ({', '.join(told)})" if told else name


def _pale(colour: str) -> str:
    mixed = ((value + 255) // 2 for value in ImageColor.getrgb(colour)[:3])
    return "#" + "".join(f"{value:02x}" for value in mixed)
