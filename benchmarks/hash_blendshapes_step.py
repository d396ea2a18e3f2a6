"""Where a training step of hash-table blendshapes goes, in CPU time, and what of it the arithmetic alone would take.

    python benchmarks/hash_blendshapes_step.py [--steps 10] [--warm 30] [--json FILE] [OVERRIDE ...]

Overrides are those of ``avatarzoo fit`` (``scale=small data=multiface data.root=...``). Times are medians over the steps of
the process's own work on one thread, after --warm steps that train (density then lies where it will lie); the warp is on
from the first. Two floors stand beside them, at rates measured in the same run: the network's multiply-adds (forward for
coarse samples, forward and backward for those that train) at the rate of a large matrix product; and the bytes that have to
move (Adam's seven numbers per parameter; every anchor's tables read, blended and their gradients written, per picture) at
the rate of a large copy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import rates
from torch import Tensor

from avatarzoo import config as configs
from avatarzoo.batch import HeadBatch, collate
from avatarzoo.build import build_capture, build_model
from avatarzoo.datamodules.base import SampleStream
from avatarzoo.lightning import ZooModule
from avatarzoo.memory import keep_freed_memory
from avatarzoo.models.hash_blendshapes import model as whole
from avatarzoo.models.hash_blendshapes import tracing


class Stages:
    """CPU milliseconds by stage; the time of an inner stage is not counted in the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.open: list[float] = []

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self.open.append(0.0)
            start = time.process_time()
            found = work(*args, **kwargs)
            spent = time.process_time() - start
            inner = self.open.pop()
            self.seconds[stage] = self.seconds.get(stage, 0.0) + 1e3 * (spent - inner)
            if self.open:
                self.open[-1] += spent
            return found

        return run


class Counts:
    """Samples the network saw, with and without a gradient, and rays that met something."""

    def __init__(self) -> None:
        self.forward = self.trained = self.rays = 0

    def watch(self, model: Any) -> None:
        """Count what passes through the field."""
        decode, view_term = model.field.decode, model.field.view_term

        def decoded(features: Tensor, *rest: Any) -> Any:
            self.forward += len(features)
            self.trained += len(features) if torch.is_grad_enabled() else 0
            return decode(features, *rest)

        def viewed(directions: Tensor) -> Tensor:
            self.rays += len(directions)
            return view_term(directions)

        model.field.decode, model.field.view_term = decoded, viewed


def floors(module: ZooModule, counts: Counts, images: int) -> dict[str, float]:
    """Return what arithmetic and traffic alone would take, ms per step."""
    model: Any = module.model
    multiply, move = rates()
    field = model.field
    per_sample = field.first.weight.numel() + field.second.weight.numel() + field.out.weight.numel()
    macs = per_sample * (counts.forward + 2 * counts.trained) + 3 * counts.rays * field.view.weight.numel()
    parameters = sum(p.numel() for p in module.trained(module.phases[0]))
    tables = sum(p.numel() for p in model.parts()["tables"].parameters())
    # forward: the tables once, a blended set per picture; back: a gradient of that set, and of the tables
    moved = 28 * parameters + 4 * tables * 2 + 4 * 3 * images * tables / max(1, model.blendshapes.blendshapes)
    return {"multiply-adds": macs / multiply, "bytes": moved / move, "G multiply-adds": macs / 1e9, "MB": moved / 1e6}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm", type=int, default=30)
    parser.add_argument("--json", type=Path)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    config = configs.load("hash_blendshapes", ["trainer.accelerator=cpu", *arguments.overrides]).resolved
    capture = build_capture(config)
    capture.prepare()
    torch.manual_seed(0)
    model: Any = build_model(config, capture.summary).train()
    module = ZooModule.from_config(config, model, capture.summary, {})
    optimizer, samples, phase = module.configure_optimizers()[0], capture.splits["train"], module.phases[0]
    stream = iter(SampleStream(len(samples), int(config["loader"]["batch_size"]), 0))
    model.progress = 0.3  # past the start of a warp at any scale
    model.iteration = 100_000

    def read() -> HeadBatch:
        return collate([capture.read(samples[place], key) for place, key in next(stream)])

    def forward(batch: HeadBatch) -> Tensor:
        prediction = model.predict(batch, phase.name, {})
        return sum(p.weight * module.terms[phase.name][p.key](prediction, batch).mean() for p in phase.terms)  # type: ignore[return-value]

    def descend() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(arguments.warm):
        forward(read()).backward()
        descend()

    stages, counts = Stages(), Counts()
    places = [
        ("U-Net, frames, blending of tables", model, "scene"),
        ("first surface, shell, rays, samples", tracing, "first_surface"),
        ("first surface, shell, rays, samples", model, "shell"),
        ("first surface, shell, rays, samples", tracing, "draw_rays"),
        ("first surface, shell, rays, samples", tracing, "pixel_rays"),
        ("first surface, shell, rays, samples", tracing, "occupied_length"),
        ("first surface, shell, rays, samples", tracing, "distances"),
        ("warp", model.warp, "forward"),
        ("nearest anchors", model.search, "forward"),
        ("look-ups, features, bands (one kernel)", whole, "gather"),
        ("network", model.field, "decode"),
        ("network", model.field, "view_term"),
    ]
    counts.watch(model)
    for stage, owner, name in places:
        setattr(owner, name, stages.timed(stage, getattr(owner, name)))
    every: dict[str, list[float]] = {}
    for _ in range(arguments.steps):
        stages.seconds = {}
        batch = stages.timed("reading the batch", read)()
        loss = stages.timed("compositing, losses, the rest forward", forward)(batch)
        stages.timed("backward", loss.backward)()
        stages.timed("Adam", descend)()
        for stage, ms in stages.seconds.items():
            every.setdefault(stage, []).append(ms)
    medians = {stage: statistics.median(ms) for stage, ms in every.items()}
    total, images = sum(medians.values()), int(config["loader"]["batch_size"])
    for name in ("forward", "trained", "rays"):
        setattr(counts, name, getattr(counts, name) / arguments.steps)
    floor = floors(module, counts, images)
    asked = images * min(model.rays, batch.view.camera.size[0] * batch.view.camera.size[1])  # type: ignore[union-attr]
    print(f"{images} pictures, {asked:,} rays, of which {counts.rays:,.0f} meet something; {len(model.anchors)} anchors")
    print(f"{counts.forward:,.0f} samples, {counts.trained:,.0f} of them trained; CPU ms per step, one thread")
    for stage, value in sorted(medians.items(), key=lambda item: -item[1]):
        print(f"  {stage:<42}{value:8.1f}{value / total:8.1%}")
    print(f"  {'all':<42}{total:8.1f}   {1e3 * asked / total:,.0f} rays per second")
    print(f"  multiply-adds of the network  {floor['G multiply-adds']:.2f} G: {floor['multiply-adds']:.1f} ms")
    print(f"  bytes of tables and Adam      {floor['MB']:.0f} MB: {floor['bytes']:.1f} ms")
    print(f"  both floors are {(floor['multiply-adds'] + floor['bytes']) / total:.0%} of the step")
    if arguments.json:
        record = {"stages_ms": medians, "step_ms": total, "rays": asked, "rays_that_meet": counts.rays, "floor_ms": floor}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
