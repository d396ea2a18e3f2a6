"""The floor: what the tracked mesh with one fixed texture scores on the same pictures, to be beaten by every model.

It sees other things of a test frame than models that encode pictures, so it stands in a table of its own; a line under
each table names it.
"""

from __future__ import annotations

from collections.abc import Sequence

from avatarzoo.benchmark.leaderboard.rows import Group, Row, Value

MODEL = "static_texture"
SIGN = "↓"  #: stands behind the labels of rows below the floor
PSNR = ("metrics", "overall", "psnr")


def floor_of(group: Group, groups: Sequence[Group]) -> Row | None:
    """Return the floor of a group: the best static texture on the same pictures under the same protocol, or None.

    Args:
        group: whose rows are compared with it; a group that holds the floor alone has none.
        groups: all that were read.
    """
    alike = [row for other in groups if other.pictures == group.pictures for row in other.rows]
    known = [(psnr(row), row) for row in alike if row.first["model"] == MODEL and row.value(*PSNR)]
    floor = max(known, key=lambda pair: pair[0], default=(0.0, None))[1]
    return None if group.rows == [floor] else floor


def psnr(row: Row) -> float:
    """Return a row's PSNR in dB; infinite where it has none, so that it is below nothing."""
    value: Value | None = row.value(*PSNR)
    return value.mean if value else float("inf")


def is_below(row: Row, floor: Row | None) -> bool:
    """Whether a row is worse than the floor.

    Args:
        row: to be judged.
        floor: from ``floor_of``.
    """
    return floor is not None and psnr(row) < psnr(floor)


def floor_line(group: Group, groups: Sequence[Group]) -> str:
    """Return the floor in words, with what the sign of rows below it means; "" without a floor.

    Args:
        group: whose table the line stands under.
        groups: all that were read.
    """
    floor = floor_of(group, groups)
    if floor is None:
        return ""
    legend = f"; {SIGN} below the floor" if any(is_below(row, floor) for row in group.rows) else ""
    return f"floor ({MODEL}, sees the {floor.first['test_inputs']}): {psnr(floor):.2f} dB{legend}"
