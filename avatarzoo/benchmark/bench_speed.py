"""``avatarzoo bench-speed``: time recipes against each other, print their ratios and write them to a file."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from avatarzoo import config as configs
from avatarzoo.benchmark import speed
from avatarzoo.build import build_capture, build_model
from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.models.base import Avatar
from avatarzoo.versions import versions

WHAT = ("object", "pixel", "avatars")
LITTLE = (
    "data.image_height=64",
    "data.train_frames=2",
    "data.test_frames=1",
    "data.val_fraction=0",
)  #: of the synthetic head: its mesh is all


def bench_speed(
    recipes: Sequence[str] = ("dam", "pica_full"),
    *,
    scale: str = "paper",
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    threads: int = 1,
    repeat: int = 15,
    what: Sequence[str] = WHAT,
    pixels: Sequence[int | str] = speed.PIXELS,
    avatars: Sequence[int | str] = (1, 2, 3, 4, 5),
    device: str = "cpu",
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Time recipes by turns.

    Args:
        recipes: names or files; ratios are the first's time over each other's.
        scale: "paper" or "small".
        dtypes: "float32", "bfloat16".
        threads: of the CPU.
        repeat: turns that count.
        what: "object" (decoders and mesh), "pixel" (shading), "avatars" (whole pictures of several).
        pixels: covered pixels to shade.
        avatars: how many in one picture.
        device: "cpu" or "cuda".
        overrides: of the capture whose mesh is timed; default: the synthetic head.
        out: JSON file to write.

    Returns:
        What was measured, as it is written.

    Raises:
        ConfigError: an unknown value, or a recipe whose work does not part into halves.
    """
    if not recipes:
        raise ConfigError("recipes= is empty; name at least one recipe.")
    for name in dtypes:
        if name not in speed.DTYPES:
            raise ConfigError(f"dtype={name} is not known.{did_you_mean(name, speed.DTYPES)}")
    for name in what:
        if name not in WHAT:
            raise ConfigError(f"what={name} is not known.{did_you_mean(name, WHAT)}")
    threads, repeat = _count("threads", threads), _count("repeat", repeat)
    pixels, avatars = [_count("pixels", n) for n in pixels], [_count("avatars", n) for n in avatars]
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(f"device={device} is not here; give {'cpu or cuda' if torch.cuda.is_available() else 'cpu'}.")
    where, before = torch.device(device), torch.get_num_threads()
    resolved = {name: configs.load(name, [f"scale={scale}", *(overrides or LITTLE)]).resolved for name in recipes}
    summary = _summary(resolved)
    result: dict[str, Any] = {
        "scale": scale,
        "threads": threads,
        "repeat": repeat,
        "device": torch.cuda.get_device_name() if where.type == "cuda" else _processor(),
        "versions": versions(),
        "tracked_vertices": len(summary.vertex_mean),
        "measured": [],
    }
    torch.set_num_threads(threads)
    try:
        for dtype in dtypes:
            subjects = []
            for name, node in resolved.items():
                model = build_model(node, summary)
                if not isinstance(model, Avatar):
                    raise ConfigError(f"recipe {name!r} is no avatar: it draws no pictures to be timed.")
                subjects.append(speed.prepare(name, model, speed.DTYPES[dtype], where))
            for row in _measure(subjects, what, repeat, pixels, avatars):
                result["measured"].append({"dtype": dtype, **row})
                print(_line(dtype, row))
    finally:
        torch.set_num_threads(before)
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {out}", flush=True)
    return result


def _count(name: str, value: Any) -> int:
    """Read a whole number of at least 1."""
    if not str(value).isdecimal() or int(value) < 1:
        raise ConfigError(f"{name}={value} is no whole number of at least 1.")
    return int(value)


def _summary(resolved: Mapping[str, Mapping[str, Any]]) -> Any:
    nodes = [node["data"] for node in resolved.values()]
    if any(node != nodes[0] for node in nodes):
        raise ConfigError("The recipes read different data, so their meshes differ; set the differing data.* keys.")
    capture = build_capture({"data": nodes[0]})
    capture.prepare()
    return capture.summary


def _measure(
    subjects: list[speed.Subject], what: Sequence[str], repeat: int, pixels: Sequence[int], avatars: Sequence[int]
) -> Any:
    def row(label: str, figures: dict[str, dict[str, float]]) -> dict[str, Any]:
        found = {"what": label, "times": figures, "ratios": speed.ratios(figures)}
        return found | ({"cpu_ratios": speed.ratios(figures, "cpu_ms")} if subjects[0].device.type == "cpu" else {})

    if "object" in what:
        yield row("per object", speed.time_objects(subjects, repeat))
    if "pixel" in what:
        for count in pixels:
            yield row(f"per pixel, {count / 1e6:.1f} M", speed.time_pixels(subjects, count, max(3, repeat // 3)))
    if "avatars" in what:
        for count in avatars:
            yield row(f"picture of {count}", speed.time_avatars(subjects, count, max(3, repeat // 3)))


def _line(dtype: str, row: Mapping[str, Any]) -> str:
    times = "   ".join(
        f"{name} {t['median_ms']:.1f} ms [{t['quarter_ms']:.1f}, {t['three_quarters_ms']:.1f}]"
        for name, t in row["times"].items()
    )
    worked = row.get("cpu_ratios", {})
    ratio = "   ".join(
        f"{names} = {value:.2f}" + (f" (CPU time {worked[names]:.2f})" if names in worked else "")
        for names, value in row["ratios"].items()
    )
    return f"{dtype:<9} {row['what']:<18} {times}   {ratio}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "cpu"
