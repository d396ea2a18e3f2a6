"""Time the backends of the hash grid against each other, runs taken in turn, and against what memory alone would take.

    python benchmarks/hash_grid.py [--points 262144] [--dims 3] [--levels 16] [--channels 2] [--log2-table-size 19]
                                   [--coarsest 16] [--finest 2048] [--device cpu|cuda] [--threads 1] [--repeat 5]
                                   [--json FILE]

Backends take turns inside each repetition, so that a machine that slows down slows all of them; each was compiled and
warmed up on a few points before. Besides wall-clock time the processor time of the process is shown: on a machine with
other work it is the steadier of the two. On CUDA every run is synchronised, and processor time says nothing.

The memory floor is the time in which the bytes that have to move would move at the speed of a large copy, measured in the
same turns: points and features once, every 64-byte line of the entries that is touched once (in the backward pass read and
written, after the whole gradient was set to 0). Lines are read at random and several times over, so no kernel reaches it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import avatarzoo
from avatarzoo import registry
from avatarzoo.encodings._hash_torch import entry
from avatarzoo.encodings.hash_grid import HashGrid

LINE = 64  # bytes
COPIED = 1 << 28  # bytes of the copy that measures the bandwidth
JOBS = ("forward", "forward and backward", "with gradient to points")


def build(args: argparse.Namespace, backend: str) -> HashGrid:
    names = ("levels", "channels", "log2_table_size", "coarsest", "finest")
    torch.manual_seed(0)
    node = {"name": "hash_grid", "backend": backend} | {name: getattr(args, name) for name in names}
    return registry.build("encoding", node, args.dims).to(args.device)


def works(encoding: HashGrid, points: Tensor) -> dict[str, Callable[[], Any]]:
    """Return what is timed."""
    moving = points.clone().requires_grad_()
    grad = torch.ones(len(points), encoding.out_dim, device=points.device)

    def forward() -> None:
        with torch.no_grad():
            encoding(points)

    def backward(where: Tensor) -> None:
        encoding.values.grad = moving.grad = None
        encoding(where).backward(grad)

    return dict(zip(JOBS, (forward, lambda: backward(points), lambda: backward(moving)), strict=True))


def in_turn(
    candidates: dict[str, Callable[[], Any]], repeat: int, device: torch.device
) -> dict[str, list[tuple[float, float]]]:
    """Run candidates alternately; return each one's (wall clock, processor) times in ms."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _, (name, work) in itertools.product(range(repeat), candidates.items()):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter(), time.process_time()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times[name].append((1000 * (time.perf_counter() - start[0]), 1000 * (time.process_time() - start[1])))
    return times


def lines_touched(encoding: HashGrid, points: Tensor) -> int:
    """Count the distinct lines of memory that hold an entry some point reads."""
    per_line = max(1, LINE // (4 * encoding.values.shape[-1]))
    total = 0
    for level in encoding.layout.levels:
        cell = (points * level.scale + 0.5).floor().long()
        seen = torch.zeros(-(-level.size // per_line) * per_line, dtype=torch.bool, device=points.device)
        for corner in itertools.product((0, 1), repeat=points.shape[1]):
            seen[entry(cell + torch.tensor(corner, device=points.device), level)] = True
        total += int(seen.view(-1, per_line).any(1).sum())
    return total


def bytes_moved(encoding: HashGrid, points: Tensor) -> dict[str, int]:
    """Return the bytes that each job has to move at least."""
    lines = LINE * lines_touched(encoding, points)
    place, features = 4 * points.numel(), 4 * len(points) * encoding.out_dim
    forward = place + lines + features
    backward = place + features + 4 * encoding.values.numel() + 2 * lines
    return dict(zip(JOBS, (forward, forward + backward, forward + backward + lines + place), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=262_144)
    parser.add_argument("--dims", type=int, default=3, choices=(2, 3))
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--log2-table-size", type=int, default=19)
    parser.add_argument("--coarsest", type=int, default=16)
    parser.add_argument("--finest", type=int, default=2048)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)

    found: dict[str, HashGrid] = {}
    for name, reason in HashGrid.backends().items():
        if reason:
            print(f"{name} is left out: {reason}")
        else:
            found[name] = build(args, name)
    points = torch.rand(args.points, args.dims, generator=torch.Generator().manual_seed(0)).to(device)
    for encoding in found.values():
        for work in works(encoding, points[:1024]).values():
            work()  # compiles
    first = next(iter(found.values()))
    source, target = (torch.ones(COPIED // 4, device=device) for _ in range(2))
    needed = bytes_moved(first, points)

    processor = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, {args.threads} threads"
    print(
        f"{device.type} ({processor}): {args.points:,} points, {args.dims} coordinates, {args.levels} levels, "
        f"{first.values.numel():,} parameters; median of {args.repeat}"
    )
    print(f"  {'':<26}{'backend':<12}{'wall ms':>10}{'times warp':>12}{'cpu ms':>10}{'times warp':>12}{'of the floor':>14}")
    records = []
    jobs = {name: works(encoding, points) for name, encoding in found.items()}
    for job in JOBS:
        turns = {name: jobs[name][job] for name in found} | {"copy": lambda: target.copy_(source)}
        times = in_turn(turns, args.repeat, device)
        medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
        clock = 0 if device.type == "cuda" else 1
        floor = medians["copy"][clock] * needed[job] / (2 * COPIED)  # ms; a copy reads and writes
        for name in found:
            wall, cpu = medians[name]
            ratios = wall / medians["warp"][0], cpu / medians["warp"][1]
            share = floor / medians[name][clock]
            columns = f"{wall:>10.1f}{ratios[0]:>10.2f} x{cpu:>10.1f}{ratios[1]:>10.2f} x{100 * share:>12.1f} %"
            print(f"  {job:<26}{name:<12}{columns}")
            record = {
                "job": job,
                "backend": name,
                "wall_ms": wall,
                "cpu_ms": cpu,
                "floor_ms": floor,
                "share_of_floor": share,
            }
            record |= {"wall_times_warp": ratios[0], "cpu_times_warp": ratios[1], "bytes": needed[job]}
            records.append(record)
    bandwidth = 2 * COPIED / medians["copy"][clock] / 1e6
    print(f"a copy of {COPIED >> 20} MiB moves {bandwidth:.1f} GB/s")
    if args.json:
        setting = {key: value for key, value in vars(args).items() if key != "json"}
        versions = {"avatarzoo": avatarzoo.__version__, "torch": torch.__version__, "python": platform.python_version()}
        whole = {"setting": setting, "processor": processor, "versions": versions, "copy_gb_per_s": bandwidth}
        args.json.write_text(json.dumps(whole | {"records": records}, indent=2) + "\n")
        print(f"\nwritten: {args.json}")


if __name__ == "__main__":
    main()
