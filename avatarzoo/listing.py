"""What there is, one line each: recipes and registered components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from avatarzoo import registry
from avatarzoo.config import recipe_files
from avatarzoo.errors import ConfigError, did_you_mean

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
        headings: which lists; none means all that hold something.

    Raises:
        ConfigError: there is no such list.
    """
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
