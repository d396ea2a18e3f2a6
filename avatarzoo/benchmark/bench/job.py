"""One run of a bench: train, then score, each in a fresh process; what became of it stands in job.json.

A job's folder is the run's folder (config.yaml, checkpoints/, test/record.json), with job.json, log.txt and .lock beside.
Running a job again does what is left to do: nothing, scoring, or the rest of the training.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from avatarzoo import checkpoint
from avatarzoo.benchmark.record import read_records
from avatarzoo.errors import AvatarZooError, ConfigError, DataError
from avatarzoo.phases import seconds

try:
    import fcntl
except ImportError:  # Windows has no flock; there one bench at a time
    fcntl = None  # type: ignore[assignment]

STATE, LOG, LOCK = "job.json", "log.txt", ".lock"
PROGRAM = [sys.executable, "-m", "avatarzoo"]
POLL = 0.5  #: seconds between two looks at a process
PATIENCE = 600.0  #: seconds a training gets to finish its step and save after Ctrl-C

Tick = Callable[[], None]


class Busy(Exception):
    """Another process is running this job."""


class Stopped(Exception):
    """The job was interrupted; what it has is saved, and running it again goes on."""


@dataclass
class Job:
    """What is to be run, and what became of it.

    Attributes:
        row: name of the row.
        seed: of the run.
        words: ``key=value`` for ``avatarzoo fit``.
        protocols: ids to score under.
        plugins: Python files.
        cwd: where relative paths start.
        status: new, running, done, failed or stopped.
        why: it failed, or None.
        date: when status was written, UTC.
        seconds: spent in this and earlier sittings, by "fit" and "test".
    """

    row: str
    seed: int
    words: list[str]
    protocols: list[str]
    plugins: list[str]
    cwd: str
    status: str = "new"
    why: str | None = None
    date: str = ""
    seconds: dict[str, float] | None = None

    def write(self, folder: Path) -> None:
        """Write job.json in one act.

        Args:
            folder: of the job.
        """
        self.date = datetime.now(UTC).isoformat(timespec="microseconds")
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{STATE}.{os.getpid()}.partial"
        partial.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(partial, folder / STATE)

    @classmethod
    def read(cls, folder: Path) -> Job | None:
        """Read job.json; None where there is none that can be used.

        Args:
            folder: of the job.
        """
        try:
            return cls(**json.loads((folder / STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def command(self, folder: Path) -> str:
        """Return what trains this job, as one would type it.

        Args:
            folder: of the job.
        """
        return shlex.join(["avatarzoo", "fit", *self.words, f"out={folder}"])


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[IO[str]]:
    """Hold a job's lock while the block runs.

    The lock is handed on to the processes that are started, so it stays held as long as one of them lives, even when this
    process is killed.

    Args:
        folder: of the job.

    Yields:
        The open lock file.

    Raises:
        Busy: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy from None
        yield file


def records_of(folder: Path) -> list[dict[str, Any]]:
    """Return a job's records; none where it has not been scored or the file is damaged.

    Args:
        folder: of the job.
    """
    try:
        return read_records(folder / "test" / "record.json")
    except DataError:
        return []


def is_done(folder: Path, protocols: list[str]) -> bool:
    """Whether a job is scored under all protocols asked for.

    Args:
        folder: of the job.
        protocols: ids.
    """
    return {r["protocol"]["id"] for r in records_of(folder)} >= set(protocols)


def share_trained(folder: Path) -> float | None:
    """Return the share of its training that a run's last checkpoint has behind it, or None without a whole one.

    It is below 1 where the steps are done and what the model makes when its run ends was left out.

    Args:
        folder: of the run.
    """
    try:
        record = checkpoint.read(folder)["avatarzoo"]
        trainer = checkpoint.read_config(folder)["trainer"]
    except AvatarZooError:
        return None
    steps, limit = trainer.get("max_steps"), seconds(trainer.get("max_time"))
    shares = [1.0 if steps == 0 and not limit else 0.0]
    shares += [record["iteration"] / steps] if steps else []
    shares += [record.get("elapsed", 0.0) / limit] if limit else []
    return min(1.0 if record.get("complete", True) else 0.999, max(shares))


def run(job: Job, folder: Path, tick: Tick = lambda: None) -> Job:
    """Do what is left of a job.

    Args:
        job: what to run; its status is updated in place and on disk.
        folder: of the job.
        tick: called every half second while a process runs; may raise KeyboardInterrupt.

    Returns:
        The job, done or failed.

    Raises:
        Busy: another process runs it.
        Stopped: interrupted.
    """
    with hold(folder) as lock:
        before = Job.read(folder)
        if before is None and (folder / "config.yaml").exists():
            raise ConfigError(f"{folder} holds a run that is no job of a bench; choose another folder with out=.")
        job.seconds = dict((before.seconds if before else None) or {})
        if is_done(folder, job.protocols):
            job.status, job.why = "done", None
            job.write(folder)
            return job
        job.status, job.why = "running", None
        job.write(folder)
        try:
            with _signals():
                job.why = _train(job, folder, lock, tick) or _score(job, folder, lock, tick)
        except KeyboardInterrupt:
            job.status = "stopped"
            job.write(folder)
            raise Stopped from None
        job.status = "failed" if job.why else "done"
        job.write(folder)
    return job


def _train(job: Job, folder: Path, lock: IO[str], tick: Tick) -> str | None:
    """Train from where the last checkpoint is; return why it failed, or None."""
    share = share_trained(folder)
    if share is not None and share >= 1:
        return None
    if share is None:
        _clear(folder)
        words = [*job.words, f"out={folder}"]
    else:
        words = [f"resume={folder}", *_plugin_words(job)]
    why = _verb("fit", words, job, folder, lock, tick)
    if why is None and (share_trained(folder) or 0) < 1:
        raise KeyboardInterrupt  # it was told to stop, and saved
    return why


def _score(job: Job, folder: Path, lock: IO[str], tick: Tick) -> str | None:
    """Score the trained model; return why it failed, or None."""
    words = [f"ckpt={folder}", f"protocol=[{','.join(job.protocols)}]", f"out={folder / 'test'}", *_plugin_words(job)]
    why = _verb("test", words, job, folder, lock, tick)
    if why is None and not is_done(folder, job.protocols):
        return f"it was scored, but {folder / 'test' / 'record.json'} lacks records of {', '.join(job.protocols)}"
    return why


def _plugin_words(job: Job) -> list[str]:
    return [f"plugins=[{','.join(job.plugins)}]"] if job.plugins else []


def _clear(folder: Path) -> None:
    """Remove what a run that saved nothing left behind, so that it can start anew."""
    for path in folder.iterdir():
        if path.name in (STATE, LOG, LOCK) or path.name.endswith(".partial"):
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _verb(verb: str, words: list[str], job: Job, folder: Path, lock: IO[str], tick: Tick) -> str | None:
    """Run ``avatarzoo VERB`` in a fresh process with its output in log.txt; return why it failed, or None."""
    begun = time.monotonic()
    command = [*PROGRAM, verb, *words]
    with open(folder / LOG, "a", encoding="utf-8") as log:
        log.write(f"\n$ {shlex.join(['avatarzoo', verb, *words])}\n")
        log.flush()
        start = log.tell()
        process = subprocess.Popen(
            command,
            cwd=job.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then asks that one to stop, once
            pass_fds=[lock.fileno()] if fcntl is not None else [],
        )
        try:
            while process.poll() is None:
                tick()
                time.sleep(POLL)
        except BaseException:
            _stop(process)
            raise
        finally:
            spent = job.seconds if job.seconds is not None else {}
            spent[verb] = round(spent.get(verb, 0.0) + time.monotonic() - begun, 1)
            job.seconds = spent
    return None if process.returncode == 0 else _cause(process.returncode, folder / LOG, start)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to save and end; a second Ctrl-C, or no patience left, kills it and what it started."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _cause(code: int, log: Path, start: int) -> str:
    """Say in one line why a process failed."""
    if code == 130:
        raise KeyboardInterrupt
    if code < 0:
        name = signal.Signals(-code).name
        return f"it was ended by {name}" + (" (often: out of memory)" if name == "SIGKILL" else "")
    with open(log, "rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("avatarzoo: ")]
    text = told[-1].removeprefix("avatarzoo: ") if told else (lines[-1] if lines else f"exit status {code}")
    return text[:500]


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Treat SIGTERM and a closed terminal as Ctrl-C, so that the training in progress is saved."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {}
    for name in ("SIGTERM", "SIGHUP"):
        # A signal that is ignored (nohup) stays ignored.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # not in the main thread
                before[name] = signal.signal(getattr(signal, name), interrupt)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
