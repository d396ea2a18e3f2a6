"""Published values: read off the paper, averaged by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_record import scored_run

from avatarzoo.benchmark.leaderboard import published
from avatarzoo.benchmark.leaderboard.columns import best, columns
from avatarzoo.benchmark.leaderboard.published import mean_over_views, published_for, tables
from avatarzoo.benchmark.leaderboard.rows import Group, group_entries, read_entries

ONE, TWO = tables()


def test_the_tables_are_whole_and_agree_with_each_other() -> None:
    assert [len(rows) for rows in ONE.rows.values()] == [6] * 4 and [len(rows) for rows in TWO.rows.values()] == [3] * 5
    assert all(len(v) == 5 for t in tables() for rows in t.rows.values() for v in rows.values())
    for subject, values in TWO.rows["pica_full"].items():
        assert ONE.rows["pica_full"][subject] == values


def test_means_by_hand() -> None:
    s6 = [6.86, 6.53, 5.85, 5.66, 5.29]
    assert ONE.rows["dam"]["S6"] == s6
    subjects = [91.0 + 6.23, 86.01, 96.68, 35.54, 41.12, sum(s6)]  # sums of the five views
    assert ONE.mse("dam") == pytest.approx(sum(subjects) / 30)
    assert ONE.relative("pica_full") == 0
    assert ONE.relative("dam") == pytest.approx(ONE.mse("dam") / ONE.mse("pica_full") - 1) and ONE.relative("dam") > 0.03


def groups(folder: Path, monkeypatch: pytest.MonkeyPatch, **mse: float) -> list[Group]:
    """Two views only, as in the records of the tests."""
    narrow = tuple(
        published.Published(t.source, t.suite, t.protocol, t.reference, ("Front", "Left"), t.rows) for t in tables()
    )
    monkeypatch.setattr(published, "tables", lambda: narrow)
    for recipe, value in mse.items():
        scored_run(folder / recipe, recipe, mse=value)
    return group_entries(read_entries([folder])[0])


def test_the_table_that_has_most_rows_stands_beside_the_papers_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked, rasterised = groups(tmp_path, monkeypatch, pica_full=20.0, pica_1d_pe=22.0, pica_2d_pe=18.0, mine=9.0)
    assert published_for(tracked) is None
    table = published_for(rasterised)
    assert table is not None and table.suite == "pica_table2"
    shown = {c.head: c for c in columns(rasterised)}
    rows = {row.label: row for row in rasterised.rows}

    def value(head: str, row: str) -> float | None:
        found = shown[head].value(rows[row])
        return None if found is None else found.mean

    assert mean_over_views(rows["pica_1d_pe"], ("Front", "Left")) == 22.0
    assert value("difference", "pica_1d_pe") == pytest.approx(22.0 - TWO.mse("pica_1d_pe"))
    assert value("vs pica_full", "pica_1d_pe") == pytest.approx(0.1)
    assert value("published vs pica_full", "pica_1d_pe") == pytest.approx(TWO.relative("pica_1d_pe"))
    assert value("published", "mine") is None and value("vs pica_full", "mine") == pytest.approx(-0.55)
    assert shown["vs pica_full"].text(rows["pica_2d_pe"]) == "-10.0%"
    assert best(shown["MSE"], rasterised.rows) is rows["mine"] and best(shown["coverage"], rasterised.rows) is None


def test_without_the_papers_views_nothing_stands_beside(tmp_path: Path) -> None:
    scored_run(tmp_path, "pica_full")
    assert all(published_for(group) is None for group in group_entries(read_entries([tmp_path])[0]))
