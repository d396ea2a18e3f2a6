"""Time a frame of a hash-table blendshape avatar against its pixels and its anchors.

    python benchmarks/hash_blendshapes_growth.py [--scale small|paper] [--size 512] [--threads 1] [--json FILE]

The volumes are untrained: a shell of density around the synthetic head's mesh. Times are of the process's own work (CPU
seconds; on CUDA wall seconds, synchronised). Sizes and densities are timed in turn, --rounds times over; medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
from pathlib import Path
from typing import Any

import torch
from hash_blendshapes import Clock, frame, untrained

from avatarzoo import config as configs

DENSITIES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the recipe's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="small", choices=("small", "paper"))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    with torch.no_grad():
        found |= {"pixels": with_pixels(args, device), "anchors": with_anchors(args, device)}
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def with_pixels(args: argparse.Namespace, device: torch.device) -> dict[str, dict[str, float]]:
    model, summary = untrained(args.scale, device, [])
    sizes = sorted({args.size // 4, args.size // 2, args.size})
    batches = {size: frame(summary, size, device) for size in sizes}
    peaks = {size: peak_mb(lambda b=batch: model.render(b), device) for size, batch in batches.items()}
    times = in_turn({size: lambda b=batch: model.render(b) for size, batch in batches.items()}, args.rounds, device)
    for size in sizes:
        print(f"{size:>5} pixels high {times[size]:>10.0f} ms   peak memory {peaks[size]:.0f} MiB")
    return {str(size): {"ms": times[size], "peak_mb": peaks[size]} for size in sizes}


def with_anchors(args: argparse.Namespace, device: torch.device) -> dict[str, dict[str, float]]:
    density = configs.load("hash_blendshapes", [f"scale={args.scale}"]).resolved["model"]["anchor_density"]
    works, counts = {}, {}
    for factor in DENSITIES:
        model, summary = untrained(args.scale, device, [f"model.anchor_density={factor * density}"])
        batch = frame(summary, args.size // 2, device)
        works[factor], counts[factor] = (lambda m=model, b=batch: m.render(b)), len(model.anchors)
    times = in_turn(works, args.rounds, device)
    for factor in DENSITIES:
        ratio = times[factor] / times[1.0]
        print(f"{counts[factor]:>5} anchors {times[factor]:>10.0f} ms {ratio:>6.2f} x at {args.size // 2} pixels")
    return {str(factor): {"anchors": counts[factor], "ms": times[factor], "size": args.size // 2} for factor in DENSITIES}


def in_turn(works: dict[Any, Any], rounds: int, device: torch.device) -> dict[Any, float]:
    """Return each work's median ms, timed one after the other in every round, after a round of warm-up."""
    clock, times = Clock(device), {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = clock.now()
            work()
            times[name].append(1000 * (clock.now() - start))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def peak_mb(work: Any, device: torch.device) -> float:
    """Return the greatest memory of the process so far, on CUDA during the work; call with growing works."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    work()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
