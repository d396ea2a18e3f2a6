"""Weights & Biases without a network: the offline run's files hold table, pictures and records."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmark_record import scored_run
from PIL import Image

from avatarzoo.benchmark.leaderboard.options import leaderboard_words
from avatarzoo.benchmark.leaderboard.rows import group_entries, read_entries
from avatarzoo.benchmark.leaderboard.upload import _group, upload
from avatarzoo.errors import ConfigError


def test_an_offline_run_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    scored_run(tmp_path / "runs" / "a", "wave", 0, 10.0)
    scored_run(tmp_path / "runs" / "b", "wave", 1, 14.0)
    scored_run(tmp_path / "runs" / "c", "surf", 0, 9.0)
    out = tmp_path / "out"
    leaderboard_words([str(tmp_path / "runs"), f"out={out}", "--wandb", "me/zoo"])
    (run,) = (out / "wandb").glob("offline-run-*")

    tables = sorted(run.glob("files/media/table/**/*.table.json"))
    assert len(tables) == 2
    content = json.loads(tables[0].read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    assert [row["row"] for row in rows] == ["surf", "wave"]
    assert rows[1]["MSE"] == 12.0 and rows[1]["MSE spread"] == pytest.approx(2.8284, abs=1e-4) and rows[1]["seeds"] == "0 1"
    assert rows[0]["LPIPS-a"] is None
    pictures: dict[str, list[Path]] = {}
    for path in run.glob("files/media/images/1_*/**/*.png"):
        pictures.setdefault(path.name.split("_")[0], []).append(path)
    assert {kind: len(paths) for kind, paths in pictures.items()} == {"expressions": 1, "pictures": 2, "truth": 1}
    assert all(Image.open(path).size == (224, 300) for path in pictures["pictures"])  # two pictures over their errors

    records = json.loads((run / "files" / "records.json").read_text())
    assert len(records) == 6 and {r["protocol"]["id"] for r in records} == {"tracked-v1", "rasterised-v1"}
    (log,) = run.glob("*.wandb")
    patience = time.monotonic() + 60  # wandb's own process writes the log and may still be at it on a busy machine
    while "records" not in artifacts(log) and time.monotonic() < patience:
        time.sleep(0.2)
    assert "records" in artifacts(log)


def test_the_floor_stands_beside_a_table_and_marks_the_rows_below_it(tmp_path: Path) -> None:
    scored_run(tmp_path / "a", "wave", mse=20.0)
    scored_run(tmp_path / "b", "surf", mse=10.0)
    scored_run(tmp_path / "c", "floor", mse=15.0, model="static_texture", test_inputs="tracked mesh")
    found = group_entries(read_entries([tmp_path])[0])
    above = next(g for g in found if g.protocol == "tracked-v1" and g.test_inputs == "pictures")
    alone = next(g for g in found if g.protocol == "tracked-v1" and g.test_inputs == "tracked mesh")
    rows: list[str] = []
    table = SimpleNamespace(add_data=lambda *cells: rows.append(cells[0]))
    wandb = SimpleNamespace(Table=lambda columns: table, Image=lambda array, caption: caption)
    logged = _group(wandb, above, found, "1", None)
    assert logged["1/floor"] == "floor (static_texture, sees the tracked mesh): 36.37 dB; ↓ below the floor"
    assert rows == ["surf", "wave ↓"]
    assert "2/floor" not in _group(wandb, alone, found, "2", None)


def log_records(file: Path) -> Iterator[bytes]:
    """Read an offline run's log: blocks of 32 KiB, each piece led by checksum, length and kind, after 7 bytes of header."""
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no room for another piece in this block
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if at + 7 + length > len(data):  # still being written
            return
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield whole
            whole = b""


def artifacts(file: Path) -> list[str]:
    """Return the names of the artifacts in an offline run's log, which `wandb sync` sends."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for data in log_records(file):
        entry = wandb_internal_pb2.Record()
        entry.ParseFromString(data)
        if entry.WhichOneof("record_type") == "artifact":
            found.append(entry.artifact.name)
        elif entry.request.WhichOneof("request_type") == "log_artifact":
            found.append(entry.request.log_artifact.artifact.name)
    return found


@pytest.mark.parametrize("project", ["", "/x", "a/b/c", "a/"])
def test_a_project_is_named_by_entity_and_name(project: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ENTITY/PROJECT"):
        upload([], project, tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Which records"),
        (["runs", "--wandb"], "--wandb needs a value"),
        (["runs", "wandbb=me/x"], "Did you mean 'wandb'"),
    ],
)
def test_mistakes_are_named(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        leaderboard_words(words)
