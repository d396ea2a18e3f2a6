"""One job, whatever happens to it: errors, kills, Ctrl-C, a second bench; with a program that only pretends to train."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pretend
import pytest

from avatarzoo.benchmark.bench import job as jobs
from avatarzoo.benchmark.bench.job import Busy, Job, Stopped, hold, is_done, run, share_trained
from avatarzoo.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "pretend"
    for key, value in pretend.prepare(home).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(jobs, "PROGRAM", [sys.executable, pretend.__file__])
    monkeypatch.setattr(jobs, "POLL", 0.02)
    return home


def job(tmp_path: Path, row: str = "wave", protocols: tuple[str, ...] = ("tracked-v1",)) -> tuple[Job, Path]:
    return Job(row, 0, [f"recipe={row}"], list(protocols), [], str(tmp_path)), tmp_path / "out" / row / "k-seed0"


def test_a_job_trains_scores_and_is_not_done_twice(home: Path, tmp_path: Path) -> None:
    done = run(*job(tmp_path))
    folder = job(tmp_path)[1]
    assert (done.status, done.why) == ("done", None) and set(done.seconds or {}) == {"fit", "test"}
    assert is_done(folder, ["tracked-v1"]) and Job.read(folder) == done
    assert "fit says hello" in (folder / "log.txt").read_text()
    assert run(*job(tmp_path)).status == "done"
    assert pretend.calls(home) == ["fit wave seed0", "test wave seed0"]


def test_a_protocol_that_is_asked_for_later_is_scored_without_training_again(home: Path, tmp_path: Path) -> None:
    run(*job(tmp_path))
    both = ("tracked-v1", "rasterised-v1")
    assert run(*job(tmp_path, protocols=both)).status == "done"
    assert is_done(job(tmp_path)[1], list(both))
    assert pretend.calls(home) == ["fit wave seed0", "test wave seed0", "test wave seed0"]


@pytest.mark.parametrize(
    ("how", "why"), [("error", "the bottle is empty; fill it."), ("killed", "ended by SIGKILL (often: out of memory)")]
)
def test_a_failing_job_says_why_and_is_tried_again(home: Path, tmp_path: Path, how: str, why: str) -> None:
    pretend.tell(home, wave=how)
    failed = run(*job(tmp_path))
    assert failed.status == "failed" and why in (failed.why or "")
    assert (job(tmp_path)[1] / "config.yaml").exists()  # left by the run that never saved
    pretend.tell(home)
    assert run(*job(tmp_path)).status == "done"
    assert pretend.calls(home) == ["fit wave seed0", "fit wave seed0", "test wave seed0"]


def test_an_interrupted_job_is_saved_and_goes_on(home: Path, tmp_path: Path) -> None:
    pretend.tell(home, wave="hang")
    mine, folder = job(tmp_path)

    def tick() -> None:
        if (folder / "hangs").exists():
            raise KeyboardInterrupt

    with pytest.raises(Stopped):
        run(mine, folder, tick)
    assert (Job.read(folder) or mine).status == "stopped" and share_trained(folder) == 0.5
    assert run(*job(tmp_path)).status == "done"
    assert pretend.calls(home) == ["fit wave seed0", "fit wave seed0 resumed", "test wave seed0"]


def test_sigterm_is_treated_like_ctrl_c(home: Path, tmp_path: Path) -> None:
    pretend.tell(home, wave="hang")
    mine, folder = job(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def terminate() -> None:
        while not (folder / "hangs").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=terminate).start()
    with pytest.raises(Stopped):
        run(mine, folder)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_damaged_checkpoint_and_a_damaged_record_are_made_again(home: Path, tmp_path: Path) -> None:
    mine, folder = job(tmp_path)
    run(mine, folder)
    (folder / "test" / "record.json").write_text("[{")
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"half a file")
    assert run(*job(tmp_path)).status == "done"
    assert pretend.calls(home)[2:] == ["fit wave seed0", "test wave seed0"]


def test_a_job_that_runs_elsewhere_is_busy_even_when_only_its_training_is_left_alive(home: Path, tmp_path: Path) -> None:
    mine, folder = job(tmp_path)
    with hold(folder) as lock:
        orphan = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    try:  # this process has let go; what it started has not
        with pytest.raises(Busy):
            run(mine, folder)
        assert pretend.calls(home) == []
    finally:
        orphan.communicate(b"\n")
    assert run(mine, folder).status == "done"


def test_somebody_elses_run_is_never_removed(home: Path, tmp_path: Path) -> None:
    mine, folder = job(tmp_path)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("theirs")
    with pytest.raises(ConfigError, match="no job of a bench"):
        run(mine, folder)
    assert (folder / "config.yaml").read_text() == "theirs"
