"""What works on this machine, and why the rest does not: ``avatarzoo doctor``."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avatarzoo import registry

if TYPE_CHECKING:
    from torch import Tensor

GOOD, ABSENT, BAD = "ok", "absent", "fails"
COLOURS = {GOOD: "green", ABSENT: "yellow", BAD: "red"}
PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "warp-lang",
    "hydra-core",
    "numpy",
    "lpips",
    "wandb",
    "imageio",
)
OPTIONAL = ("nvdiffrast", "tinycudann", "smplx", "tensorboard")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        what: was looked at.
        state: ``GOOD``, ``ABSENT`` (optional and not there) or ``BAD``.
        detail: version, path or time; for what does not work, why and what to do.
    """

    what: str
    state: str
    detail: str


def examine() -> list[tuple[str, list[Finding]]]:
    """Look at everything; nothing is downloaded and nothing raises.

    Returns:
        Findings by section.
    """
    sections = {
        "versions": _versions,
        "devices": _devices,
        "rasterizers": _rasterizers,
        "hash grids": _hash_grids,
        "files": _files,
        "caches": _caches,
        "plug-ins": _plugins,
        "proof": _proof,
    }
    return [(name, _safely(name, probe)) for name, probe in sections.items()]


def print_report() -> None:
    """Print what ``examine`` finds, one line each; lines are never broken, so that addresses can be copied."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    sections = examine()
    width = max(len(finding.what) for _, findings in sections for finding in findings)
    for name, findings in sections:
        console.print(Text(name, style="bold"))
        for finding in findings:
            state = Text(f"{finding.state:<6}", style=COLOURS[finding.state])
            console.print(Text.assemble(f"  {finding.what:<{width}}  ", state, f"  {finding.detail}"), soft_wrap=True)


def _safely(name: str, probe: Callable[[], Iterator[Finding]]) -> list[Finding]:
    findings = []
    try:
        for finding in probe():
            findings.append(finding)
    except Exception as error:  # whatever is broken here is what the reader wants to know
        findings.append(Finding(name, BAD, f"{type(error).__name__}: {error}"))
    return findings


def _versions() -> Iterator[Finding]:
    yield Finding("python", GOOD, f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    for package in ("avatarzoo", *PACKAGES, *OPTIONAL):
        try:
            yield Finding(package, GOOD, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            optional = package in OPTIONAL
            yield Finding(package, ABSENT if optional else BAD, "optional" if optional else f"pip install {package}")


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("cpu", GOOD, f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        reason = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        yield Finding("cuda", ABSENT, f"{reason}; everything runs on the CPU, use scale=small")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Finding(
            f"cuda:{index}", GOOD, f"{device.name}, {device.total_memory / 2**30:.0f} GiB, sm_{device.major}{device.minor}"
        )


def _rasterizers() -> Iterator[Finding]:
    for name in registry.names("rasterizer"):
        why = registry.get("rasterizer", name).available()
        yield Finding(name, ABSENT if why else GOOD, why or registry.summary_line(registry.get("rasterizer", name)))


def _hash_grids() -> Iterator[Finding]:
    for name, why in registry.get("encoding", "hash_grid").backends().items():
        yield Finding(f"hash_grid on {name}", ABSENT if why else GOOD, why or f"encoding.backend={name}")


def _files() -> Iterator[Finding]:
    from avatarzoo.errors import DataError
    from avatarzoo.metrics import lpips
    from avatarzoo.rigs.flame import find_flame_file

    for net in lpips.NETS.values():
        why = lpips.why_unavailable(net)
        yield Finding(f"LPIPS {net}", ABSENT if why else GOOD, why or str(lpips.backbone_file(net)))
    try:
        yield Finding("FLAME", GOOD, str(find_flame_file(None)))
    except DataError:
        said = os.environ.get("AVATARZOO_FLAME")
        where = f"no model at AVATARZOO_FLAME={said}" if said else "AVATARZOO_FLAME names no file or folder"
        yield Finding("FLAME", ABSENT, f"{where}; only FLAME-driven models need it (flame.is.tue.mpg.de)")


def _caches() -> Iterator[Finding]:
    from avatarzoo import warp_runtime
    from avatarzoo.datamodules.cache import default_folder

    folders = {"captures": (default_folder(), "AVATARZOO_CACHE"), "runs": (Path("runs"), "out")}
    if warp_runtime.why_unavailable() is None:
        folders["warp kernels"] = (Path(warp_runtime.start().config.kernel_cache_dir), "WARP_CACHE_PATH")
    for name, (folder, setting) in folders.items():
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                yield Finding(name, GOOD, str(folder))
        except OSError as error:
            yield Finding(name, BAD, f"{folder} cannot be written ({error.strerror}); set {setting} to a folder that can")


def _plugins() -> Iterator[Finding]:
    registry.load_entry_points()
    points = sorted(point.name for point in importlib.metadata.entry_points(group="avatarzoo.plugins"))
    for name in points:
        error = registry.plugin_errors.get(name)
        yield Finding(name, BAD if error else GOOD, error or "loaded")
    if not points:
        yield Finding("installed", GOOD, "none")


def _proof(side: int = 256) -> Iterator[Finding]:
    import torch

    from avatarzoo.geometry.cameras import to_clip

    radius, distance, focal = 80.0, 1000.0, 3.0 * side
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rasterizer = registry.build("rasterizer", "warp")
    vertices, triangles = (t.to(device) for t in _sphere(radius))
    centre = (side - 1) / 2
    intrinsics = torch.tensor([[[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]]], device=device)
    clip = to_clip(vertices[None] + torch.tensor([0.0, 0.0, distance], device=device), intrinsics, (side, side))
    rasterizer.rasterize(clip, triangles, (side, side))  # compiles the kernels, once
    start = time.perf_counter()
    raster = rasterizer.rasterize(clip, triangles, (side, side))
    covered = int((raster[..., 3] > 0).sum())
    elapsed = 1000 * (time.perf_counter() - start)
    expected = math.pi * (focal * radius) ** 2 / (distance**2 - radius**2)
    state = GOOD if abs(covered / expected - 1) < 0.02 else BAD
    pixels = f"{covered} pixels ({expected:.0f} expected)"
    yield Finding("warp", state, f"a sphere of {len(triangles)} triangles on {device}: {pixels} in {elapsed:.1f} ms")


def _sphere(radius: float, rings: int = 32, sides: int = 64) -> tuple[Tensor, Tensor]:
    import torch

    polar, around = torch.meshgrid(
        torch.linspace(0, math.pi, rings + 1), torch.linspace(0, 2 * math.pi, sides + 1)[:-1], indexing="ij"
    )
    points = torch.stack([polar.sin() * around.cos(), polar.cos(), polar.sin() * around.sin()], dim=-1)
    ring, side = torch.meshgrid(torch.arange(rings), torch.arange(sides), indexing="ij")
    a, b = ring * sides + side, ring * sides + (side + 1) % sides
    quads = torch.stack([a, b, a + sides, b, b + sides, a + sides], dim=-1)
    return radius * points.reshape(-1, 3), quads.reshape(-1, 3).to(torch.int32)
