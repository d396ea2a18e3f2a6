"""From scored checkpoints to the lines of a chart: one per recipe, its runs together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from avatarzoo.benchmark.bench.job import Job
from avatarzoo.benchmark.curve.scored import Scored
from avatarzoo.benchmark.leaderboard.rows import Entry, Row, number_at, seedless_hash, tell_apart

PSNR = ("metrics", "overall", "psnr")
Point = tuple[float, float]


@dataclass
class Line:
    """One experiment.

    Attributes:
        label: unique on the chart.
        runs: points (minutes, PSNR) of each run, by minutes.
        seeds: those of the runs, each once: two runs may share one.
        untrained: the runs have one point each, of 0 steps: a level to compare with.
    """

    label: str
    runs: list[list[Point]] = field(default_factory=list)
    seeds: set[int] = field(default_factory=set)
    untrained: bool = False

    def mean(self) -> list[Point]:
        """Return the mean over runs at every minute some run was scored at, where all of them have begun and none ended.

        Between two points of a run it is interpolated linearly. Runs that share no minute have no mean; the list is empty.
        """
        if len(self.runs) == 1:
            return self.runs[0]
        first, last = max(points[0][0] for points in self.runs), min(points[-1][0] for points in self.runs)
        times = sorted({x for points in self.runs for x, _ in points if first <= x <= last})
        return [(x, statistics.fmean(value_at(points, x) for points in self.runs)) for x in times]

    def final(self) -> list[Point]:
        """Return the last point of each run."""
        return [points[-1] for points in self.runs]


def value_at(points: Sequence[Point], x: float) -> float:
    """Interpolate linearly between points.

    Args:
        points: by x, of which the first is at or before ``x`` and the last at or after it.
        x: where.
    """
    for (a, low), (b, high) in pairwise(points):
        if a <= x <= b:
            return high if a == b else low + (high - low) * (x - a) / (b - a)
    return points[0][1]


def lines_of(scored: Sequence[Scored]) -> list[Line]:
    """Sort scored checkpoints into lines.

    Args:
        scored: of all runs.

    Returns:
        Lines, the one that ends highest first; checkpoints without a number are left out, and lines without any.
    """
    runs: dict[Path, list[Scored]] = {}
    for one in scored:
        runs.setdefault(one.saved.run, []).append(one)
    rows: dict[tuple[str, ...], Row] = {}
    lines: dict[tuple[str, ...], Line] = {}
    for run, many in runs.items():
        record, job = many[-1].record, Job.read(run)
        name = job.row if job else str(record["recipe"])
        key = (name, seedless_hash(record), *seen_by(record).values())
        rows.setdefault(key, Row(name)).entries.append(Entry(record))
        points = [(s.saved.minutes, value) for s in many if (value := number_at(s.record, PSNR)) is not None]
        line = lines.setdefault(key, Line(name, untrained=True))
        line.runs += [points] if points else []
        line.seeds |= {int(record["config"].get("seed", 0))} if points else set()
        line.untrained &= len(many) == 1 and many[0].saved.steps == 0
    for kind in {key[2:] for key in rows}:  # what runs see is said of all lines below
        tell_apart([row for key, row in rows.items() if key[2:] == kind])
    differing = differing_views([row.first for row in rows.values()])
    for key, line in lines.items():
        told = ", ".join(f"{what} {value}" for what, value in seen_by(rows[key].first).items() if what in differing)
        line.label = f"{rows[key].label}, {told}" if told else rows[key].label
    kept = [line for line in lines.values() if line.runs]
    return sorted(kept, key=lambda line: -statistics.fmean(y for _, y in line.final()))


def seen_by(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what else two runs have to share so that their numbers may be compared, in words.

    Args:
        record: of a run.
    """
    said = {"sees": record["test_inputs"], "fitted": record["test_time_fitting"]}
    return said | {"finest": record["protocol"].get("finest", "")}


def differing_views(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what of ``seen_by`` is not the same for all."""
    said = [seen_by(record) for record in records]
    return [what for what in (said[0] if said else ()) if len({one[what] for one in said}) > 1]
