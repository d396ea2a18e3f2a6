"""Decode meshes from driving numbers alone: how far off are frames that were not seen, by what a number counts?

    python benchmarks/driver_units.py [--driver flame|arkit] [--steps 1500] [--json FILE] [OVERRIDES]

Trains the driver and the geometry decoder of pica_full at scale=small on the tracked meshes of the synthetic head of
FLAME's layout, without pictures: two minutes of one core per unit. Prints the root mean square distance, mm.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avatarzoo import config as configs
from avatarzoo.batch import HeadBatch, collate
from avatarzoo.build import build_capture, build_model
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.base import Capture, ZooData
from avatarzoo.drivers.signal_to_code import UNITS
from avatarzoo.models.pica.model import PiCA

BATCH = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", default="flame", choices=("flame", "arkit"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--json", type=Path)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    wanted = ["scale=small", f"driver={args.driver}", "data=synthetic", "data.rig=flame_layout", "data.image_height=128"]
    resolved = configs.load("pica_full", [*wanted, *args.overrides]).resolved
    capture = build_capture(resolved)
    capture.prepare()
    frames = {split: frames_of(capture, split) for split in ("train", "test")}
    found = {"the mean mesh": errors(capture.summary, capture.summary.vertex_mean[None], frames["test"])}
    for unit in UNITS:
        resolved["driver"]["unit"] = unit
        torch.manual_seed(0)
        model = build_model(resolved, capture.summary)
        train(model, frames["train"], capture.summary.vertex_std, args.steps)
        with torch.no_grad():
            for split, batches in frames.items():
                found[f"{unit}, {split}"] = errors(capture.summary, meshes(model, collate(batches)), batches)
    for name, values in found.items():
        print(f"{name:<16}" + "".join(f"{region:>8}{value:>6.2f}" for region, value in values.items()))
    if args.json:
        record = {"steps": args.steps, "batch": BATCH, "driver": args.driver, "overrides": args.overrides, "mm": found}
        args.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def frames_of(capture: Capture, split: str) -> list[HeadBatch]:
    return [replace(batch, view=None, texture=None) for batch in ZooData(capture).frames(split)]


def meshes(model: PiCA, batch: HeadBatch) -> Tensor:
    return model.mesh.tracked(model.geometry(model.driver(batch).value))


def train(model: PiCA, frames: list[HeadBatch], vertex_std: float, steps: int) -> None:
    parts: list[nn.Module] = [model.driver, model.geometry]
    groups = [{"params": part.parameters(), "lr": rate} for part, rate in zip(parts, (5e-4, 2e-3), strict=True)]
    optimizer = torch.optim.Adam(groups, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = collate([frames[i] for i in torch.randint(len(frames), (BATCH,), generator=generator).tolist()])
        loss = ((meshes(model, batch) - batch.mesh.vertices) / vertex_std).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for part in parts for p in part.parameters()], 1.0)
        optimizer.step()
        decay.step()


def errors(summary: CaptureSummary, found: Tensor, batches: list[HeadBatch]) -> dict[str, float]:
    uv = summary.topology.vertex_uvs(len(summary.vertex_mean))
    regions: dict[str, Any] = {name: summary.region_at(name, uv) for name in ("eyes", "mouth")}
    regions["rest"] = ~(regions["eyes"] | regions["mouth"])
    squares = (found - collate(batches).mesh.vertices).square().sum(-1)
    return {name: float(squares[:, inside].mean().sqrt()) for name, inside in regions.items()}


if __name__ == "__main__":
    main()
