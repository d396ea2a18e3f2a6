"""Submitting jobs: through submitit's own stand-ins for a cluster, and without it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pretend
import pytest
from rich.console import Console

from avatarzoo.benchmark.bench import job as jobs
from avatarzoo.benchmark.bench.options import bench_words
from avatarzoo.benchmark.bench.run import bench
from avatarzoo.benchmark.bench.suite import Budget, make_suite
from avatarzoo.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "pretend"
    for key, value in pretend.prepare(home).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(jobs, "PROGRAM", [sys.executable, pretend.__file__])
    monkeypatch.setattr(jobs, "POLL", 0.02)
    monkeypatch.chdir(tmp_path)
    return home


def start(slurm: dict[str, object]) -> tuple[list, str]:
    console = Console(file=io.StringIO(), width=120)
    suite = make_suite("mine", [{"recipe": "static_texture", "name": name} for name in ("wave", "surf")])
    results = bench(
        suite, ["scale=small"], budget=Budget(steps=10), launcher="slurm", slurm=slurm, console=console
    )  # fmt: skip
    return results, console.file.getvalue()  # type: ignore[attr-defined]


def test_jobs_run_where_submitit_puts_them_and_a_failing_one_says_why(home: Path) -> None:
    pytest.importorskip("submitit", reason="needs the extra avatarzoo[slurm]")
    pretend.tell(home, wave="error")
    results, told = start({"cluster": "debug"})
    assert [job.status for _, job in results] == ["failed", "done"]
    assert "wave, seed 0: the bottle is empty; fill it." in told
    assert "30.00" in told and "submitted 2 jobs" in told
    pretend.tell(home)
    results, _ = start({"cluster": "debug"})
    assert [job.status for _, job in results] == ["done", "done"]
    assert pretend.calls(home).count("fit surf seed0") == 1


def test_mistakes_are_named(home: Path) -> None:
    pytest.importorskip("submitit", reason="needs the extra avatarzoo[slurm]")
    with pytest.raises(ConfigError, match=r"slurm.cluster='moon'"):
        start({"cluster": "moon"})
    with pytest.raises(ConfigError, match=r"could not be submitted.*partitoin"):
        start({"cluster": "debug", "partitoin": "gpu"})
    assert pretend.calls(home) == []


def test_without_slurm_the_error_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="needs the extra avatarzoo[slurm]")
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(ConfigError, match="could not be submitted"):
        start({})


def test_without_submitit_the_error_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install 'avatarzoo\[slurm\]'"):
        start({})


def test_settings_that_are_none_say_how_to_write_them() -> None:
    with pytest.raises(ConfigError, match=r"slurm\.slurm_partition=gpu"):
        bench_words(["recipes=[static_texture]", "slurm=gpu"])
