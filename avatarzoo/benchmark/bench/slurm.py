"""Run a bench's jobs on a Slurm cluster through submitit; each job takes its lock, so a second submission does no harm."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from avatarzoo.benchmark.bench.job import Busy, Job, Stopped, run
from avatarzoo.benchmark.bench.suite import Planned
from avatarzoo.errors import ConfigError

#: What a job asks for where ``slurm={...}`` does not say: one device, and time enough for most suites.
DEFAULTS: dict[str, Any] = {"timeout_min": 240, "cpus_per_task": 4, "slurm_gpus_per_node": 1}
CLUSTERS = ("slurm", "local", "debug")  #: the last two try a set-up on this machine
LOOK_AGAIN = 5.0


def run_remote(job: Job, folder: Path) -> tuple[str, str | None]:
    """Run one job where Slurm puts it.

    Args:
        job: what to run.
        folder: of the job, absolute.

    Returns:
        Its status and why it failed.
    """
    try:
        run(job, folder)
    except Busy:
        return "running", "another process runs it"
    except Stopped:
        return "stopped", "interrupted; run the bench again to go on"
    return job.status, job.why


def submit(jobs: Mapping[Planned, Job], out: Path, parameters: dict[str, Any], console: Console) -> None:
    """Submit jobs and wait for them.

    Args:
        jobs: to run; their status is updated as they end.
        out: folder of the bench, seen by all machines.
        parameters: of ``submitit.AutoExecutor.update_parameters`` (e.g. slurm_partition, timeout_min), and "cluster".
        console: to print on.

    Raises:
        ConfigError: submitit or Slurm is not there, or a parameter is unknown.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise ConfigError("launcher=slurm needs: pip install 'avatarzoo[slurm]'. launcher=local needs nothing.") from error
    if not jobs:
        return
    out = out.resolve()
    cluster = parameters.pop("cluster", "slurm")
    if cluster not in CLUSTERS:
        raise ConfigError(f"slurm.cluster={cluster!r}: expected one of {', '.join(CLUSTERS)}.")
    defaults = DEFAULTS if cluster == "slurm" else {"timeout_min": DEFAULTS["timeout_min"]}
    try:
        executor = submitit.AutoExecutor(folder=out / "submitted", cluster=cluster)
        executor.update_parameters(name="avatarzoo", **{**defaults, **parameters})
        handles = {planned: executor.submit(run_remote, job, out / planned.folder) for planned, job in jobs.items()}
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"The jobs could not be submitted: {text} Check slurm={{...}}; sbatch has to work here."
        ) from error
    except (submitit.core.utils.FailedJobError, OSError) as error:
        raise ConfigError(f"sbatch refused the jobs: {str(error)[:300]}") from error
    console.print(f"submitted {len(handles)} jobs: {', '.join(str(h.job_id) for h in handles.values())}", highlight=False)
    waiting = dict(handles)
    try:
        while waiting:
            for planned in [p for p, handle in waiting.items() if handle.done()]:
                _collect(jobs[planned], waiting.pop(planned), console)
            if waiting:
                time.sleep(LOOK_AGAIN if cluster == "slurm" else 0.2)
    except KeyboardInterrupt:
        console.print("The jobs go on without this process; run the same command again to see what became of them.")
        raise


def _collect(job: Job, handle: Any, console: Console) -> None:
    try:
        job.status, job.why = handle.result()
    except Exception as error:  # whatever the scheduler or the job raised
        last = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        job.status, job.why = "failed", f"{last[-1][:300]} (log: {handle.paths.stderr})"
    if job.status != "done":
        console.print(f"{job.status}  {job.row}, seed {job.seed}: {job.why}", style="red", highlight=False, markup=False)
