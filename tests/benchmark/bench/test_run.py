"""Whole benches: failing rows, resuming, two side by side, the table; with a program that only pretends to train."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pretend
import pytest
from rich.console import Console

from avatarzoo.benchmark.bench import job as jobs
from avatarzoo.benchmark.bench import run as runs
from avatarzoo.benchmark.bench.job import Job
from avatarzoo.benchmark.bench.options import bench_words
from avatarzoo.benchmark.bench.progress import BenchProgress, overhead, training_row
from avatarzoo.benchmark.bench.run import bench
from avatarzoo.benchmark.bench.suite import Budget, make_suite
from avatarzoo.errors import ConfigError

WAVE = {"recipe": "static_texture", "name": "wave"}
SURF = {"recipe": "static_texture", "name": "surf", "overrides": ["data.seed=1"]}
ROWS = [WAVE, SURF, "no_such_recipe"]
SHORT = ("scale=small",)
SIDE_BY_SIDE = """
import sys
from avatarzoo import cli
from avatarzoo.benchmark.bench import job, run
job.PROGRAM, job.POLL, run.LOOK_AGAIN = [sys.executable, sys.argv[1]], 0.05, 0.1
sys.exit(cli.main(["bench", *sys.argv[2:]]))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "pretend"
    for key, value in pretend.prepare(home).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(jobs, "PROGRAM", [sys.executable, pretend.__file__])
    monkeypatch.setattr(jobs, "POLL", 0.02)
    monkeypatch.setattr(runs, "LOOK_AGAIN", 0.05)
    monkeypatch.chdir(tmp_path)
    return home


def start(rows: list = ROWS, seeds: tuple[int, ...] = (0, 1), **options: object) -> tuple[list, str]:
    console = Console(file=io.StringIO(), width=120)
    results = bench(make_suite("mine", rows), SHORT, seeds=seeds, budget=Budget(steps=10), console=console, **options)  # type: ignore[arg-type]
    return results, console.file.getvalue()  # type: ignore[attr-defined]


def test_a_failing_row_says_why_and_the_others_are_scored(home: Path) -> None:
    pretend.tell(home, wave="error")
    results, told = start()
    assert [(p.row.name, p.seed, job.status) for p, job in results] == [
        *(("wave", 0, "failed"), ("surf", 0, "done"), ("no_such_recipe", 0, "failed")),
        *(("wave", 1, "failed"), ("surf", 1, "done"), ("no_such_recipe", 1, "failed")),
    ]
    assert "failed: wave, seed 0, 1: the bottle is empty; fill it." in told
    assert "cannot run no_such_recipe: There is no recipe called" in told
    assert "surf" in told and "30.50" in told and "±0.71" in told  # mean and deviation of 30 and 31
    assert "avatarzoo leaderboard runs/bench" in told.replace("\n", " ")
    files = sorted(Path("runs/bench/surf").glob("*-seed*/test/record.json"))
    assert [f.parts[-3].split("-")[1] for f in files] == ["seed0", "seed1"]


def test_the_same_command_does_only_what_is_left(home: Path) -> None:
    pretend.tell(home, wave="error")
    start()
    assert len(pretend.calls(home)) == 6
    pretend.tell(home)
    results, told = start()
    assert "2 of them there already" in told
    assert pretend.calls(home)[6:] == [f"{v} wave seed{s}" for s in (0, 1) for v in ("fit", "test")]
    assert [job.status for _, job in results].count("done") == 4
    start(seeds=(0, 1, 2))  # a further seed is a further run
    assert pretend.calls(home)[10:] == [f"{v} {r} seed2" for r in ("wave", "surf") for v in ("fit", "test")]


def test_ctrl_c_stops_the_bench_with_its_table_and_the_next_one_goes_on(home: Path) -> None:
    pretend.tell(home, surf="hang")

    class Impatient(BenchProgress):
        def show(self, name: str, row: dict[str, float]) -> None:
            super().show(name, row)
            if list(Path("runs/bench").rglob("hangs")):
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "BenchProgress", Impatient)
        console = Console(file=io.StringIO(), width=120)
        with pytest.raises(KeyboardInterrupt):
            bench(make_suite("mine", ROWS[:2]), SHORT, budget=Budget(steps=10), console=console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "wave" in told and "1 run is left" in told
    start(ROWS[:2], seeds=(0,))
    assert "fit surf seed0 resumed" in pretend.calls(home)


def _launch(home: Path, *words: str) -> subprocess.Popen[str]:
    (home.parent / "mine.yaml").write_text(json.dumps({"rows": [WAVE, SURF]}))
    command = [sys.executable, "-c", SIDE_BY_SIDE, pretend.__file__, "suite=./mine.yaml", "steps=10", "scale=small", *words]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=home.parent)


def test_two_benches_side_by_side_share_their_runs(home: Path) -> None:
    pretend.tell(home, wave="slow", surf="slow")
    both = [
        _launch(home, "seeds=[0,1]"),
        _launch(home, "seeds=[1,0]"),
    ]
    told = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    calls = [call for call in pretend.calls(home) if call.startswith("fit")]
    assert sorted(calls) == sorted(f"fit {r} seed{s}" for r in ("wave", "surf") for s in (0, 1))  # each once
    assert all("30.50" in text for text in told)


def test_a_killed_bench_leaves_its_training_to_finish_and_the_next_one_takes_it(home: Path) -> None:
    pretend.tell(home, surf="slow")
    first = _launch(home, "only=[surf]")
    try:
        while not pretend.calls(home):
            assert first.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    start([SURF], seeds=(0,))
    assert pretend.calls(home) == ["fit surf seed0", "test surf seed0"]


def test_the_command_fails_after_its_table_when_a_row_failed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home.parent / "mine.yaml").write_text(json.dumps({"rows": [WAVE, SURF]}))
    words = ["suite=./mine.yaml", "steps=3", *SHORT]
    pretend.tell(home, wave="error")
    with pytest.raises(SystemExit) as ended:
        bench_words(words)
    told = capsys.readouterr().out
    assert ended.value.code == 1 and "failed: wave, seed 0: the bottle" in told and "30.00" in told
    pretend.tell(home)
    bench_words(words)  # nothing failed: no exit


def test_when_half_of_the_rows_cannot_run_nothing_starts(home: Path) -> None:
    words = ["recipes=[static_texture,pica_full]", "steps=3", *SHORT, "encoding.size=8"]
    with pytest.raises(ConfigError, match="1 of 2 rows cannot run") as told:
        bench_words(words)
    assert "row static_texture (model static_texture) has no encoding, so encoding.size=8 cannot apply" in str(told.value)
    assert "only=[pica_full]" in str(told.value) and "partial=true" in str(told.value) and pretend.calls(home) == []
    with pytest.raises(SystemExit):
        bench_words([*words, "partial=true"])
    assert pretend.calls(home) == ["fit pica_full seed0", "test pica_full seed0"]
    with pytest.raises(ConfigError, match="true or false"):
        bench_words([*words, "partial=perhaps"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Which recipes"),
        (["suite=pica_table1", "recipes=[pica_full]"], "Which recipes"),
        (["suite=pica_table1", "seed=3"], r"seeds=\[0,1\]"),
        (["suite=pica_table1", "seeds=[a]"], "whole numbers"),
        (["suite=pica_table1", "resume=x"], "goes on where it stopped"),
        (["suite=pica_table1", "only=[pica_ful]"], "Did you mean 'pica_full'"),
        (["suite=pica_table1", "protocol=tracked"], "tracked-v1"),
        (["suite=pica_table1", "launcher=moon"], "local or slurm"),
        (["suite=pica_table1", "slurm.timeout_min=3"], "needs launcher=slurm"),
        (["suite=pica_table1", "minutes=6", "steps=3"], "exclude each other"),
    ],
)
def test_mistakes_are_named_before_anything_runs(home: Path, words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bench_words(words)
    assert pretend.calls(home) == []


def finished(fit: float, test: float) -> Job:
    return Job("wave", 0, [], [], [], ".", status="done", seconds={"fit": fit, "test": test})


def test_the_time_left_counts_the_other_runs() -> None:
    progress = BenchProgress(4, 100.0, Console(file=io.StringIO()))
    assert progress.left(0.0, 0.0) == pytest.approx(4 * 100)  # training alone
    progress.end(finished(110.0, 30.0))
    assert progress.overheads == [40.0] and progress.left(0.5, 60.0) == pytest.approx(2 * 140 + 50 + 40)
    assert progress.left(1.0, 120.0) == pytest.approx(2 * 140 + 40)  # scoring
    unknown = BenchProgress(2, None, Console(file=io.StringIO()))
    assert unknown.left(0.0, 5.0) is None
    assert unknown.left(0.5, 50.0) == pytest.approx(100 + 50)


def test_untrained_rows_count_what_scoring_takes() -> None:
    progress = BenchProgress(3, 100.0, Console(file=io.StringIO()), short=1, overheads=[20.0, 40.0])
    assert progress.left(0.0, 0.0) == pytest.approx(2 * 130 + 30)
    progress.begin("floor", short=True)
    assert progress.left(0.0, 0.0) == pytest.approx(2 * 130 + 30)


def test_scoring_alone_is_known_beside_where_training_has_no_set_time() -> None:
    assert overhead(finished(110.0, 30.0), None) == 30.0 and overhead(finished(90.0, 30.0), 100.0) == 30.0
    assert overhead(Job("wave", 0, [], [], [], "."), 100.0) is None


def test_a_line_is_printed_when_something_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avatarzoo.benchmark.bench.progress.PLAIN_EVERY", 0.0)
    console = Console(file=io.StringIO(), width=120)
    progress = BenchProgress(2, 264.0, console)
    row = {"iteration": 9.0, "steps_per_s": 4.0, "progress": 0.5}
    for newest in (row, row | {"progress": 1.0}, row | {"progress": 1.0}, row | {"progress": 1.0}):
        progress.show("wave, seed 0", newest)
    told = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(told) == 2 and told[1] == "0/2 · 4 min 24 s left of training, scoring on top · wave, seed 0 · scoring"


def test_the_announcement_knows_what_finished_runs_took(home: Path) -> None:
    def told() -> str:
        console = Console(file=io.StringIO(), width=120)
        suite = make_suite("mine", [WAVE, SURF])
        bench(suite, SHORT, budget=Budget(minutes=2.2), console=console)
        return console.file.getvalue()  # type: ignore[attr-defined]

    pretend.tell(home, surf="error")
    assert "training alone 4 min 24 s, scoring comes on top" in told()
    (state,) = Path("runs/bench/wave").glob("*/job.json")
    state.write_text(json.dumps(json.loads(state.read_text()) | {"seconds": {"fit": 142.0, "test": 50.0}}))
    text = told()
    assert "about 3 min 12 s: training 2 min 12 s, loading and scoring about 1 min 0 s per run, as in 1 finished" in text


def test_the_newest_row_of_metrics_is_read_while_it_is_written(tmp_path: Path) -> None:
    assert training_row(tmp_path) == {}
    (tmp_path / "metrics.csv").write_text("iteration,progress\n")
    assert training_row(tmp_path) == {}
    (tmp_path / "metrics.csv").write_text("iteration,progress\n" + "".join(f"{i},0.{i}\n" for i in range(10, 2000)))
    assert training_row(tmp_path) == {"iteration": 1999, "progress": 0.1999}
    (tmp_path / "metrics.csv").write_text("iteration,progress\n5,0.5\n6,")
    assert training_row(tmp_path) == {}
