"""Rows that change a recipe do not get what belongs to the recipe: published numbers, timings, the role of reference."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from benchmark_record import scored_run

from avatarzoo.benchmark.leaderboard import published
from avatarzoo.benchmark.leaderboard.columns import columns
from avatarzoo.benchmark.leaderboard.curve import reference_row
from avatarzoo.benchmark.leaderboard.own import changed, own_recipe, recipe_config
from avatarzoo.benchmark.leaderboard.rows import Group, group_entries, read_entries
from avatarzoo.config import load
from avatarzoo.errors import ConfigError
from avatarzoo.resuming import check_resumed


def config(**nodes: object) -> dict:
    whole = copy.deepcopy(dict(recipe_config("pica_full", "small") or {}))
    return whole | {"seed": 0, "recipe": "pica_full", "trainer": {"max_time": 60}} | nodes


def group_of(folder: Path, monkeypatch: pytest.MonkeyPatch, **rows: tuple[float, dict]) -> Group:
    narrow = tuple(
        published.Published(t.source, t.suite, t.protocol, t.reference, ("Front", "Left"), t.rows)
        for t in published.tables()
    )
    monkeypatch.setattr(published, "tables", lambda: narrow)
    for name, (mse, said) in rows.items():
        scored_run(folder / name, "pica_full", mse=mse, config=said)
    return next(g for g in group_entries(read_entries([folder])[0]) if g.protocol == "rasterised-v1")


def test_a_row_with_another_encoding_gets_neither_published_numbers_nor_the_role_of_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = config(encoding={"name": "my", "bands": 8})
    group = group_of(tmp_path, monkeypatch, plain=(20.0, config()), mine=(18.0, mine))
    altered, plain = group.rows
    assert altered.first["config"]["encoding"]["name"] == "my"
    assert (own_recipe(altered), own_recipe(plain)) == (None, "pica_full")
    speeds = {("pica_full", "small"): {"per object, float32": 2.5}}
    shown = {c.head: (c.text(altered), c.text(plain)) for c in columns(group, speeds)}
    assert shown["published"] == ("-", "12.25") and shown["published vs pica_full"] == ("-", "+0.0%")
    assert shown["difference"] == ("-", "+7.75") and shown["vs pica_full"] == ("-10.0%", "+0.0%")
    assert shown["per object, float32 ms"] == ("-", "2.50")
    assert reference_row(group) is plain


def test_without_the_plain_row_nothing_is_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = group_of(tmp_path, monkeypatch, mine=(18.0, config(encoding={"name": "my"})))
    heads = [c.head for c in columns(group, {("pica_full", "small"): {"per object": 2.5}})]
    assert not [head for head in heads if "pica_full" in head or "per object" in head or head == "published"]


def owned(folder: Path, recipe: str, said: dict, timed: bool = False) -> str | None:
    scored_run(folder, recipe, config=said)
    return own_recipe(group_entries(read_entries([folder])[0])[0].rows[0], timed)


def test_data_seed_and_budget_leave_a_recipe_what_it_is(tmp_path: Path) -> None:
    said = config(data={"name": "multiface"}, seed=5, trainer={"max_steps": 7, "precision": "bf16-mixed"})
    said["loader"] = {**said["loader"], "workers": 7}
    assert owned(tmp_path, "pica_full", said, timed=True) == "pica_full"


@pytest.mark.parametrize("words", [["rasterizer=torch"], ["rasterizer=nvdiffrast"], ["encoding.backend=torch"]])
def test_kernels_learn_the_same_in_another_time(words: list[str], tmp_path: Path) -> None:
    said = load("pica_hash", ["scale=small", *words]).resolved
    assert said["encoding"]["name"] == "hash_grid"
    assert owned(tmp_path / "a", "pica_hash", said) == "pica_hash"
    assert owned(tmp_path / "b", "pica_hash", said, timed=True) is None


def test_another_batch_size_is_another_training(tmp_path: Path) -> None:
    said = config()
    assert owned(tmp_path / "a", "pica_full", {k: v for k, v in said.items() if k != "loader"}) == "pica_full"  # an old one
    said["loader"] = {**said["loader"], "batch_size": 1 + said["loader"]["batch_size"]}
    assert owned(tmp_path / "b", "pica_full", said) is None


def test_resuming_and_comparing_read_one_list() -> None:
    before = load("pica_hash", ["scale=small"]).resolved
    for word in ("rasterizer=torch", "encoding.backend=torch", "loader.workers=1"):
        check_resumed(load("pica_hash", ["scale=small", word]).resolved, before, Path("last.ckpt"))
    with pytest.raises(ConfigError, match=r"loader\.batch_size was"):
        check_resumed(load("pica_hash", ["scale=small", "loader.batch_size=9"]).resolved, before, Path("last.ckpt"))


@pytest.mark.parametrize("recipe", ["no_such", "../pica_full", "./mine.yaml"])
def test_a_recipe_that_is_not_shipped_cannot_be_compared(recipe: str, tmp_path: Path) -> None:
    scored_run(tmp_path, recipe, config=config())
    assert own_recipe(group_entries(read_entries([tmp_path])[0])[0].rows[0]) is None


@pytest.mark.parametrize(
    ("said", "departs"),
    [
        ({"a": {"x": 1, "y": 2}}, False),
        ({"a": {"x": 1}}, False),  # y is newer than the record
        ({"a": {"x": 1, "z": None}}, False),
        ({"a": {"x": 1, "z": 0}}, True),
        ({"a": {"x": 3}}, True),
        ({}, True),  # a node taken out
        ({"a": {"x": 1}, "b": {}}, True),
    ],
)
def test_what_departs_from_a_recipe(said: dict, departs: bool) -> None:
    assert changed(said, {"a": {"x": 1, "y": 2}}) is departs
