"""Time the rasterizers against each other: the same dense mesh, runs taken in turn, ratios of medians.

    python benchmarks/rasterizer.py [--sizes 256 512] [--batch 4] [--side 256] [--channels 11] [--device cpu|cuda]
                                    [--threads 2] [--repeat 7] [--json FILE]

The mesh is a dome of side x side vertices (256: 65,536 vertices, 130,050 triangles) that covers a little under half of the
picture, one a little nearer per image. Backends take turns inside each repetition, so that a machine that slows down slows
all of them. On CUDA every run is synchronised.
"""

from __future__ import annotations

import argparse
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


def dome(side: int, images: int) -> tuple[Tensor, Tensor]:
    """Return clip positions (B,V,4) of a bulging sheet one metre away, in mm, and its triangles (F,3)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    bulge = 100 * (1 - (x * x + y * y) / 2).clamp_min(0).sqrt()
    clips = []
    for image in range(images):
        w = 1000 - 5 * image - bulge
        clips.append(torch.stack([650 * x, 650 * y, 1.002 * w - 20.02, w], -1).reshape(-1, 4))
    i = torch.arange(side * side).reshape(side, side)
    a, b, c, d = i[:-1, :-1].flatten(), i[:-1, 1:].flatten(), i[1:, :-1].flatten(), i[1:, 1:].flatten()
    triangles = torch.cat([torch.stack([a, b, c], -1), torch.stack([b, d, c], -1)]).int()
    return torch.stack(clips), triangles


def works(
    rasterizer: Any, clip: Tensor, triangles: Tensor, size: tuple[int, int], channels: int
) -> dict[str, Callable[[], Any]]:
    """Return what is timed: each half forward, and backward alone from a kept graph."""
    draw = torch.Generator().manual_seed(0)
    attributes = torch.randn(*clip.shape[:2], channels, generator=draw).to(clip.device).requires_grad_()
    moving = clip.clone().requires_grad_()
    raster = rasterizer.rasterize(moving, triangles, size)
    fixed = raster.detach().requires_grad_()
    picture = rasterizer.interpolate(attributes, fixed, triangles)
    to_raster, to_picture = torch.ones_like(raster), torch.ones_like(picture)
    return {
        "rasterize forward": lambda: rasterizer.rasterize(clip, triangles, size),
        "rasterize backward": lambda: torch.autograd.grad(raster, moving, to_raster, retain_graph=True),
        f"interpolate {channels} forward": lambda: rasterizer.interpolate(attributes.detach(), fixed.detach(), triangles),
        f"interpolate {channels} backward": lambda: torch.autograd.grad(
            picture, (attributes, fixed), to_picture, retain_graph=True
        ),
    }


def in_turn(candidates: dict[str, Callable[[], Any]], repeat: int, device: torch.device) -> dict[str, list[float]]:
    """Run candidates alternately and return each one's times in ms, without the first."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeat + 1):
        for name, work in candidates.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--channels", type=int, default=11)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)

    found: dict[str, Any] = {}
    for name in registry.names("rasterizer"):
        reason = registry.get("rasterizer", name).available()
        if name == "nvdiffrast" and device.type == "cpu":
            reason = reason or "it draws on CUDA only"
        if reason:
            print(f"{name} is left out: {reason}")
        else:
            found[name] = registry.build("rasterizer", name)

    clip, triangles = (t.to(device) for t in dome(args.side, args.batch))
    processor = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, {args.threads} threads"
    print(
        f"{device.type} ({processor}), batch {args.batch}, {clip.shape[1]:,} vertices, {len(triangles):,} triangles; "
        f"median of {args.repeat} in ms [least, most], and times the time of warp"
    )
    records = []
    for pixels in args.sizes:
        jobs = {
            name: works(rasterizer, clip, triangles, (pixels, pixels), args.channels) for name, rasterizer in found.items()
        }
        first = next(iter(found.values())).rasterize(clip, triangles, (pixels, pixels))
        covered = float((first[..., 3] > 0).float().mean())
        print(f"\n{pixels} px, {100 * covered:.0f} % covered")
        for job in next(iter(jobs.values())):
            times = in_turn({name: jobs[name][job] for name in found}, args.repeat, device)
            for name, values in times.items():
                median = statistics.median(values)
                ratio = median / statistics.median(times["warp"])
                print(f"  {job:<24}{name:<12}{median:>9.2f}  [{min(values):.2f}, {max(values):.2f}]{ratio:>9.2f} x")
                record = {"pixels": pixels, "job": job, "rasterizer": name, "median_ms": median, "times_warp": ratio}
                records.append(record | {"min_ms": min(values), "max_ms": max(values), "covered": covered})
    if args.json:
        setting = {key: value for key, value in vars(args).items() if key != "json"}
        versions = {"avatarzoo": avatarzoo.__version__, "torch": torch.__version__, "python": platform.python_version()}
        args.json.write_text(
            json.dumps({"setting": setting, "processor": processor, "versions": versions, "records": records}, indent=2)
            + "\n"
        )
        print(f"\nwritten: {args.json}")


if __name__ == "__main__":
    main()
