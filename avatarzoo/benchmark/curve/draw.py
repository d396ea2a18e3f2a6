"""PSNR against minutes of training as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageColor

from avatarzoo.benchmark.curve.lines import Line
from avatarzoo.benchmark.plot import BOTTOM, COLOURS, SIZE, TOP, Plot, nice_range, text_width

LONGEST = 60  #: characters of a label


def draw_lines(lines: Sequence[Line], what: str) -> Image.Image:
    """Draw lines over minutes: the mean of the seeds, each seed thin beneath it; a dashed level for untrained runs.

    Args:
        lines: at least one, each with a point.
        what: protocol and capture, for the axis.

    Returns:
        RGB.
    """
    points = [p for line in lines for seed in line.seeds for p in seed]
    trained = [x for line in lines if not line.untrained for seed in line.seeds for x, _ in seed]
    _, end, x_step = nice_range(0.0, max(trained, default=0.0) or 1.0)
    low, high, y_step = nice_range(min(y for _, y in points), max(y for _, y in points))
    labels = [_label(line) for line in lines]
    right = 50 + max(text_width(label) for label in labels)
    height = max(SIZE[1], TOP + BOTTOM + 18 * len(lines))
    plot = Plot((0.0, end), (low, high), (SIZE[0] - 200 + right, height), right)
    plot.y_axis(y_step, f"PSNR (dB), {what}")
    plot.x_axis("training (minutes)", x_step)
    for index, (line, label) in enumerate(zip(lines, labels, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        mean = line.mean()
        if line.untrained:
            plot.level(mean[-1][1], colour)
        else:
            for seed in line.seeds if len(line.seeds) > 1 else ():
                plot.curve(seed, _pale(colour), width=0.8, dots=len(seed) == 1)
            plot.curve(mean, colour)
        plot.legend(index, label, colour, dashed=line.untrained)
    return plot.picture()


def _label(line: Line) -> str:
    name = line.label if len(line.label) <= LONGEST else f"{line.label[: LONGEST - 3]}..."
    told = [f"{len(line.seeds)} seeds"] if len(line.seeds) > 1 else []
    told += ["untrained"] if line.untrained else []
    return f"{name} ({', '.join(told)})" if told else name


def _pale(colour: str) -> str:
    mixed = ((value + 255) // 2 for value in ImageColor.getrgb(colour)[:3])
    return "#" + "".join(f"{value:02x}" for value in mixed)
