"""Where a training step of a Deep Appearance Model goes, in CPU time, and what of it the arithmetic alone would take.

    python benchmarks/deep_appearance.py [--steps 10] [--give-back] [OVERRIDE ...]

Overrides are those of ``avatarzoo fit`` (``scale=small data=multiface data.root=...``). Times are medians over the steps of
the process's own work on one thread. --give-back leaves freed memory to the C library, as without ``keep_freed_memory``.

Two floors stand beside them, at rates measured in the same run: the multiply-adds of decoder and driver (forward, gradient
of weights, gradient of inputs) at the rate of a large matrix product; and the bytes that have to move (Adam's seven numbers
per parameter; each layer's output and its gradient, written and read once) at the rate of a large copy.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import rates
from torch import Tensor, nn

from avatarzoo import config as configs
from avatarzoo.batch import HeadBatch, collate
from avatarzoo.build import build_capture, build_model
from avatarzoo.datamodules.base import SampleStream
from avatarzoo.lightning import ZooModule
from avatarzoo.memory import keep_freed_memory


class Clock:
    """CPU milliseconds between marks, by stage and step."""

    def __init__(self) -> None:
        self.stages: dict[str, list[float]] = {}
        self.last = time.process_time()

    def mark(self, stage: str | None = None) -> None:
        """Add the time since the last mark to a stage of this step; None discards it."""
        now = time.process_time()
        if stage is not None:
            self.stages.setdefault(stage, [0.0])[-1] += 1e3 * (now - self.last)
        self.last = time.process_time()

    def next_step(self) -> None:
        for times in self.stages.values():
            times.append(0.0)


def watch(model: nn.Module, terms: dict[str, Any], clock: Clock) -> None:
    """Mark the ends of stages; backward stages end where a gradient reaches the stage before."""

    def decoded(module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        clock.mark("decoder, forward")
        output[1].register_hook(lambda grad: clock.mark("everything behind the decoder, backward"))
        inputs[0].register_hook(lambda grad: clock.mark("decoder, backward"))

    model.driver.register_forward_hook(lambda *_: clock.mark("driver, forward"))
    model.decoder.register_forward_hook(decoded)
    original = model.rasterizer.rasterize

    def rasterize(*given: Any) -> Tensor:
        clock.mark("colour correction, drawing, forward")
        found = original(*given)
        clock.mark("rasterization, forward")
        return found

    model.rasterizer.rasterize = rasterize


def step(module: ZooModule, optimizer: Any, read: Callable[[], HeadBatch], clock: Clock) -> HeadBatch:
    """One step as ``ZooModule`` takes it."""
    phase = module.phases[0]
    clock.mark()
    batch = read()
    clock.mark("reading the batch")
    prediction = module.model.predict(batch, phase.name, {})
    clock.mark("colour correction, drawing, forward")
    total: Any = 0.0
    for plan in phase.terms:
        total = total + plan.weight * module.terms[phase.name][plan.key](prediction, batch).mean()
        clock.mark("term texture (unwraps the picture)" if plan.key == "texture" else "other terms")
    total.backward()
    clock.mark("driver, backward")
    torch.nn.utils.clip_grad_norm_(module.trained(phase), phase.clip or 1e9)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    clock.mark("clipping and Adam")
    return batch


def count(model: nn.Module, run: Callable[[], Any]) -> tuple[float, float]:
    """Return multiply-adds of a step's linear and convolution layers, and numbers in their outputs."""
    found = [0.0, 0.0]

    def look(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        grown = isinstance(layer, nn.ConvTranspose2d)
        taps = layer.weight[0, 0].numel() if layer.weight.ndim == 4 else 1
        macs = (inputs[0].numel() * layer.weight.shape[1] if grown else output.numel() * layer.weight.shape[1]) * taps
        found[0] += macs * (3 if inputs[0].requires_grad else 2)
        found[1] += output.numel()

    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    run()
    for hook in hooks:
        hook.remove()
    return found[0], found[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--give-back", action="store_true")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = not arguments.give_back and keep_freed_memory()
    config = configs.load("dam", ["trainer.accelerator=cpu", *arguments.overrides]).resolved
    capture = build_capture(config)
    capture.prepare()
    torch.manual_seed(0)
    model = build_model(config, capture.summary).train()
    module = ZooModule.from_config(config, model, capture.summary, {})
    optimizer, samples = module.configure_optimizers()[0], capture.splits["train"]
    stream = iter(SampleStream(len(samples), int(config["loader"]["batch_size"]), 0))

    def read() -> HeadBatch:
        return collate([capture.read(samples[place], key) for place, key in next(stream)])

    for _ in range(2):
        batch = step(module, optimizer, read, Clock())
    macs, outputs = count(model, lambda: model.predict(batch, "fit", {}))
    clock = Clock()
    watch(model, module.terms["fit"], clock)
    for _ in range(arguments.steps):
        step(module, optimizer, read, clock)
        clock.next_step()
    medians = {stage: statistics.median(times[:-1]) for stage, times in clock.stages.items()}
    total = sum(medians.values())
    parameters = sum(p.numel() for p in model.parameters())
    biases = sum(layer.bias.numel() for layer in model.decoder.texture[::2])
    multiply, move = rates()
    arithmetic, traffic = macs / multiply, (28 * parameters + 16 * outputs) / move
    print(f"{batch.size} pictures of {batch.view.camera.size}, freed memory kept: {kept}; CPU ms per step, one thread")
    for stage, value in sorted(medians.items(), key=lambda item: -item[1]):
        print(f"  {stage:<42}{value:8.1f}{value / total:8.1%}")
    print(f"  {'all':<42}{total:8.1f}")
    print(f"  multiply-adds  {macs / 1e9:.2f} G at {multiply / 1e6:.1f} G/s: {arithmetic:.1f} ms, {arithmetic / total:.1%}")
    print(
        f"  bytes          {(28 * parameters + 16 * outputs) / 1e6:.0f} MB at {move / 1e6:.1f} GB/s: {traffic:.1f} ms,",
        end=" ",
    )
    print(f"{traffic / total:.1%}; of these {28 * biases / 1e6:.0f} MB are Adam's on the {biases:,} untied biases")


if __name__ == "__main__":
    main()
