"""Time PiCA's two halves: per object (decoders, mesh) and per pixel (lookups, SIRENs), against covered pixels and avatars.

    python benchmarks/pica_render.py [--scale paper|small] [--threads 1] [--dtype float32|bfloat16] [--json FILE]

Weights are untrained: the cost does not depend on them. Every figure is the median of --repeat runs after one warm-up, with
the smallest and largest in brackets. On CUDA every run is synchronised.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from avatarzoo import config as configs
from avatarzoo.build import build_capture, build_model
from avatarzoo.geometry.cameras import to_camera, to_clip

PIXELS = (200_000, 900_000, 2_700_000)
SPACING = 250.0  # mm between neighbours, as in the paper's five avatars


def timed(work: Callable[[], object], repeat: int, device: torch.device) -> dict[str, float]:
    times = []
    for turn in range(repeat + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn:
            times.append(1000 * (time.perf_counter() - start))
    return {"median_ms": statistics.median(times), "min_ms": min(times), "max_ms": max(times)}


def show(label: str, figures: dict[str, float]) -> None:
    print(f"{label:<42}{figures['median_ms']:>10.2f} ms  [{figures['min_ms']:.2f}, {figures['max_ms']:.2f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="paper", choices=("paper", "small"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    overrides = [f"scale={args.scale}", "data.image_height=64", "data.train_frames=2", "data.test_frames=1"]
    resolved = configs.load("pica_full", overrides).resolved
    capture = build_capture(resolved)
    capture.prepare()
    model = build_model(resolved, capture.summary).to(device).eval()
    results: dict[str, object] = {"scale": args.scale, "threads": args.threads, "dtype": args.dtype}
    results["device"] = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "cpu"

    latent = torch.zeros(1, 4, 8, 8, device=device)
    towards = torch.tensor([0.0, 0.0, 1.0], device=device)[None]

    def decode() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=args.dtype == "bfloat16"):
            maps = model.geometry(latent).float(), model.expression_map(latent, towards).float()
        return model.mesh.vertices(maps[0]), maps[1]

    with torch.inference_mode():
        figures = timed(decode, args.repeat, device)
        results["per_object"] = figures
        show(f"per object: decoders and mesh, {args.dtype}", figures)
        vertices, codes = decode()
        results["per_pixel"] = []
        for target in PIXELS:
            uv, xyz = surface(model, vertices, target)
            with torch.autocast(device.type, torch.bfloat16, enabled=args.dtype == "bfloat16"):
                figures = timed(lambda: model.shade(codes, [len(uv)], uv, xyz), args.repeat, device)  # noqa: B023
            figures |= {"pixels": len(uv), "ns_per_pixel": 1e6 * figures["median_ms"] / len(uv)}
            results["per_pixel"].append(figures)
            show(f"per pixel: {len(uv) / 1e6:.2f} M covered pixels", figures)
            print(f"{'':<42}{figures['ns_per_pixel']:>10.1f} ns per pixel")
        results["avatars"] = []
        for count in range(1, 6):
            figures = timed(lambda: picture(model, decode, count), args.repeat, device)  # noqa: B023
            figures |= {"avatars": count, "pixels": picture(model, decode, count)}
            results["avatars"].append(figures)
            show(f"{count} avatar(s) in one picture, {figures['pixels'] / 1e6:.2f} M pixels", figures)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


def surface(model: torch.nn.Module, vertices: torch.Tensor, target: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return UVs and positions of about ``target`` covered pixels, seen from 600 mm."""
    side = 256
    for _ in range(4):
        raster, _ = rasterize(model, vertices, model.mesh.triangles, side)
        covered = raster[..., 3] > 0
        side = round(side * (target / int(covered.sum())) ** 0.5)
    raster, _ = rasterize(model, vertices, model.mesh.triangles, side)
    covered = raster[..., 3] > 0
    uv = model.rasterizer.interpolate(model.mesh.uvs[None], raster, model.mesh.uv_triangles)[covered]
    return uv, model.rasterizer.interpolate(vertices, raster, model.mesh.triangles)[covered]


def rasterize(model: torch.nn.Module, vertices: torch.Tensor, triangles: torch.Tensor, side: int, away: float = 600.0):
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], device=vertices.device))[None]
    points = to_camera(vertices, flip, torch.tensor([[0.0, 0.0, away]], device=vertices.device))
    K = torch.tensor([[1.5 * side, 0, side / 2], [0, 1.5 * side, side / 2], [0, 0, 1.0]], device=vertices.device)[None]
    return model.rasterizer.rasterize(to_clip(points, K, (side, side)), triangles, (side, side)), points


def picture(model: torch.nn.Module, decode: Callable, count: int, side: int = 1024) -> int:
    """Draw avatars side by side into one raster and shade what is visible of each; return the covered pixels."""
    decoded = [decode() for _ in range(count)]
    places = [(i - (count - 1) / 2) * SPACING for i in range(count)]
    shift = [torch.tensor([x, 0.0, 0.0], device=decoded[0][0].device) for x in places]
    meshes = torch.cat([v + s for (v, _), s in zip(decoded, shift, strict=True)], dim=1)
    size, faces = decoded[0][0].shape[1], len(model.mesh.triangles)
    triangles = torch.cat([model.mesh.triangles + i * size for i in range(count)])
    raster, _ = rasterize(model, meshes, triangles, side, away=1200.0)
    total = 0
    for i, (vertices, codes) in enumerate(decoded):
        mine = (raster[..., 3] > i * faces) & (raster[..., 3] <= (i + 1) * faces)
        own = raster.clone()
        own[..., 3] = torch.where(mine, own[..., 3] - i * faces, 0)
        uv = model.rasterizer.interpolate(model.mesh.uvs[None], own, model.mesh.uv_triangles)[mine]
        xyz = model.rasterizer.interpolate(vertices, own, model.mesh.triangles)[mine]
        model.shade(codes, [len(uv)], uv, xyz)
        total += len(uv)
    return total


if __name__ == "__main__":
    main()
