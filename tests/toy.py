"""A tiny adversarial avatar and a capture in memory: what the trainer's tests train.

Three phases (discriminator, generator, a lazy third), values carried between the phases of a step, a running average as a
buffer, and noise from the samples' keys.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avatarzoo import registry
from avatarzoo.batch import Camera, HeadBatch, Mesh, Meta, Prediction, View
from avatarzoo.capture import CameraTable, CaptureSummary, Topology
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.losses.base import LossTerm
from avatarzoo.models.base import Avatar
from avatarzoo.noise import seeded_normal

SIDE = 8


class ToyCapture(Capture):
    """Pictures that are a function of frame and camera."""

    provides = {"view.image", "view.camera", "mesh.vertices", "mesh.head_pose"}

    def __init__(self, *, frames: int = 6, bad_frame: int | None = None) -> None:
        self.frames, self.bad_frame, self.skipped = frames, bad_frame, []
        self.splits = {
            split: [Sample(segment, f"{f:03d}", c) for f in range(frames) for c in ("left", "front")]
            for split, segment in (("train", "S1"), ("val", "S2"), ("test", "S3"))
        }

    def prepare(self) -> None:
        triangles = torch.tensor([[0, 1, 2]], dtype=torch.int32)
        topology = Topology(triangles, torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), triangles)
        eye = torch.eye(3)
        table = CameraTable(
            ["left", "front"], eye.expand(2, 3, 3).clone(), eye.expand(2, 3, 3).clone(), torch.zeros(2, 3), (SIDE, SIDE)
        )
        table.views = {"Front": "front"}
        self.summary = CaptureSummary(
            name="toy",
            topology=topology,
            cameras=table,
            vertex_mean=torch.zeros(3, 3),
            vertex_std=1.0,
            texture_mean=torch.full((3, 4, 4), 0.5),
            texture_std=1.0,
            colour_mean=torch.full((3,), 0.5),
            colour_axes=eye,
            regions={},
            neutral_vertices=torch.zeros(3, 3),
            neutral_average=torch.zeros(3, 4, 4),
            neutral_coverage=torch.zeros(1, 4, 4),
            head_pose=torch.eye(3, 4),
            tables=self.tables,
        )

    @property
    def tables(self) -> dict[str, list[str]]:
        frames = [f"{f:03d}" for f in range(self.frames)]
        return {"segment": ["S1", "S2", "S3"], "frame": frames, "camera": ["left", "front"], "subject": ["toy"]}

    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        frame, camera = int(sample.frame), self.tables["camera"].index(sample.camera)
        rows = torch.linspace(0, 1, SIDE)
        image = torch.stack([(rows * (frame + 1)).sin() ** 2, rows * camera, rows * 0 + 0.3])[:, :, None]
        image = image.expand(3, SIDE, SIDE).clone()
        if frame == self.bad_frame and sample.segment == "S1":
            image[0, 0, 0] = torch.nan
        one = torch.ones(1, dtype=torch.int64)
        eye = torch.eye(3)[None]
        meta = Meta(
            one * self.tables["segment"].index(sample.segment),
            one * frame,
            one * camera,
            one * 0,
            one * noise_key,
            self.tables,
        )
        view = View(Camera(eye, eye, torch.zeros(1, 3), (SIDE, SIDE)), image=image[None])
        return HeadBatch(meta, view=view, mesh=Mesh(torch.zeros(1, 3, 3), torch.eye(3, 4)[None]))

    def manifest(self) -> dict[str, str]:
        return {}


class ToyAvatar(Avatar):
    """A generator and a discriminator of a few hundred weights."""

    uses = ()
    requires = ("view.image", "texture.average?")

    def __init__(self, parts: Any, *, width: int = 6, needs: str | None = None) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 3 * SIDE * SIDE))
        self.discriminator = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(width * 9, 1))
        self.register_buffer("mean_image", torch.zeros(3, SIDE, SIDE))
        if needs:
            self.requires = (*self.requires, needs)
        self.log: list[tuple[str, float]] = []
        self.free: dict[str, set[str]] = {}

    def bind(self, summary: CaptureSummary) -> None:
        self.colour = nn.Parameter(summary.colour_mean.clone())

    def parts(self) -> dict[str, nn.Module]:
        colour = nn.Module()
        colour.value = self.colour
        return {"generator": self.generator, "discriminator": self.discriminator, "colour": colour}

    def generate(self, batch: HeadBatch, noise: Tensor) -> Tensor:
        place = torch.stack([batch.meta.frame, batch.meta.camera], dim=1).float()
        code = torch.cat([place.sin(), place.cos(), noise], dim=1)
        return self.generator(code).reshape(-1, 3, SIDE, SIDE) + self.colour[:, None, None]

    def predict(self, batch: HeadBatch, phase: str, carry: dict[str, Any]) -> Prediction:
        self.log.append((phase, self.progress))
        self.free[phase] = {name for name, part in self.parts().items() if any(p.requires_grad for p in part.parameters())}
        if phase == "d":
            assert not carry, "carry starts empty at each step"
            carry["fake"] = self.generate(batch, seeded_normal((2,), batch.meta.noise_key))
            fake = carry["fake"].detach()
            scores = {"real": self.discriminator(batch.view.image), "fake": self.discriminator(fake)}
            return Prediction(image=fake, extras=scores)
        if phase == "r1":
            assert "fake" in carry and "again" in carry, "a lazy phase sees what the earlier phases of the step left"
            return Prediction(image=carry["fake"].detach(), extras={"score": self.discriminator(batch.view.image * 0.5)})
        image = self.generate(batch, seeded_normal((2,), batch.meta.noise_key))
        carry["again"] = True
        extras = {"score": self.discriminator(image), "mean_image": self.mean_image}
        return Prediction(image=image, extras=extras)

    def render(self, batch: HeadBatch) -> Prediction:
        image = self.generate(batch, torch.zeros(batch.size, 2, device=batch.meta.frame.device))
        return Prediction(image=image.clamp(0, 1), depth=torch.ones_like(image[:, :1]) * 900)

    def after_step(self, batch: HeadBatch, prediction: Prediction, average: Any) -> None:
        self.mean_image.lerp_(average(prediction.image.detach().mean(0)), 0.1)


class L2(LossTerm):
    """Mean square of the difference."""

    requires = ("view.image",)

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        return (prediction.image - batch.view.image).square().flatten(1).mean(1)


class NearMean(LossTerm):
    """Distance from the running average."""

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        return (prediction.image - prediction.extras["mean_image"]).square().flatten(1).mean(1)


class Score(LossTerm):
    """Square of the distance of a score from what it should be."""

    def __init__(self, *, of: str = "score", aim: float = 1.0, needs: str = "view.image") -> None:
        self.of, self.aim, self.requires = of, aim, (needs,)

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        return (prediction.extras[self.of][:, 0] - self.aim).square()


COMPONENTS = {
    ("data", "toy"): ToyCapture,
    ("model", "toy"): ToyAvatar,
    ("loss", "toy_l2"): L2,
    ("loss", "toy_mean"): NearMean,
    ("loss", "toy_score"): Score,
}


def enlist() -> None:
    """Register the toys."""
    for (kind, name), cls in COMPONENTS.items():
        registry.register(kind, name)(cls)


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    """Register the toys for one test, so that tests over everything registered do not meet them."""
    enlist()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes that tests start: sums in another order round differently
    yield
    torch.set_num_threads(threads)
    for kind, name in COMPONENTS:
        registry._components[kind].pop(name, None)


def config(run: Path | str | None = None, **changes: Any) -> dict[str, Any]:
    """A resolved config of the three-phase toy; ``changes`` are laid over it by dotted path with "__" for "."."""
    found = {
        "recipe": "toy",
        "scale": "small",
        "seed": 3,
        "model": {"name": "toy", "width": 6},
        "data": {"name": "toy", "frames": 6},
        "loader": {"batch_size": 2, "workers": 0},
        "phases": {
            "d": {
                "trains": ["discriminator"],
                "loss": {
                    "real": {"term": "toy_score", "of": "real"},
                    "fake": {"term": "toy_score", "of": "fake", "aim": 0.0},
                },
                "optimizer": {"name": "adam", "lr": 1e-2},
            },
            "g": {
                "trains": ["generator", "colour"],
                "loss": {"toy_l2": {"weight": 2.0}, "toy_mean": {"weight": 0.1}, "toy_score": {"weight": 0.1, "start": 3}},
                "optimizer": {"name": "adam", "lr": 1e-2, "lr_by_part": {"colour": 5e-2}, "decay": "cosine"},
            },
            "r1": {
                "trains": ["discriminator"],
                "loss": {"toy_score": {"weight": 0.1, "aim": 0.0}},
                "optimizer": {"name": "adam", "lr": 1e-3},
                "every": 4,
            },
        },
        "trainer": {"max_steps": 8, "precision": "32-true", "accelerator": "cpu", "devices": 1},
        "pictures": {"every": 0},
        "checkpoint": {"every": 0},
        "logger": "csv",
        "out": None if run is None else str(run),
        "plugins": [],
        "resume": None,
    }
    for path, value in changes.items():
        node, *rest = found, *path.split("__")
        for key in rest[:-1]:
            node = node[key]
        node[rest[-1]] = value
    return found


def single(run: Path | str | None = None, **changes: Any) -> dict[str, Any]:
    """The config of one phase that fits the generator alone."""
    loss = {"toy_l2": {"weight": 2.0}, "toy_mean": {"weight": 0.1}}
    phase = {"trains": ["generator", "colour"], "loss": loss, "optimizer": {"name": "adam", "lr": 1e-2}}
    return config(run, **({"phases": {"fit": phase}} | changes))


def main() -> None:
    """Train the config in a JSON file, in a process of its own; options may kill or interrupt it at a step."""
    import lightning as L

    from avatarzoo.fit import fit
    from avatarzoo.lightning import ZooModule

    enlist()
    torch.set_num_threads(1)
    options = json.loads(Path(sys.argv[1]).read_text())
    number = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT}.get(options.get("signal"))
    original = ZooModule.training_step

    def step(self: L.LightningModule, batch: HeadBatch, batch_idx: int) -> None:
        if number is not None and self.iteration == options["at"]:
            for _ in range(options.get("times", 1)):
                # a terminal sends Ctrl-C to the whole group, loader workers included
                os.killpg(0, number) if number == signal.SIGINT else os.kill(os.getpid(), number)
        original(self, batch, batch_idx)

    ZooModule.training_step = step
    fit(options["config"])


if __name__ == "__main__":
    sys.modules["toy"] = sys.modules["__main__"]
    main()
