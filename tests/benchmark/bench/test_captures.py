"""A suite that a capture cannot be scored under is refused before anything trains."""

from __future__ import annotations

import io
from pathlib import Path

import pillow_capture as pillow
import pytest
from rich.console import Console

from avatarzoo.benchmark.bench import run as runs
from avatarzoo.benchmark.bench.captures import check_protocols
from avatarzoo.benchmark.bench.run import bench
from avatarzoo.benchmark.bench.suite import Budget, make_suite, plan, read_suite
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.registry import register

BARE = {"recipe": "static_texture", "name": "bare", "overrides": ["data=pillow"]}
MATTED = {"recipe": "static_texture", "name": "matted", "overrides": ["data=pillow_matted"]}


@register("data", "pillow_matted")
class Matted(pillow.PillowCapture):
    """The pillow with mattes."""

    provides = pillow.PillowCapture.provides | {"view.foreground"}

    def prepare(self) -> None:
        raise AssertionError("a plan prepares nothing")


def start(out: Path, rows: list, protocols: list[str], **options: bool) -> list[tuple[str, str | None]]:
    console = Console(file=io.StringIO(), width=120)
    results = bench(make_suite("mine", rows, protocols), budget=Budget(steps=1), out=out, console=console, **options)
    return [(p.row.name, p.why_not) for p, _ in results]


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_run_here", lambda left, *_: None)


def test_a_capture_without_mattes_is_refused_before_training_with_what_to_do(tmp_path: Path) -> None:
    told = r"^Nothing was started: protocol 'foreground-v1' needs view\.foreground, which data=pillow .*protocol=tracked-v1"
    with pytest.raises(DataError, match=told):
        start(tmp_path, [BARE], ["tracked-v1", "foreground-v1"])
    assert not list(tmp_path.iterdir())
    assert start(tmp_path, [BARE], ["tracked-v1"]) == [("bare", None)]
    assert start(tmp_path, [MATTED], ["tracked-v1", "foreground-v1"]) == [("matted", None)]


def test_rows_of_other_captures_are_judged_by_theirs(tmp_path: Path) -> None:
    rows = [BARE, MATTED, {**MATTED, "name": "again", "overrides": ["data=pillow_matted", "seed=1"]}]
    found = dict(start(tmp_path, rows, ["foreground-v1"]))
    assert "'foreground-v1' needs view.foreground" in (found["bare"] or "")
    assert found["matted"] is None is found["again"]
    with pytest.raises(ConfigError, match=r"1 of 2 rows cannot run.*\n  bare: protocol 'foreground-v1'"):
        start(tmp_path, rows[:2], ["foreground-v1"])


@pytest.mark.parametrize("name", ["hash_blendshapes", "one_video"])
def test_shipped_suites_that_read_mattes_are_refused_on_captures_without(name: str) -> None:
    suite = read_suite(name)
    bare = plan(suite, [0], Budget(steps=1), ["scale=small", "data=pillow"])
    with pytest.raises(DataError, match="foreground-v1"):
        check_protocols(bare, suite.protocols)


def test_a_capture_that_cannot_be_opened_is_left_to_the_run(tmp_path: Path) -> None:
    planned = plan(make_suite("mine", ["static_texture"]), [0], Budget(steps=1), ["data=multiface", "data.root=/absent"])
    assert check_protocols(planned, ["foreground-v1"]) == planned
