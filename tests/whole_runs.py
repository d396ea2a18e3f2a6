"""What tests of whole runs share: start one in a fresh process, read what it left."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent


def launch(tmp_path, config, expect=0, **options):
    """Train a config in a fresh process; return what it printed."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"config": config, **options}))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(HERE / "toy.py"), str(file)]
    how = {"capture_output": True, "text": True, "timeout": 600, "start_new_session": True}
    done = subprocess.run(command, env=environment, cwd=tmp_path, **how)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def rows(run):
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def state(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def equal(a, b):
    """Whether nested containers of tensors and numbers are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b
