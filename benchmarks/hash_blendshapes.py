"""Time a hash-table blendshape avatar: a frame by stage, with and without occupancy, and three searches.

    python benchmarks/hash_blendshapes.py [--checkpoint RUN] [--scale small|paper] [--size 512] [--threads 1] [--json FILE]

Without a checkpoint the volume is untrained: a shell of density around the synthetic head's mesh, with a union grid made
of its training frames. Times are of the process's own work (CPU seconds; on CUDA wall seconds, synchronised), medians of
--repeat frames after one warm-up.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from avatarzoo import checkpoint as checkpoints
from avatarzoo import config as configs
from avatarzoo.batch import HeadBatch, View
from avatarzoo.build import build_capture, build_model
from avatarzoo.datamodules.base import ZooData
from avatarzoo.models.hash_blendshapes import HashBlendshapes, tracing
from avatarzoo.models.hash_blendshapes import model as whole
from avatarzoo.models.hash_blendshapes.union import lost_outside
from avatarzoo.rendering import neutral_batch, path_start
from avatarzoo.volume.occupancy import OccupancyGrid


class Clock:
    """Seconds by stage; stages do not nest."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, {}

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def wrap(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.now()
            found = work(*args, **kwargs)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + self.now() - start
            return found

        return timed


@contextmanager
def staged(model: HashBlendshapes, clock: Clock) -> Iterator[None]:
    """Time the parts of a frame while the block runs."""
    places = [
        ("anchors and frames", model.anchors, "forward"),
        ("U-Net", model.blendshapes, "weights_and_features"),
        ("blending tables", model.blendshapes, "blend_tables"),
        ("occupied space", tracing, "occupied_space"),
        ("rays", tracing, "_rays_of"),
        ("walking rays", tracing, "occupied_length"),
        ("placing samples", tracing, "distances"),
        ("nearest anchors", model.search, "forward"),
        ("look-ups and inputs", model.field, "inputs"),  # of fused=false
        ("look-ups and inputs", whole, "gather"),
        ("network", model.field, "decode"),
    ]
    kept = [(owner, name, owner.__dict__.get(name)) for _, owner, name in places]
    for stage, owner, name in places:
        setattr(owner, name, clock.wrap(stage, getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, before in kept:
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)


def median_ms(clock: Clock, work: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat + 1):
        start = clock.now()
        work()
        times.append(1000 * (clock.now() - start))
    return statistics.median(times[1:])


def untrained(scale: str, device: torch.device, overrides: list[str]) -> tuple[HashBlendshapes, Any]:
    """Return a shell of density around the synthetic head's mesh with its union grid, and the capture's summary."""
    wanted = [f"scale={scale}", "data.image_height=128", "data.train_frames=6", "data.test_frames=2", "warp=none"]
    resolved = configs.load("hash_blendshapes", [*wanted, *overrides]).resolved
    resolved["model"] |= {"surface_prior": 10.0, "surface_width": 4.0}
    capture = build_capture(resolved)
    capture.prepare()
    torch.manual_seed(0)
    model = build_model(resolved, capture.summary).to(device).eval()
    with torch.no_grad():
        model.field.out.weight[0] = 0
    frames = ZooData(capture).frames("train", model.finishing_frames)
    model.finish(frames, len(frames))
    test = capture.read(capture.splits["test"][0]).to(device)
    print(f"test expressions lose outside the union grid: {lost_outside(model, test)}")
    return model, capture.summary


def frame(summary: Any, size: int, device: torch.device) -> HeadBatch:
    camera = path_start("orbit", summary.cameras, size)
    batch = neutral_batch(summary)
    return replace(batch, view=View(camera)).to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--scale", default="small", choices=("small", "paper"))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock = Clock(device)
    if args.checkpoint:
        loaded = checkpoints.load(args.checkpoint, (), str(device))
        model, summary = loaded.model.eval(), loaded.summary
    else:
        model, summary = untrained(args.scale, device, args.overrides)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()}
    with torch.no_grad():
        found["stages"] = by_stage(model, summary, args, clock)
        found["occupancy"] = with_and_without(model, summary, min(128, args.size), clock)
        found["nearest anchors"] = searches(model, clock, args.repeat)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def by_stage(model: HashBlendshapes, summary: Any, args: argparse.Namespace, clock: Clock) -> dict[str, float]:
    batch = frame(summary, args.size, clock.device)
    model.render(batch)
    with staged(model, clock):
        clock.seconds = {}
        total = median_ms(clock, lambda: model.render(batch), args.repeat) / 1000
        stages = {stage: 1000 * s / (args.repeat + 1) for stage, s in clock.seconds.items()}
    stages["compositing and the rest"] = max(0.0, 1000 * total - sum(stages.values()))
    size = batch.view.camera.size
    rate = f"{1000 * total:.0f} ms, {1 / total:.2f} frames per second"
    print(f"{len(model.anchors)} anchors, {size[1]} x {size[0]} pixels: {rate}")
    for stage, ms in stages.items():
        print(f"  {stage:<28}{ms:>10.2f} ms {100 * ms / sum(stages.values()):>6.1f} %")
    return stages


def with_and_without(model: HashBlendshapes, summary: Any, size: int, clock: Clock) -> dict[str, float]:
    batch = frame(summary, size, clock.device)
    everywhere = model.union()
    everywhere = OccupancyGrid(torch.ones_like(everywhere.occupied), everywhere.low, everywhere.cell)
    shell = model.shell(model.scene(batch))
    times = {
        "off": median_ms(clock, lambda: tracing.draw(model, batch, everywhere), 1),
        "within reach": median_ms(clock, lambda: tracing.draw(model, batch, shell), 1),
        "union": median_ms(clock, lambda: model.render(batch), 1),
    }
    for name, ms in times.items():
        print(f"occupancy {name:<18}{ms:>10.0f} ms {times['off'] / ms:>6.1f} x at {size} pixels")
    return times


def searches(model: HashBlendshapes, clock: Clock, repeat: int, count: int = 65_536) -> dict[str, float]:
    anchors = model.anchors(model.blendshapes.rest[None]).positions
    generator = torch.Generator().manual_seed(0)
    pick = torch.randint(anchors.shape[1], (count,), generator=generator).to(anchors.device)
    points = anchors[0, pick] + 12 * torch.randn(count, 3, generator=generator).to(anchors.device)
    image = torch.zeros(count, dtype=torch.long, device=anchors.device)
    times, first = {}, {}
    for search in ("clustered", "exact", "torch"):
        times[search] = median_ms(clock, lambda s=search: model.search(points, image, anchors, s), repeat)
        first[search] = model.search(points, image, anchors, search)[0]
    recall = float((first["clustered"][:, :, None] == first["torch"][:, None]).any(1).float().mean())
    for search, ms in times.items():
        print(f"nearest of {anchors.shape[1]} anchors, {search:<10}{ms:>10.1f} ms {times['torch'] / ms:>6.1f} x")
    print(f"recall of the clustered search {100 * recall:.2f} %")
    return times | {"recall": recall}


if __name__ == "__main__":
    main()
