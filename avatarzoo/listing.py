"""What there is: recipes and registered components, one line each; a component's options; a capture's pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarzoo import registry
from avatarzoo.compose import parse_override, split_list
from avatarzoo.config import recipe_files
from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.schema import component
from avatarzoo.typed import type_name

if TYPE_CHECKING:
    from avatarzoo.datamodules.base import Capture

#: Headings of ``avatarzoo list`` and the kinds behind them.
HEADINGS = {
    "models": "model",
    "encodings": "encoding",
    "drivers": "driver",
    "warps": "warp",
    "rasterizers": "rasterizer",
    "losses": "loss",
    "protocols": "protocol",
    "data": "data",
}


def recipes() -> dict[str, str]:
    """Return the recipes by name, each with the comment on its first line."""
    return {name: _first_comment(file) for name, file in sorted(recipe_files().items())}


def suites() -> dict[str, str]:
    """Return the suites of ``avatarzoo bench`` by name, each with the comment on its first line."""
    from avatarzoo.benchmark.bench.suite import suite_files  # here, because it brings PyTorch along

    return {name: _first_comment(file) for name, file in sorted(suite_files().items())}


def components(kind: str) -> dict[str, str]:
    """Return the components of a kind by name, each with the first line of its docstring.

    Args:
        kind: of the registry.
    """
    return {name: registry.summary_line(registry.get(kind, name)) for name in registry.names(kind)}


def print_listing(headings: Sequence[str] = ()) -> None:
    """Print what there is.

    Args:
        headings: which lists; none means all that hold something. ``KIND=NAME`` prints a component's options, and
            ``data=NAME data.KEY=VALUE ...`` what that capture holds.

    Raises:
        ConfigError: there is no such list or component.
    """
    if any("=" in word for word in headings):
        print(_describe(headings))
        return
    known = ["recipes", "suites", *HEADINGS]
    for heading in headings:
        if heading not in known:
            raise ConfigError(f"There is no list {heading!r}.{did_you_mean(heading, known)}")
    for heading in headings or known:
        found = {"recipes": recipes, "suites": suites}.get(heading)
        entries = found() if found else components(HEADINGS[heading])
        if entries or headings:
            print(f"{heading}\n{lines(entries) or '  (none)'}\n")
    for name, error in registry.plugin_errors.items():
        print(f"The plug-in {name} could not be loaded: {error}")


def _describe(words: Sequence[str]) -> str:
    """Describe components by their options, or a capture by what it holds."""
    said = dict(parse_override(word) for word in words)
    for file in split_list(said.pop("plugins", None)):
        registry.load_plugin_file(file)
    data = {key.partition(".")[2]: said.pop(key) for key in list(said) if key.startswith("data.")}
    if data:
        node = component("data", {"name": said.pop("data", "multiface"), **data})
        if said:
            raise ConfigError(f"A capture is listed by data=NAME data.KEY=VALUE alone; leave {', '.join(said)} out.")
        return capture_text(registry.build("data", node))
    texts = []
    for kind, name in said.items():
        kind = HEADINGS.get(kind, kind)
        if kind not in registry.KINDS:
            raise ConfigError(f"There is no kind of component called {kind!r}.{did_you_mean(kind, registry.KINDS)}")
        texts.append(options_text(kind, str(name)))
    return "\n\n".join(texts)


def options_text(kind: str, name: str) -> str:
    """Return a component's options with types and defaults.

    Args:
        kind: of the registry.
        name: registered.
    """
    cls = registry.get(kind, name)
    prefix = f"phases.PHASE.loss.{name}" if kind == "loss" else kind
    entries = {}
    for key, option in registry.options(cls).items():
        default = "must be given" if option.default is MISSING else f"default {_value(option.default)}"
        entries[f"{prefix}.{key}"] = f"{type_name(option.type)}, {default}"
    return f"{kind}={name}: {registry.summary_line(cls)}\n{lines(entries) or '  (no options)'}"


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def capture_text(capture: Capture) -> str:
    """Return what a capture holds: segments with their frames per split, cameras with their views, what it provides.

    Args:
        capture: need not be prepared.
    """
    splits = {split: samples for split, samples in capture.splits.items() if samples}
    everything = [sample for samples in splits.values() for sample in samples]
    segments = {}
    for segment in dict.fromkeys(sample.segment for sample in everything):
        counts = {split: len({s.frame for s in samples if s.segment == segment}) for split, samples in splits.items()}
        segments[segment] = ", ".join(f"{count} {split}" for split, count in counts.items() if count) + " frames"
    table = getattr(capture, "table", None)
    views = getattr(capture, "views", None) or getattr(table, "views", None) or {}
    cameras = {}
    for camera in dict.fromkeys(sample.camera for sample in everything):
        counts = {split: sum(s.camera == camera for s in samples) for split, samples in splits.items()}
        named = [f"view {view}" for view, name in views.items() if name == camera]
        cameras[camera] = (
            ", ".join([*named, *(f"{count} {split}" for split, count in counts.items() if count)]) + " pictures"
        )
    paths = sorted(path for path in capture.provides if "." in path)
    pictures = ", ".join(f"{len(samples)} {split}" for split, samples in splits.items())
    return (
        f"{type(capture).registered_name}: {pictures} pictures\n"  # type: ignore[attr-defined]
        f"segments ({len(segments)})\n{lines(segments)}\ncameras ({len(cameras)})\n{lines(cameras)}\n"
        f"provides\n  {', '.join(paths)}"
    )


def lines(entries: Mapping[str, str]) -> str:
    """Lay names and what they are out in two columns.

    Args:
        entries: by name.
    """
    width = max(map(len, entries), default=0)
    return "\n".join(f"  {name:<{width}}  {text}".rstrip() for name, text in entries.items())


def _first_comment(file: Path) -> str:
    first = file.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""
