"""The floor stands beside the models of the same pictures, and rows below it are marked."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from benchmark_record import record, scored_run
from rich.console import Console

from avatarzoo.benchmark.bench.table import group_table
from avatarzoo.benchmark.leaderboard.floor import floor_line, floor_of, is_below
from avatarzoo.benchmark.leaderboard.page import page
from avatarzoo.benchmark.leaderboard.rows import Group, group_entries, read_entries
from avatarzoo.benchmark.leaderboard.text import csv_text, markdown

SEEN = "floor (static_texture, sees the tracked mesh): 33.12 dB"  # an MSE of 31.7: 48.1308 - 10 log10(31.7)


def groups(folder: Path) -> list[Group]:
    scored_run(folder / "floor", "static_texture", mse=31.7, model="static_texture", test_inputs="tracked mesh")
    scored_run(folder / "good", "wave", mse=20.0)
    scored_run(folder / "bad", "surf", mse=40.0)
    data = {**record()["data"], "images": 3}
    scored_run(folder / "elsewhere", "far", mse=90.0, data=data)
    return group_entries(read_entries([folder])[0])


def test_the_floor_is_that_of_the_same_pictures_and_protocol(tmp_path: Path) -> None:
    found = groups(tmp_path)
    lines = {(g.protocol, g.rows[0].label): floor_line(g, found) for g in found}
    for protocol in ("tracked-v1", "rasterised-v1"):
        assert lines[protocol, "wave"] == f"{SEEN}; ↓ below the floor"
        assert lines[protocol, "far"] == "" and lines[protocol, "static_texture"] == ""
    models = next(g for g in found if g.rows[0].label == "wave")
    floor = floor_of(models, found)
    assert [is_below(row, floor) for row in models.rows] == [False, True]
    assert floor_line(models, [models]) == ""


def test_every_kind_of_table_shows_it_and_marks_what_is_below(tmp_path: Path) -> None:
    found = groups(tmp_path)
    text = markdown(found)
    assert text.count(SEEN) == 2 and "| surf ↓ |" in text and "| wave |" in text and "| far |" in text
    rows = list(csv.DictReader(io.StringIO(csv_text(found))))
    assert {row["row"]: row["floor PSNR"][:5] for row in rows} == {
        **{"wave": "33.12", "surf": "33.12"},
        **{"static_texture": "", "far": ""},
    }
    html = page(found)
    assert html.count(SEEN) == 2 and html.count('title="below the floor"') == 2
    console = Console(file=io.StringIO(), width=140)
    console.print(group_table([g for g in found if g.protocol == "tracked-v1" and g.images == 2]))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert told.count(SEEN) == 1 and "surf ↓" in told and "wave ↓" not in told
