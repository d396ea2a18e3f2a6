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

#: The tables of the paper in another arrangement: view by view, and over the subjects S1 to S6, or S1, S2 and S6.
PRINTED_ONE = """
Front dam          23.03 19.53 24.41  7.26  9.20  6.86
Front pica_full    21.39 18.31 23.11  6.81  8.74  6.22
Front pica_no_uv   22.16 19.34 23.95  7.20  9.06  6.86
Front pica_coarse  21.64 19.88 23.94  7.19  9.09  6.54
Up    dam          20.78 20.90 22.83  6.03 10.87  6.53
Up    pica_full    19.71 19.96 22.22  5.78 10.37  6.06
Up    pica_no_uv   20.38 20.52 22.99  6.13 10.96  6.72
Up    pica_coarse  20.04 21.62 23.04  6.02 10.64  6.33
Down  dam          18.13 16.62 16.54  7.34  7.24  5.85
Down  pica_full    17.52 16.36 16.04  7.33  7.16  5.39
Down  pica_no_uv   18.28 17.61 16.42  7.40  7.39  5.85
Down  pica_coarse  17.84 17.97 16.44  7.48  7.49  5.69
Left  dam          16.32 15.44 16.09  7.15  7.27  5.66
Left  pica_full    15.52 14.28 15.29  7.05  7.09  4.97
Left  pica_no_uv   16.27 15.40 15.86  7.32  7.46  5.90
Left  pica_coarse  16.02 15.97 15.81  7.21  7.49  5.29
Right dam          18.97 13.52 16.81  7.76  6.54  5.29
Right pica_full    18.00 12.14 15.64  7.63  6.53  4.95
Right pica_no_uv   18.57 13.29 16.12  8.05  6.76  5.62
Right pica_coarse  18.69 13.92 16.79  8.25  6.56  5.16
"""
PRINTED_TWO = """
Front pica_full    21.39 18.31  6.22
Front pica_nerf_pe 21.85 18.99  6.41
Front pica_uv_nope 21.45 19.17  6.59
Front pica_2d_pe   21.56 19.05  6.28
Front pica_1d_pe   21.40 19.30  6.58
Up    pica_full    19.71 19.96  6.06
Up    pica_nerf_pe 20.10 20.35  6.16
Up    pica_uv_nope 19.93 20.51  6.53
Up    pica_2d_pe   19.85 20.23  6.00
Up    pica_1d_pe   19.67 20.61  6.39
Down  pica_full    17.52 16.36  5.39
Down  pica_nerf_pe 17.86 17.35  5.60
Down  pica_uv_nope 17.70 17.53  5.68
Down  pica_2d_pe   17.97 17.47  5.48
Down  pica_1d_pe   17.60 17.64  5.68
Left  pica_full    15.52 14.28  4.97
Left  pica_nerf_pe 15.90 15.19  5.29
Left  pica_uv_nope 15.98 15.40  5.33
Left  pica_2d_pe   15.98 15.02  5.26
Left  pica_1d_pe   15.70 15.43  5.26
Right pica_full    18.00 12.14  4.95
Right pica_nerf_pe 18.61 13.18  5.14
Right pica_uv_nope 18.53 13.29  5.24
Right pica_2d_pe   18.80 13.02  5.09
Right pica_1d_pe   18.29 13.39  5.21
"""


def test_the_tables_are_whole_and_agree_with_each_other() -> None:
    assert [len(rows) for rows in ONE.rows.values()] == [6] * 4 and [len(rows) for rows in TWO.rows.values()] == [3] * 5
    assert all(len(v) == 5 for t in tables() for rows in t.rows.values() for v in rows.values())
    for subject, values in TWO.rows["pica_full"].items():
        assert ONE.rows["pica_full"][subject] == values


@pytest.mark.parametrize(("table", "printed", "subjects"), [(ONE, PRINTED_ONE, "123456"), (TWO, PRINTED_TWO, "126")])
def test_every_value_is_the_printed_one(table: published.Published, printed: str, subjects: str) -> None:
    known = {}
    for line in printed.strip().splitlines():
        view, recipe, *values = line.split()
        known |= {(recipe, f"S{s}", view): float(v) for s, v in zip(subjects, values, strict=True)}
    found = {
        (recipe, subject, view): value
        for recipe, rows in table.rows.items()
        for subject, values in rows.items()
        for view, value in zip(table.views, values, strict=True)
    }
    assert found == known


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
