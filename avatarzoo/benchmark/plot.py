"""Line charts drawn with Pillow: axes with units, grid lines, curves, a legend at the right."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f", "#e377c2", "#bcbd22")
SIZE, SMOOTH = (760, 360), 3  #: pixels, and how many per pixel are drawn in each direction
LEFT, TOP, RIGHT, BOTTOM = 64, 30, 200, 40
GRID, INK, FONT = "#dddddd", "black", 12

Point = tuple[float, float]


def nice_step(highest: float) -> float:
    """Return 1, 2 or 5 times a power of ten, so that four to ten steps reach a number.

    Args:
        highest: to be reached; 0 gives 1.
    """
    if highest <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(highest))
    return next(power * s for s in (0.1, 0.2, 0.5, 1.0, 2.0) if highest / (power * s) <= 10)


def nice_range(low: float, high: float) -> tuple[float, float, float]:
    """Return an axis around some values.

    Args:
        low, high: least and greatest of them.

    Returns:
        Where the axis begins, where it ends, and its step: the ends are multiples of the step.
    """
    step = nice_step(high - low)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return step * first, step * max(last, first + 1), step


def text_width(text: str) -> float:
    """Return how many pixels a line of text takes."""
    return ImageFont.load_default(size=FONT).getlength(text)


class Plot:
    """A chart over two linear axes; what is drawn first lies below."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], size: Point = SIZE, right: float = RIGHT) -> None:
        """Begin an empty chart.

        Args:
            x, y: where the axes begin and end.
            size: width and height in pixels.
            right: pixels kept for the legend.
        """
        self.x, self.y, self.size, self.right = x, y, (round(size[0]), round(size[1])), right
        self._canvas = Image.new("RGB", (self.size[0] * SMOOTH, self.size[1] * SMOOTH), "white")
        self._pen = ImageDraw.Draw(self._canvas)
        self._font = ImageFont.load_default(size=FONT * SMOOTH)

    def place(self, x: float, y: float) -> Point:
        """Return where a point lies, in pixels of the chart, from its left upper corner."""
        wide, high = self.size[0] - LEFT - self.right, self.size[1] - TOP - BOTTOM
        across, up = (x - self.x[0]) / (self.x[1] - self.x[0]), (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + wide * across, TOP + high * (1 - up)

    def _spot(self, point: Point) -> Point:
        x, y = self.place(*point)
        return SMOOTH * x, SMOOTH * y

    def _text(self, x: float, y: float, text: str, anchor: str) -> None:
        self._pen.text((SMOOTH * x, SMOOTH * y), text, fill=INK, font=self._font, anchor=anchor)

    def y_axis(self, step: float, label: str) -> None:
        """Draw a grid line with its number at every step, and what the axis means above it.

        Args:
            step: between two lines.
            label: quantity and unit.
        """
        for index in range(round((self.y[1] - self.y[0]) / step) + 1):
            level = self.y[0] + index * step
            ends = [self._spot((x, level)) for x in self.x]
            self._pen.line(ends, fill=GRID, width=SMOOTH)
            x, y = self.place(self.x[0], level)
            self._text(x - 6, y, f"{round(level, 9):g}", "rm")
        self._text(8, 8, label, "la")

    def x_axis(self, label: str, step: float | None = None) -> None:
        """Write what the axis means below it, with numbers at every step if there is one.

        Args:
            label: quantity and unit.
            step: between two numbers.
        """
        if step is not None:
            for index in range(round((self.x[1] - self.x[0]) / step) + 1):
                value = self.x[0] + index * step
                x, y = self.place(value, self.y[0])
                self._pen.line([(SMOOTH * x, SMOOTH * y), (SMOOTH * x, SMOOTH * (y + 4))], fill=INK, width=SMOOTH)
                self._text(x, y + 6, f"{round(value, 9):g}", "ma")
        middle = LEFT + (self.size[0] - LEFT - self.right) / 2
        self._text(middle, self.size[1] - (BOTTOM - 12 if step is None else BOTTOM - 22), label, "ma")

    def curve(self, points: Sequence[Point], colour: str, width: float = 2, dots: bool = True) -> None:
        """Draw a line through points.

        Args:
            points: in the axes' units.
            colour: of the line.
            width: in pixels.
            dots: mark every point.
        """
        spots = [self._spot(p) for p in points]
        self._pen.line(spots, fill=colour, width=round(width * SMOOTH), joint="curve")
        for x, y in spots if dots else ():
            r = 2.5 * SMOOTH
            self._pen.ellipse([x - r, y - r, x + r, y + r], fill=colour)

    def level(self, y: float, colour: str) -> None:
        """Draw a dashed line across the chart.

        Args:
            y: in the axis's unit.
            colour: of the line.
        """
        (start, height), (end, _) = (self.place(x, y) for x in self.x)
        self._dashes(start, end, height, colour)

    def _dashes(self, start: float, end: float, height: float, colour: str) -> None:
        while start < end:
            ends = [(SMOOTH * start, SMOOTH * height), (SMOOTH * min(start + 6, end), SMOOTH * height)]
            self._pen.line(ends, fill=colour, width=2 * SMOOTH)
            start += 10

    def legend(self, index: int, text: str, colour: str, dashed: bool = False) -> None:
        """Write an entry of the legend.

        Args:
            index: of its line, from the top.
            text: what the curve is.
            colour: of the curve.
            dashed: as ``level`` draws it.
        """
        x, y = self.size[0] - self.right + 14, TOP + 18 * index + 6
        self._dashes(x, x + (16 if dashed else 0), y, colour)
        if not dashed:
            self._pen.line([(SMOOTH * x, SMOOTH * y), (SMOOTH * (x + 18), SMOOTH * y)], fill=colour, width=2 * SMOOTH)
        self._text(x + 24, y, text, "lm")

    def picture(self) -> Image.Image:
        """Return the chart."""
        return self._canvas.resize(self.size, Image.Resampling.LANCZOS)
