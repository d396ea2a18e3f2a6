"""A stand-in for the program ``avatarzoo`` that trains and scores in no time, and fails, dies or hangs when it is told to.

The folder in $PRETEND holds how.json (behaviour by recipe: ok, error, killed, hang), half.ckpt, whole.ckpt and record.json;
every call is added to calls.txt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

HEAD = "iteration,elapsed,progress,steps_per_s\n"


def prepare(folder: Path, **how: str) -> dict[str, str]:
    """Fill the folder; return the environment that makes the stand-in use it."""
    import torch
    import yaml
    from benchmark_record import record

    folder.mkdir(exist_ok=True)
    config = yaml.safe_dump({"trainer": {"max_steps": 10, "max_time": None}})
    for name, iteration in (("half", 5), ("whole", 10)):
        torch.save({"avatarzoo": {"config": config, "iteration": iteration, "elapsed": 1.0}}, folder / f"{name}.ckpt")
    (folder / "record.json").write_text(json.dumps(record()))
    tell(folder, **how)
    return {"PRETEND": str(folder)}


def tell(folder: Path, **how: str) -> None:
    """Say how recipes behave from now on."""
    (folder / "how.json").write_text(json.dumps(how))


def calls(folder: Path) -> list[str]:
    """Return the calls so far."""
    file = folder / "calls.txt"
    return file.read_text().splitlines() if file.exists() else []


def main() -> None:
    verb, *words = sys.argv[1:]
    said = dict(word.split("=", 1) for word in words)
    home = Path(os.environ["PRETEND"])
    run = Path(said.get("resume") or said.get("ckpt") or said["out"])
    how = json.loads((home / "how.json").read_text()).get(run.parent.name, "ok")
    with open(home / "calls.txt", "a") as file:
        file.write(f"{verb} {run.parent.name} {run.name.split('-')[1]}{' resumed' if 'resume' in said else ''}\n")
    print(f"{verb} says hello", flush=True)
    if verb == "fit":
        fit(run, home, how, resumed="resume" in said)
    else:
        score(run, home, said["protocol"].strip("[]").split(","))


def fit(run: Path, home: Path, how: str, resumed: bool) -> None:
    if not resumed and (run / "config.yaml").exists():
        sys.exit("avatarzoo: this folder holds a run already")
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").write_text("{}")
    (run / "metrics.csv").write_text(HEAD + "5,1.0,0.5,4.0\n")
    if how == "error":
        print("Traceback: of no interest\navatarzoo: the bottle is empty; fill it.\nand more", file=sys.stderr)
        sys.exit(2)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    (run / "checkpoints").mkdir(exist_ok=True)
    if how == "hang" and not resumed:
        shutil.copy(home / "half.ckpt", run / "checkpoints" / "last.ckpt")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # saves, and ends as if nothing had happened
        (run / "hangs").touch()
        time.sleep(60)
    if how == "slow":
        time.sleep(1.0)
    shutil.copy(home / "whole.ckpt", run / "checkpoints" / "last.ckpt")


def score(run: Path, home: Path, protocols: list[str]) -> None:
    record = json.loads((home / "record.json").read_text())
    seed = int(run.name.split("seed")[1])
    record |= {"recipe": run.parent.name, "config": {"seed": seed, "recipe": run.parent.name}}
    record["checkpoint_sha256"] = hashlib.sha256(str(run).encode()).hexdigest()
    record["metrics"]["overall"]["psnr"] = 30.0 + seed
    records = [{**record, "protocol": {**record["protocol"], "id": protocol}} for protocol in protocols]
    (run / "test").mkdir(exist_ok=True)
    (run / "test" / "record.json").write_text(json.dumps(records))


if __name__ == "__main__":
    main()
