"""``avatarzoo curve`` on tiny runs: what is scored and what is kept, how seeds become lines, what is refused."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pillow_capture as pillow
import pytest
import torch
from rich.console import Console

from avatarzoo import checkpoint, registry
from avatarzoo.benchmark import score as scores
from avatarzoo.benchmark.curve import scored as scoring
from avatarzoo.benchmark.curve.draw import draw_lines, label_of
from avatarzoo.benchmark.curve.lines import Line, lines_of
from avatarzoo.benchmark.curve.make import curve
from avatarzoo.benchmark.curve.options import curve_words
from avatarzoo.benchmark.curve.saved import Saved, find_runs, saved_of
from avatarzoo.benchmark.curve.scored import Scored
from avatarzoo.benchmark.leaderboard.rows import read_entries
from avatarzoo.benchmark.record import read_records, sha256_of_file, write_records
from avatarzoo.benchmark.score import score
from avatarzoo.errors import ConfigError, DataError

POINTS = {"snapshot_00001.00": (60.0, 10, 0.5), "snapshot_00002.02": (121.2, 20, 0.8), "last": (150.0, 25, 0.9)}


def write_run(run: Path, points: dict[str, tuple[float, int, float]] = POINTS, **changes: Any) -> Path:
    """Write a run's checkpoints: by name elapsed seconds, steps, and how bright the texture is."""
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    for name, (elapsed, steps, bright) in points.items():
        path = pillow.write_checkpoint(run / "checkpoints" / f"{name}.ckpt", **changes)
        content = torch.load(path, weights_only=True)
        content["avatarzoo"] |= {"iteration": steps, "elapsed": elapsed}
        content["state_dict"]["model.surface.texture"] *= bright
        torch.save(content, path)
    return run


def drawn(paths: list[Path], **options: Any) -> tuple[Path, str]:
    text = io.StringIO()
    folder = curve(paths, console=Console(file=text, width=200), device="cpu", **options)
    return folder, text.getvalue()


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "curve.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def no_perceptual_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))


def test_every_snapshot_is_scored_once_and_leaves_its_record_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run")
    folder, told = drawn([run])
    assert folder == run / "curve" and "to score  3 checkpoints, 0 are scored already" in told
    rows = table(folder)
    assert [(float(r["minutes"]), int(r["steps"])) for r in rows] == [(1.0, 10), (2.02, 20), (2.5, 25)]
    assert rows[0]["recipe"] == "static_texture" and rows[0]["protocol"] == "tracked-v1"
    for row, name in zip(rows, POINTS, strict=True):
        plain = score(run / "checkpoints" / f"{name}.ckpt", out=tmp_path / name, device="cpu", quiet=True)[0]["metrics"]
        assert float(row["psnr"]) == pytest.approx(plain["overall"]["psnr"], rel=1e-5)
        assert float(row["psnr_mouth"]) == pytest.approx(plain["regions"]["mouth"]["psnr"], rel=1e-5)
        assert float(row["ssim"]) == pytest.approx(plain["overall"]["ssim"], rel=1e-5)
        assert float(row["mse"]) == pytest.approx(plain["overall"]["mse"], rel=1e-5)
    left = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert left == {"curve.csv", "curve.png", *(f"{name}/record.json" for name in POINTS)}
    assert f"next      avatarzoo test ckpt={run} protocol=tracked-v1" in told

    os.utime(run / "checkpoints" / "last.ckpt")  # touched, and the same
    monkeypatch.setattr(scoring, "score", lambda *_, **__: pytest.fail("scored again"))
    again, told = drawn([run])
    assert "to score  0 checkpoints, 3 are scored already" in told and table(again) == rows


def test_a_checkpoint_that_changed_is_scored_again_and_other_protocols_stay(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    drawn([run])
    other, told = drawn([run], protocol="rasterised-v1", out=tmp_path / "other")
    assert "to score  3" in told and table(other)[0]["protocol"] == "rasterised-v1"
    file = run / "curve" / "last" / "record.json"
    assert [r["protocol"]["id"] for r in read_records(file)] == ["tracked-v1", "rasterised-v1"]
    write_run(run, {"last": (210.0, 35, 1.0)})
    left_by_a_kill = run / "curve" / "last.partial" / "predictions"
    left_by_a_kill.mkdir(parents=True)
    folder, told = drawn([run])
    assert "to score  1 checkpoints, 2 are scored already" in told
    assert (table(folder)[-1]["minutes"], table(folder)[-1]["steps"]) == ("3.500", "35")
    assert [r["protocol"]["id"] for r in read_records(file)] == ["tracked-v1"]  # those of the file as it is
    assert not left_by_a_kill.exists()


def test_records_of_other_pictures_are_not_taken(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"last": (60.0, 5, 1.0)})
    drawn([run])
    file = run / "curve" / "last" / "record.json"
    records = read_records(file)
    records[0]["data"]["picture_size"] = [80, 64]
    write_records(records, file)
    assert "to score  1" in drawn([run])[1]


def test_seeds_are_one_line_and_an_untrained_run_is_a_level(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"seed{seed}", seed=seed)
    write_run(tmp_path / "floor", {"last": (0.0, 0, 1.0)}, recipe="floor", trainer={"max_steps": 0})
    write_run(tmp_path / "bare", {"last": (90.0, 15, 0.7)}, recipe="bare")
    folder, told = drawn([tmp_path], out=tmp_path / "out")
    assert "bare kept no snapshots" in told and "floor kept" not in told and "not alike" not in told
    found = [
        Scored(saved, read_records(saved.run / "curve" / saved.file.stem / "record.json")[0])
        for run in find_runs([tmp_path])
        for saved in saved_of(run)
    ]
    lines = {line.label: line for line in lines_of(found)}
    assert set(lines) == {"static_texture", "floor", "bare"} and len(lines["static_texture"].runs) == 2
    assert lines["static_texture"].seeds == {0, 1}
    assert [line.untrained for line in lines.values()] == [name == "floor" for name in lines]
    assert np.allclose(lines["static_texture"].mean(), lines["static_texture"].runs[0])
    assert [line.final()[0][1] for line in lines.values()] == sorted(
        (v.final()[0][1] for v in lines.values()), reverse=True
    )
    assert (folder / "curve.png").stat().st_size > 5000 and len(table(folder)) == 8


def test_the_mean_is_over_all_seeds_interpolated_where_all_of_them_ran() -> None:
    line = Line("a", [[(1.0, 10.0), (2.0, 20.0), (3.0, 40.0)], [(1.5, 11.0), (2.5, 21.0)]])
    assert line.mean() == [(1.5, 13.0), (2.0, 18.0), (2.5, 25.5)]
    assert Line("b", [[(1.0, 10.0)], [(1.2, 12.0)]]).mean() == []
    assert Line("c", [[(1.0, 10.0)]]).mean() == [(1.0, 10.0)]


def with_inputs(run: Path, test_inputs: str, finest: str | None = None) -> Scored:
    made = json.loads(json.dumps(read_records(run / "curve" / "last" / "record.json")[0]))
    made["test_inputs"] = test_inputs
    made["protocol"] |= {"finest": finest} if finest else {}
    return Scored(Saved(run, run / "checkpoints" / "last.ckpt", 1.0, 5, made["config"]), made)


def test_runs_that_see_different_things_are_told_apart_in_words_and_in_the_legend(tmp_path: Path) -> None:
    from avatarzoo.benchmark.curve.make import warnings

    runs = [write_run(tmp_path / name, {"last": (60.0, 5, 1.0)}) for name in "ab"]
    drawn(runs)
    mixed = [with_inputs(runs[0], "pictures"), with_inputs(runs[1], "parameters")]
    assert {line.label for line in lines_of(mixed)} == {"static_texture, sees pictures", "static_texture, sees parameters"}
    assert "sees pictures: " in warnings(mixed)[0] and "not alike" in warnings(mixed)[0]
    finer = [with_inputs(runs[0], "pictures", "0.4 mm"), with_inputs(runs[1], "pictures", "0.8 mm")]
    assert {line.label for line in lines_of(finer)} == {"static_texture, finest 0.4 mm", "static_texture, finest 0.8 mm"}


def test_runs_of_different_captures_are_refused_before_anything_is_scored(tmp_path: Path) -> None:
    class Other(pillow.PillowCapture):
        def manifest(self) -> dict[str, str]:
            return {"other": "1" * 64}

    from avatarzoo.registry import register

    register("data", "pillow_other")(Other)
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", data={"name": "pillow_other"})
    with pytest.raises(DataError, match=r"different pictures: manifest_sha256 .* against"):
        drawn([a, b])
    assert not list(tmp_path.rglob("record.json")) and not (a / "curve").exists()


def test_leaderboards_leave_the_records_of_curves_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    drawn([run])
    score(run, out=run / "test", device="cpu", quiet=True)
    assert [entry.file for entry in read_entries([tmp_path])[0]] == [run / "test" / "record.json"]


def test_a_run_whose_last_checkpoint_moves_on_is_scored_as_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", {"last": (60.0, 5, 0.5)})

    def later(*args: Any, **options: Any) -> list[dict[str, Any]]:
        write_run(run, {"last": (90.0, 9, 0.8)})
        return score(*args, **options)

    monkeypatch.setattr(scoring, "score", later)
    row = table(drawn([run])[0])[0]
    assert (row["minutes"], row["steps"]) == ("1.500", "9")


def test_numbers_stand_under_the_hash_of_the_weights_that_were_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training puts a newer file in the place of one that is being rendered: the next curve scores that one too."""
    run = write_run(tmp_path / "run", {"last": (60.0, 5, 0.5)})
    old = sha256_of_file(run / "checkpoints" / "last.ckpt")
    original = scores.write_predictions

    def meanwhile(*args: Any) -> Any:
        newer = write_run(tmp_path / "newer", {"last": (60.0, 5, 1.0)})  # in as many steps: the hash alone tells them apart
        os.replace(newer / "checkpoints" / "last.ckpt", run / "checkpoints" / "last.ckpt")
        monkeypatch.setattr(scores, "write_predictions", original)
        return original(*args)

    monkeypatch.setattr(scores, "write_predictions", meanwhile)
    first = float(table(drawn([run])[0])[0]["psnr"])
    assert read_records(run / "curve" / "last" / "record.json")[0]["checkpoint_sha256"] == old
    folder, told = drawn([run])
    assert "to score  1 checkpoints, 0 are scored already" in told
    assert abs(float(table(folder)[0]["psnr"]) - first) > 1


def test_a_record_of_other_steps_is_not_taken_though_it_names_the_file(tmp_path: Path) -> None:
    """As one that an earlier version wrote, which hashed the file after it had rendered."""
    run = write_run(tmp_path / "run", {"last": (60.0, 5, 1.0)})
    drawn([run])
    file = run / "curve" / "last" / "record.json"
    records = read_records(file)
    records[0]["iteration"] = 4
    write_records(records, file)
    assert "to score  1" in drawn([run])[1]


def test_the_command_line_hands_its_words_over(monkeypatch: pytest.MonkeyPatch) -> None:
    from avatarzoo import cli
    from avatarzoo.benchmark.curve import options

    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(options, "curve", lambda *args, **said: calls.append((*args, said)))
    words = ["runs/a", "runs/x=1/b", "protocol=closeup-v1", "out=o", "data.root=/r", "batch_size=2", "plugins=[p.py]"]
    assert cli.main(["curve", *words]) == 0
    said = {"data": ["data.root=/r"], "batch_size": 2, "plugins": ["p.py"]}
    assert calls == [(["runs/a", "runs/x=1/b"], "closeup-v1", "o", said)]


def test_mistakes_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for words, message in (
        ([], "Which runs"),
        ([str(run), "protocl=tracked-v1"], "no option protocl. Did you mean 'protocol'"),
        ([str(run), "protocol=tracked-v1,rasterised-v1"], "one protocol"),
        ([str(run), "protocol=tracked-v2"], "tracked-v1"),
        ([str(tmp_path / "absent")], "no checkpoint or run"),
        ([str(run / "checkpoints" / "last.ckpt")], "is a file"),
    ):
        with pytest.raises(ConfigError, match=message):
            curve_words(words)
    (tmp_path / "hollow").mkdir()
    with pytest.raises(ConfigError, match="saved nothing yet"):
        find_runs([tmp_path / "hollow"])
    path = run / "checkpoints" / "last.ckpt"
    content = checkpoint.read(path)
    del content["avatarzoo"]["elapsed"]
    torch.save(content, path)
    with pytest.raises(DataError, match="how long it was trained"):
        saved_of(run)
    assert not (run / "curve").exists()


def test_no_number_is_an_error_that_says_why(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"last": (60.0, 5, 0.5)})
    with pytest.raises(DataError, match="more finely than training"):
        drawn([run], protocol="closeup-v1")


def test_all_checkpoints_are_rendered_alike_without_what_ends_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = registry.get("model", "static_texture")
    run = write_run(tmp_path / "run", {"snapshot_00001.00": (60.0, 10, 0.5), "last": (90.0, 15, 0.9)})
    drawn([run])
    monkeypatch.setattr(model, "finish", lambda self, batches, frames: None)
    monkeypatch.setattr(model, "set_finish_aside", lambda self: self.surface.texture.data.zero_())
    folder, told = drawn([run])  # records of before are not alike
    assert "to score  2" in told
    first, last = table(folder)
    assert first["psnr"] == last["psnr"]
    assert [read_records(run / "curve" / s / "record.json")[0]["finished"] for s in ("snapshot_00001.00", "last")] == [
        False
    ] * 2
    assert "to score  0" in drawn([run])[1]
    whole = score(run, out=tmp_path / "test", device="cpu", quiet=True)[0]
    assert "finished" not in whole and whole["metrics"]["overall"]["psnr"] != pytest.approx(float(last["psnr"]), abs=0.1)


def test_runs_that_share_no_minute_are_drawn_without_a_mean() -> None:
    early, late = [(1.0, 20.0), (1.5, 22.0)], [(3.0, 28.0), (4.0, 30.0)]
    apart = draw_lines([Line("a", [early, late], {0, 1})], "x")
    alone = draw_lines([Line("a", [early, late[1:]], {0, 1})], "x")
    blue = [(np.asarray(p).astype(int)[..., 2] > 150) & (np.asarray(p)[..., 0] < 90) for p in (apart, alone)]
    between = slice(64 + 496 * 17 // 40, 64 + 496 * 28 // 40)  # minutes 1.7 to 2.8
    assert not blue[0][30:320, between].any() and not blue[1][30:320, between].any()
    assert blue[0][30:320, 64 : 64 + 496 * 16 // 40].any() and blue[0][30:320, 64 + 496 * 29 // 40 : 564].any()
    assert label_of(Line("a", [early, late], {0, 1})) == "a (2 seeds, no minute in common)"


def test_the_legend_counts_seeds_and_runs_where_two_share_one(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3)):
        write_run(tmp_path / name, {"last": (60.0, 5, 1.0)}, seed=seed)
    drawn([tmp_path])
    found = [
        Scored(s, read_records(s.run / "curve/last/record.json")[0]) for r in find_runs([tmp_path]) for s in saved_of(r)
    ]
    (line,) = lines_of(found)
    assert (len(line.runs), line.seeds) == (2, {3}) and label_of(line) == "static_texture (2 runs)"
    assert label_of(Line("a", line.runs, {0, 1})) == "a (2 seeds)" and label_of(Line("a", line.runs[:1], {0})) == "a"
    floors = Line("floor", [[(0.0, 20.0)], [(0.0, 30.0)]], {0, 1}, untrained=True)
    assert label_of(floors) == "floor (2 seeds, untrained)"


def test_files_of_other_names_are_no_runs_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    pillow.write_checkpoint(folder / "best.ckpt")
    pillow.write_checkpoint(folder / "snapshot_best.ckpt")
    for path in (tmp_path, tmp_path / "run"):
        with pytest.raises(ConfigError, match=r"holds no checkpoints/last\.ckpt .*in .*run are others"):
            drawn([path])
    run = write_run(tmp_path / "whole", {"last": (60.0, 5, 1.0)})
    with pytest.raises(ConfigError, match="holds no checkpoints/last"):
        drawn([run / "checkpoints"])
    assert find_runs([tmp_path]) == [run]


def test_curves_and_levels_are_where_the_axes_say() -> None:
    lines = [Line("a", [[(1.0, 20.0), (4.0, 30.0)]]), Line("floor", [[(0.0, 25.0)]], untrained=True)]
    picture = np.asarray(draw_lines(lines, "tracked-v1 on x")).astype(int)
    red = (picture[..., 0] > 180) & (picture[..., 1] < 90)
    blue = (picture[..., 2] > 150) & (picture[..., 0] < 90)
    left, top, width, height = 64, 30, 496, 290  # the axes begin at 0 minutes and end at 4; 20 to 30 dB
    plot = slice(0, left + width + 4)
    rows, columns = np.nonzero(blue[:, plot])
    first, last = columns.argmin(), columns.argmax()
    assert columns[first] == pytest.approx(left + width / 4, abs=4) and rows[first] == pytest.approx(top + height, abs=4)
    assert columns[last] == pytest.approx(left + width, abs=4) and rows[last] == pytest.approx(top, abs=4)
    rows, columns = np.nonzero(red[:, plot])
    assert (np.abs(rows - (top + height / 2)) <= 2).all() and columns.min() <= left + 2
    assert blue[:, left + width + 8 :].any() and red[:, left + width + 8 :].any()  # the legend
