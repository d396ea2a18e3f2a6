"""Suites and plans: what is read, what is refused, and which runs are the same experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatarzoo.benchmark.bench.suite import Budget, make_suite, plan, read_suite, suite_files
from avatarzoo.errors import ConfigError

WAVE = {"recipe": "static_texture", "name": "wave"}


@pytest.mark.parametrize("name", ["pica_table1", "pica_table2", "encodings"])
def test_shipped_suites_are_read_and_list_the_papers_rows(name: str) -> None:
    suite = read_suite(name)
    assert suite.name == name and name in suite_files()
    assert "pica_full" in [row.recipe for row in suite.rows] and "tracked-v1" in suite.protocols


@pytest.mark.parametrize("name", suite_files())
def test_every_row_of_a_shipped_suite_can_be_planned(name: str) -> None:
    planned = plan(read_suite(name), [0], Budget(minutes=1), ["scale=small"])
    assert [p.why_not for p in planned] == [None] * len(read_suite(name).rows)
    assert len({p.key for p in planned}) == len(planned)


@pytest.mark.parametrize("name", ["pica_table1", "hash_blendshapes", "one_video"])
def test_the_floor_is_scored_untrained_and_once(name: str) -> None:
    floor = next(row for row in read_suite(name).rows if row.recipe == "static_texture")
    assert (floor.name, floor.steps, floor.seeds) == ("floor", 0, (0,))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "lists no rows"),
        ("pica_full", "lists no rows"),
        ([{"name": "x"}], "a row is a recipe's name"),
        ([{"recipe": "pica_full", "step": 3}], "Did you mean 'steps'"),
        ([{"recipe": "pica_full", "steps": "3"}], "steps of row 'pica_full' has to be a int"),
        (["pica_full", {"recipe": "pica_full", "overrides": ["omega=3"]}], "two rows called pica_full"),
        ([{"recipe": "pica_full", "name": "../x"}], "cannot name a row"),
    ],
)
def test_mistakes_in_a_suite_are_named(rows: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_suite("mine", rows)


def test_unknown_suites_files_and_protocols_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean .*'pica_table1'"):
        read_suite("pica_table")
    with pytest.raises(ConfigError, match="no suite file"):
        read_suite(str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").write_text("rows: [pica_full]\nprotocols: [tracked-v2]\n")
    with pytest.raises(ConfigError, match="tracked-v2"):
        read_suite(str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").write_text("row: [pica_full]\n")
    with pytest.raises(ConfigError, match="Did you mean 'rows'"):
        read_suite(str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").write_text("rows: [pica_full]\n")
    assert [r.name for r in read_suite(str(tmp_path / "mine.yaml")).rows] == ["pica_full"]


def test_minutes_and_steps_become_the_runs_end() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        Budget(minutes=6, steps=100)
    for wrong in (0, -1, "six", True):
        with pytest.raises(ConfigError, match="minutes="):
            Budget(minutes=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="whole number"):
        Budget(steps=2.5)  # type: ignore[arg-type]
    assert Budget().words() == []
    assert "trainer.max_time=90" in Budget(minutes=1.5).words() and "trainer.max_steps=null" in Budget(minutes=1.5).words()
    assert Budget(steps=20).words() == ["trainer.max_steps=20", "trainer.max_time=null"]


def test_a_plan_goes_seed_by_seed_and_lets_a_broken_row_say_why() -> None:
    rows = [{"recipe": "static_texture", "name": "floor", "steps": 0, "seeds": [0]}, WAVE, "no_such_recipe"]
    planned = plan(make_suite("mine", rows), [0, 3], Budget(minutes=1), ["scale=small"])
    assert [(p.row.name, p.seed) for p in planned] == [
        ("floor", 0),
        ("wave", 0),
        ("no_such_recipe", 0),
        ("wave", 3),
        ("no_such_recipe", 3),
    ]
    assert "no recipe called 'no_such_recipe'" in (planned[2].why_not or "")
    assert planned[0].why_not is None and "trainer.max_steps=0" in planned[0].words
    assert planned[1].key == planned[3].key != planned[0].key
    assert planned[3].folder == f"wave/{planned[3].key}-seed3"


def test_when_no_row_can_be_resolved_nothing_starts() -> None:
    with pytest.raises(ConfigError, match="There is no option omegga"):
        plan(make_suite("mine", [{"recipe": "static_texture", "name": n} for n in "ab"]), [0], Budget(), ["omegga=3"])


def test_the_key_tells_experiments_and_captures_apart_and_nothing_else(tmp_path: Path) -> None:
    def key(*words: str, **budget: int) -> str:
        return plan(make_suite("mine", ["static_texture"]), [0], Budget(**budget), words)[0].key

    plain = key(steps=3)
    assert key("data.cache_dir=/elsewhere", "loader.workers=1", "pictures.every=7", steps=3) == plain
    assert key("logger=wandb", steps=3) == plain
    multiface = [key("data=multiface", f"data.root={tmp_path / name}", steps=3) for name in ("a", "b")]
    assert len({plain, key(steps=4), key("data.seed=1", steps=3), key("scale=small", steps=3), *multiface}) == 6


def test_a_rows_overrides_give_way_to_the_command_line() -> None:
    rows = [{"recipe": "static_texture", "overrides": ["data.seed=5", "data.cameras=3"]}]
    planned = plan(make_suite("mine", rows), [0], Budget(steps=1), ["data.seed=6"])[0]
    words = list(planned.words)
    assert words.index("data.seed=5") < words.index("data.seed=6") and words[-1] == "seed=0"


def test_words_for_a_component_that_a_row_has_not_are_told_from_other_mistakes() -> None:
    suite = make_suite("mine", [{"recipe": "static_texture", "name": "floor"}, "pica_full"])

    def why(*words: str) -> list[str | None]:
        return [p.why_not for p in plan(suite, [0], Budget(steps=1), ["scale=small", *words])]

    floor, full = why("encoding=sinusoidal", "encoding.bands=8")
    assert full is None and floor is not None
    assert floor.startswith(
        "row floor (model static_texture) has no encoding, so encoding=sinusoidal and encoding.bands=8 cannot apply; put it"
    )
    floor, full = why("driver.position_size=64")
    assert full is None and floor is not None and "has no driver, so driver.position_size=64" in floor
    floor, full = why("model.omega=3")
    assert full is None and floor is not None and "omega" in floor and "typed for all rows" in floor
