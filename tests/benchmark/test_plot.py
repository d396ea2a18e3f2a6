"""Axes of charts: steps and ends that people can read, and where a point lies."""

import pytest

from avatarzoo.benchmark.plot import Plot, nice_range, nice_step


@pytest.mark.parametrize(
    ("highest", "step"), [(0, 1), (0.03, 0.005), (1, 0.1), (1.2, 0.2), (4.9, 0.5), (7, 1), (10, 1), (23.5, 5), (380, 50)]
)
def test_steps_are_one_two_or_five(highest: float, step: float) -> None:
    assert nice_step(highest) == pytest.approx(step)


@pytest.mark.parametrize(
    ("low", "high", "axis"),
    [
        (0, 4, (0, 4, 0.5)),
        (20.3, 29.1, (20, 30, 1)),
        (31.25, 31.94, (31.2, 32.0, 0.1)),
        (7, 7, (7, 8, 1)),
        (0, 6, (0, 6, 1)),
    ],
)
def test_axes_begin_and_end_at_a_step_and_hold_the_values(low: float, high: float, axis: tuple[float, ...]) -> None:
    begin, end, step = nice_range(low, high)
    assert (begin, end, step) == pytest.approx(axis)
    assert begin <= low and end >= high


def test_a_point_lies_between_the_margins() -> None:
    plot = Plot((0, 10), (20, 30), (760, 360), 200)
    assert plot.place(0, 30) == (64, 30)
    assert plot.place(10, 20) == (560, 320)
    assert plot.place(5, 25) == (312, 175)
    assert plot.picture().size == (760, 360)
