"""Check what models, terms and protocols read against what a capture provides, before any work starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from avatarzoo import registry
from avatarzoo.datamodules.base import Capture
from avatarzoo.errors import DataError


def check_requirements(who: str, requires: Iterable[str], capture: Capture, data_name: str) -> None:
    """Check dotted paths of HeadBatch against what a capture provides.

    Args:
        who: needs them, for the message.
        requires: paths; those with a trailing "?" may be absent.
        capture: prepared.
        data_name: of the capture in the recipe.

    Raises:
        DataError: a path is missing.
    """
    missing = [p for p in requires if not p.endswith("?") and not _provided(p, capture.provides)]
    if not missing:
        return
    others = []
    for name in registry.names("data"):
        provides = getattr(registry.get("data", name), "provides", ())
        if name != data_name and all(_provided(p, provides) for p in missing):
            others.append(f"data={name}")
    hint = f" {' or '.join(others)} provide{'s' if len(others) == 1 else ''} it." if others else ""
    raise DataError(
        f"{who} needs {', '.join(missing)}, which data={data_name} ({capture.summary.name}) does not provide; "
        f"it provides {', '.join(sorted(capture.provides))}.{hint}"
    )


def absent_inputs(capture: Capture, readers: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return the optional inputs that a capture lacks, each with who would read it.

    Args:
        capture: prepared.
        readers: what each requires, by who it is; paths with a trailing "?" are optional.

    Returns:
        Readers by path, without the "?".
    """
    absent: dict[str, list[str]] = {}
    for who, requires in readers.items():
        for path in requires:
            if path.endswith("?") and not _provided(path[:-1], capture.provides):
                absent.setdefault(path[:-1], []).append(who)
    return absent


def _provided(path: str, provides: Iterable[str]) -> bool:
    return any(given == path or given.startswith(path + ".") for given in provides)
