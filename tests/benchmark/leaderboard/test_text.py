"""Markdown and CSV: the same numbers, and nothing of a record can break out of its cell."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from benchmark_record import scored_run

from avatarzoo.benchmark.leaderboard.make import read_speeds
from avatarzoo.benchmark.leaderboard.rows import Failure, group_entries, read_entries
from avatarzoo.benchmark.leaderboard.text import csv_text, failures_in_words, guard, markdown
from avatarzoo.errors import DataError

FAILED = [Failure("dam", 0, "no | memory"), Failure("dam", 1, "no | memory"), Failure("x", 0, "other")]


def test_markdown_holds_mean_spread_seeds_and_what_is_missing(tmp_path: Path) -> None:
    scored_run(tmp_path / "a", "wave", 0, 10.0)
    scored_run(tmp_path / "b", "wave", 1, 14.0)
    scored_run(tmp_path / "c", "surf", 0, 30.0)
    text = markdown(group_entries(read_entries([tmp_path])[0]), FAILED)
    lines = text.splitlines()
    wave = next(line for line in lines if line.startswith("| wave "))
    assert "**12.00 ± 2.83**" in wave and wave.endswith("| 0, 1 |")
    assert next(line for line in lines if line.startswith("| surf ")).count("**") == 0
    assert "| n/a |" in wave and "n/a: no weights" in text
    assert "- dam, seed 0, 1: no \\| memory" in text
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") - line.count("\\|") for line in table}) == 1  # every line has all columns


def test_csv_reads_back_to_the_same_numbers(tmp_path: Path) -> None:
    scored_run(tmp_path / "a", "wave", 0, 10.0)
    scored_run(tmp_path / "b", "wave", 1, 14.0)
    rows = list(csv.DictReader(io.StringIO(csv_text(group_entries(read_entries([tmp_path])[0]), FAILED))))
    assert [r["protocol"] for r in rows] == ["tracked-v1", "rasterised-v1", "", "", ""]
    assert float(rows[0]["MSE"]) == 12.0 and float(rows[0]["MSE spread"]) == pytest.approx(2.8284, abs=1e-4)
    assert (rows[0]["seeds"], rows[0]["runs"], rows[0]["LPIPS-a"]) == ("0 1", "2", "")
    assert rows[2]["failed"] == "no | memory"


def test_names_from_records_stay_text(tmp_path: Path) -> None:
    scored_run(tmp_path, "a|b <script>")
    text = markdown(group_entries(read_entries([tmp_path])[0]))
    assert "a\\|b &lt;script>" in text
    scored_run(tmp_path / "b", "c\\|d")
    line = next(x for x in markdown(group_entries(read_entries([tmp_path / "b"])[0])).splitlines() if x.startswith("| c"))
    assert line.startswith("| c\\\\\\|d |")  # a backslash of the name does not free the bar behind it
    for text in ("=1+1", "+cmd", "@x", "-x", "-1+1", " =1", "\t-x"):
        assert guard(text) == "'" + text
    for number in (3, -1.5, "-1.5", "+2", "-1e-05", "words - more"):
        assert guard(number) == number


def test_names_of_views_stay_in_their_cells(tmp_path: Path) -> None:
    made = json.loads(scored_run(tmp_path / "a").read_text())
    for one in made:
        one["metrics"]["views"]["=a|b <i>"] = one["metrics"]["views"].pop("Front")
    (tmp_path / "a" / "record.json").write_text(json.dumps(made))
    groups = group_entries(read_entries([tmp_path])[0])
    table = [line for line in markdown(groups).splitlines() if line.startswith("|")]
    assert "=a\\|b &lt;i> MSE" in table[0] and len({line.count("|") - line.count("\\|") for line in table}) == 1
    heads = next(csv.reader(io.StringIO(csv_text(groups))))
    assert "'=a|b <i> MSE" in heads and "=a|b <i> MSE" not in heads


def test_reasons_are_said_once_per_row() -> None:
    assert failures_in_words(FAILED) == ["dam, seed 0, 1: no | memory", "x, seed 0: other"]


def test_speeds_stand_beside_recipes_of_their_scale(tmp_path: Path) -> None:
    times = {"wave": {"median_ms": 2.5}, "surf": {"median_ms": 9.0}}
    content = {"scale": "small", "measured": [{"dtype": "float32", "what": "per object", "times": times}]}
    (tmp_path / "speed.json").write_text(json.dumps(content))
    speeds = read_speeds([tmp_path / "speed.json"])
    assert speeds[("wave", "small")] == {"per object, float32": 2.5}
    scored_run(tmp_path / "a", "wave")
    scored_run(tmp_path / "b", "surf", scale="paper")
    lines = markdown(group_entries(read_entries([tmp_path])[0]), (), speeds).splitlines()
    head = next(line for line in lines if line.startswith("|  |")).split("|")
    place = head.index(" per object, float32 ms ")
    cells = {line.split("|")[1].strip(): line.split("|")[place].strip() for line in lines if line.startswith("| ")}
    assert (cells["wave"], cells["surf"]) == ("2.50", "-")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(DataError, match="bench-speed"):
        read_speeds([tmp_path / "other.json"])


def test_columns_of_views_say_what_they_hold(tmp_path: Path) -> None:
    scored_run(tmp_path)
    groups = group_entries(read_entries([tmp_path])[0])
    head = next(line for line in markdown(groups).splitlines() if line.startswith("|  |"))
    assert "| Front MSE | Left MSE |" in head and "| Front |" not in head
    assert {"Front MSE", "Left MSE"} <= set(next(csv.reader(io.StringIO(csv_text(groups)))))


def test_wall_time_of_a_busy_machine_has_no_best(tmp_path: Path) -> None:
    for name, ms in (("wave", 1.5), ("surf", 9.0)):
        scored_run(tmp_path / name, name, timing={"device": "cpu", "render_ms_per_image": ms, "batch_size": 1, "images": 2})
    lines = markdown(group_entries(read_entries([tmp_path])[0])).splitlines()
    place = next(line for line in lines if line.startswith("|  |")).split(" | ").index("ms / picture (wall)")
    assert {line.split(" | ")[place] for line in lines if line.startswith(("| wave", "| surf"))} == {"1.5", "9.0"}
