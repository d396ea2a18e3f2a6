"""Records as rows: seeds together, groups by what models saw, labels that tell rows apart."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from benchmark_record import record, scored_run

from avatarzoo.benchmark.bench.job import Job
from avatarzoo.benchmark.leaderboard.rows import Entry, flatten, group_entries, number_at, read_entries
from avatarzoo.errors import ConfigError, DataError


def test_seeds_are_one_row_with_mean_and_spread(tmp_path: Path) -> None:
    for seed, mse in ((2, 10.0), (0, 13.0), (1, 16.0)):
        scored_run(tmp_path / f"run{seed}", seed=seed, mse=mse)
    entries, failures, unread = read_entries([tmp_path])
    assert (len(entries), failures, unread) == (6, [], [])
    group = group_entries(entries)[0]
    (row,) = group.rows
    value = row.value("metrics", "overall", "mse")
    assert row.seeds == [0, 1, 2] and value is not None
    assert (value.mean, value.spread, value.runs) == (13.0, statistics.stdev([10, 13, 16]), 3)
    single = group_entries(entries[:1])[0].rows[0].value("metrics", "overall", "mse")
    assert single is not None and single.spread is None
    assert row.value("metrics", "overall", "lpips_alex") is None


def test_models_that_saw_other_things_and_other_protocols_are_other_groups(tmp_path: Path) -> None:
    scored_run(tmp_path / "a", "pictures")
    scored_run(tmp_path / "b", "mesh", test_inputs="tracked mesh")
    scored_run(tmp_path / "c", "fitted", test_time_fitting="codes of unseen frames, 100 steps")
    data = {**record()["data"], "manifest_sha256": "5" * 64}
    scored_run(tmp_path / "d", "elsewhere", data=data)
    groups = group_entries(read_entries([tmp_path])[0])
    assert len(groups) == 8
    assert [g.protocol for g in groups] == ["tracked-v1"] * 4 + ["rasterised-v1"] * 4
    assert sorted(row.label for g in groups[:4] for row in g.rows) == ["elsewhere", "fitted", "mesh", "pictures"]
    assert any("fitted at test time: codes" in g.title for g in groups)


def test_rows_are_best_first_and_twins_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    scored_run(tmp_path / "a", "wave", mse=20.0)
    scored_run(tmp_path / "b", "wave", mse=15.0, config={"seed": 0, "recipe": "wave", "trainer": {"max_steps": 99}})
    scored_run(tmp_path / "c", "surf", mse=17.0, config={"seed": 0, "loader": {"workers": 3}})
    rows = group_entries(read_entries([tmp_path])[0])[0].rows
    assert [row.label for row in rows] == ["wave (trainer.max_steps=99)", "surf", "wave (trainer.max_steps=10)"]


def test_twins_with_other_components_are_told_apart_by_their_names(tmp_path: Path) -> None:
    arkit = {"seed": 0, "driver": {"name": "arkit", "gain": 2.0, "exclude": ["TongueOut"]}, "model": {"omega": 1}}
    flame = {"seed": 0, "driver": {"name": "flame", "gain": 1.0, "expressions": 50}, "model": {"omega": 3}}
    scored_run(tmp_path / "a", "wave", mse=20.0, config=arkit)
    scored_run(tmp_path / "b", "wave", mse=15.0, config=flame)
    rows = group_entries(read_entries([tmp_path])[0])[0].rows
    assert {row.label for row in rows} == {"wave (driver=arkit, model.omega=1)", "wave (driver=flame, model.omega=3)"}


def test_one_checkpoint_scored_twice_counts_once_the_newer_time(tmp_path: Path) -> None:
    old, new = record(), record() | {"date": "2025-01-01T00:00:00+00:00"}
    new["metrics"] = json.loads(json.dumps(new["metrics"]))
    new["metrics"]["overall"]["psnr"] = 40.0
    (row,) = group_entries([Entry(new), Entry(old)])[0].rows
    value = row.value("metrics", "overall", "psnr")
    assert value is not None and (value.mean, value.runs) == (40.0, 1)


def with_data(**changes: object) -> dict:
    made = record()
    return made | {"data": {**made["data"], **changes}}


OTHERWISE = [
    (with_data(split="val"), "split val"),
    (with_data(picture_size=[8, 10]), "size 8, 10"),
    (with_data(cameras=["b"]), "cameras b"),
    (with_data(segments=["T"]), "segments T"),
    (with_data(picture_options={"background": "white"}), "data.background white"),
    (with_data(options={"background": "white"}), "data.background white"),  # as older records say it
    (with_data(flame_edition="2020"), "FLAME 2020"),
    ({**record(), "test_inputs": "tracked mesh"}, ""),
    ({**record(), "test_time_fitting": "codes of unseen frames, 200 steps"}, ""),
    ({**record(), "protocol": {**record()["protocol"], "finest": "0.5 mm"}}, "finest 0.5 mm"),
]


@pytest.mark.parametrize(("other", "apart"), OTHERWISE)
def test_one_checkpoint_scored_otherwise_is_kept_in_a_group_of_its_own(other: dict, apart: str) -> None:
    groups = group_entries([Entry(record()), Entry(other)])
    assert len(groups) == 2 and all(len(group.rows) == 1 for group in groups)
    assert groups[0].title != groups[1].title
    if apart:
        assert apart in [g.apart for g in groups] and any(f"({apart})" in g.title for g in groups)


def test_a_random_background_and_black_are_the_same_test_pictures() -> None:
    black, random = with_data(options={"background": "black"}), with_data(options={"background": "random"})
    now = with_data(options={"background": "random"}, picture_options={"background": "black"})
    for number, made in enumerate((black, random, now)):
        made["checkpoint_sha256"] = str(number) * 64
    (group,) = group_entries([Entry(made) for made in (black, random, now)])
    assert group.apart == "" and sum(len(row.entries) for row in group.rows) == 3


def test_a_bench_names_rows_and_its_failed_runs_are_found(tmp_path: Path) -> None:
    scored_run(tmp_path / "floor" / "k-seed0" / "test", "static_texture")
    Job("floor", 0, [], [], [], ".", status="done").write(tmp_path / "floor" / "k-seed0")
    Job("dam", 1, [], [], [], ".", status="failed", why="no memory").write(tmp_path / "dam" / "k-seed1")
    entries, failures, _ = read_entries([tmp_path])
    assert group_entries(entries)[0].rows[0].label == "floor"
    assert [(f.row, f.seed, f.why) for f in failures] == [("dam", 1, "no memory")]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no"):
        read_entries([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no records"):
        read_entries([tmp_path])
    (tmp_path / "record.json").write_text("[{}]")
    with pytest.raises(DataError, match="could not be read"):
        read_entries([tmp_path])
    with pytest.raises(DataError, match="Not a record"):
        read_entries([tmp_path / "record.json"])
    scored_run(tmp_path / "good")
    assert len(read_entries([tmp_path])[2]) == 1


def test_numbers_and_options_by_path() -> None:
    tree = {"a": {"b": 1, "nan": float("nan"), "none": None, "yes": True}}
    assert number_at(tree, ("a", "b")) == 1.0
    assert [number_at(tree, ("a", key)) for key in ("nan", "none", "yes", "c")] == [None] * 4
    assert number_at(tree, ("a", "b", "c")) is None
    config = {"seed": 1, "out": "x", "data": {"root": "r", "name": "n"}, "model": {"deep": {"er": 3}}}
    assert flatten(config) == {"data.name": "n", "model.deep.er": 3}
