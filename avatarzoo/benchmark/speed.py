"""How long an avatar takes: its work per object, per covered pixel, and several avatars in one picture.

Weights are untrained, since the cost does not depend on them; weight norms are folded away, as in an avatar that is
shipped. Models take turns within one run, so that a machine whose speed drifts treats them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from avatarzoo.geometry.cameras import to_camera, to_clip
from avatarzoo.models.base import Avatar, Halves

PIXELS = (200_000, 900_000, 2_700_000)  #: covered pixels at 120, 65 and 18 cm on the paper's headset
SPACING = 250.0  #: mm between neighbours, as the paper's five avatars stand
NEAR, FAR = 600.0, 2000.0  #: mm from the camera to one head, and to a row of five that has to fit into the picture
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Subject:
    """A model made ready to be timed.

    Attributes:
        name: of its recipe.
        halves: its work per object and per pixel.
        device: where it is.
        dtype: of its networks; cameras, rasterization and lookups stay in float32.
    """

    name: str
    halves: Halves
    device: torch.device
    dtype: torch.dtype

    def decode(self) -> tuple[Tensor, Tensor]:
        """Run the per-object half: 1,V,3 mm and the maps the pixels read."""
        with self._precision():
            return self.halves.decode()

    def shade(self, maps: Tensor, uv: Tensor, xyz: Tensor) -> Tensor:
        """Run the per-pixel half on N pixels (uv N,2; xyz N,3 mm): N,3."""
        with self._precision():
            return self.halves.shade(maps, uv, xyz)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)


def prepare(name: str, model: Avatar, dtype: torch.dtype, device: torch.device) -> Subject:
    """Make a model ready to be timed; it is changed in place.

    Args:
        name: of its recipe.
        model: bound.
        dtype: float32 or bfloat16; the decoders' weights are stored in it.
        device: where to run.

    Raises:
        ConfigError: the model's work does not part into two halves.
    """
    model.to(device).eval()
    halves = model.halves()
    for network in halves.networks:
        fold(network)
        network.to(dtype)
    return Subject(name, halves, device, dtype)


def fold(module: nn.Module) -> None:
    """Replace parametrized weights (weight norms) by their values, in place."""
    for layer in module.modules():
        for name in list(getattr(layer, "parametrizations", {})):
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)


def alternate(
    works: Mapping[str, Callable[[], Any]], repeat: int, device: torch.device, warm_up: int = 2
) -> dict[str, dict[str, float]]:
    """Time several pieces of work by turns.

    Args:
        works: by name.
        repeat: turns that count.
        device: synchronised before and after each piece if it is a GPU.
        warm_up: turns before, that do not count.

    Returns:
        By name: median_ms, and the spread as quarter_ms, three_quarters_ms (quartiles), min_ms, max_ms; on a CPU also
        cpu_ms, the median of the time its cores worked for it, which other programs disturb less.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    worked: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm_up + repeat):
        for name, work in works.items():
            _synchronise(device)
            start, start_cpu = time.perf_counter(), time.process_time()
            work()
            _synchronise(device)
            if turn >= warm_up:
                times[name].append(1000 * (time.perf_counter() - start))
                worked[name].append(1000 * (time.process_time() - start_cpu))
    found = {name: spread(values) for name, values in times.items()}
    if device.type == "cpu":
        found = {name: figures | {"cpu_ms": statistics.median(worked[name])} for name, figures in found.items()}
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, quartiles and extremes of times in milliseconds."""
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {
        "median_ms": middle,
        "quarter_ms": first,
        "three_quarters_ms": third,
        "min_ms": min(values),
        "max_ms": max(values),
    }


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratios(figures: Mapping[str, Mapping[str, float]], of: str = "median_ms") -> dict[str, float]:
    """Return the first entry's time over every other's, e.g. {"dam / pica_full": 19.2}.

    Args:
        figures: from ``alternate``.
        of: which figure.
    """
    first, *others = figures
    return {f"{first} / {other}": figures[first][of] / figures[other][of] for other in others}


@torch.inference_mode()
def time_objects(subjects: Sequence[Subject], repeat: int) -> dict[str, dict[str, float]]:
    """Time the per-object halves by turns (one avatar, one view)."""
    return alternate({s.name: s.decode for s in subjects}, repeat, subjects[0].device)


@torch.inference_mode()
def time_pixels(subjects: Sequence[Subject], pixels: int, repeat: int) -> dict[str, dict[str, float]]:
    """Time the per-pixel halves by turns.

    Args:
        subjects: the models.
        pixels: about how many are covered; each entry says exactly how many it shaded.
        repeat: turns that count.
    """
    works, counts = {}, {}
    for subject in subjects:
        vertices, maps = subject.decode()
        uv, xyz = surface(subject.halves, vertices, pixels)
        counts[subject.name] = len(uv)
        works[subject.name] = lambda s=subject, m=maps, u=uv, x=xyz: s.shade(m, u, x)
    found = alternate(works, repeat, subjects[0].device)
    return {
        name: figures | {"pixels": counts[name], "ns_per_pixel": 1e6 * figures["median_ms"] / counts[name]}
        for name, figures in found.items()
    }


@torch.inference_mode()
def time_avatars(subjects: Sequence[Subject], count: int, repeat: int, side: int = 1024) -> dict[str, dict[str, float]]:
    """Time whole pictures by turns: ``count`` avatars side by side decoded, drawn into one raster and shaded."""
    works = {s.name: lambda s=s: draw(s, count, side) for s in subjects}
    found = alternate(works, repeat, subjects[0].device, warm_up=1)
    return {s.name: found[s.name] | {"avatars": count, "pixels": draw(s, count, side)} for s in subjects}


def draw(subject: Subject, count: int, side: int) -> int:
    """Draw avatars into a picture of ``side`` pixels and return how many pixels were shaded."""
    halves = subject.halves
    decoded = [subject.decode() for _ in range(count)]
    places = [(i - (count - 1) / 2) * SPACING for i in range(count)]
    moved = [v + torch.tensor([x, 0.0, 0.0], device=v.device) for (v, _), x in zip(decoded, places, strict=True)]
    size, faces = decoded[0][0].shape[1], len(halves.triangles)
    raster = rasterize(
        halves, torch.cat(moved, 1), torch.cat([halves.triangles + i * size for i in range(count)]), side, FAR
    )
    total = 0
    for i, (vertices, maps) in enumerate(decoded):
        mine = (raster[..., 3] > i * faces) & (raster[..., 3] <= (i + 1) * faces)
        own = raster.clone()
        own[..., 3] = torch.where(mine, own[..., 3] - i * faces, 0)
        uv = halves.rasterizer.interpolate(halves.uvs[None], own, halves.uv_triangles)[mine]
        xyz = halves.rasterizer.interpolate(vertices, own, halves.triangles)[mine]
        subject.shade(maps, uv, xyz)
        total += len(uv)
    return total


def surface(halves: Halves, vertices: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Return the UVs (N,2) and positions (N,3 mm) of about ``pixels`` pixels of a head seen from 600 mm."""
    side = 256
    for _ in range(3):
        covered = int((rasterize(halves, vertices, halves.triangles, side, NEAR)[..., 3] > 0).sum())
        side = round(side * (pixels / covered) ** 0.5)
    raster = rasterize(halves, vertices, halves.triangles, side, NEAR)
    seen = raster[..., 3] > 0
    uv = halves.rasterizer.interpolate(halves.uvs[None], raster, halves.uv_triangles)[seen]
    return uv, halves.rasterizer.interpolate(vertices, raster, halves.triangles)[seen]


def rasterize(halves: Halves, vertices: Tensor, triangles: Tensor, side: int, away: float) -> Tensor:
    """Draw a mesh (1,V,3 mm, face-centric) seen from in front, ``away`` mm off: 1,side,side,4."""
    device = vertices.device
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0], device=device))[None]
    points = to_camera(vertices, facing, torch.tensor([[0.0, 0.0, away]], device=device))
    K = torch.tensor([[1.5 * side, 0, side / 2], [0, 1.5 * side, side / 2], [0, 0, 1.0]], device=device)[None]
    return halves.rasterizer.rasterize(to_clip(points, K, (side, side)), triangles, (side, side))
