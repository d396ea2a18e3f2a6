"""Check what models, terms and protocols read against what a capture provides, before any work starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from avatarzoo import registry
from avatarzoo.datamodules.base import Capture
from avatarzoo.drivers.base import Driver
from avatarzoo.errors import DataError
from avatarzoo.losses.base import LossTerm
from avatarzoo.models.base import Model

REGIONS = "regions"  #: what captures without named regions lack, beside optional inputs


def check_model(model: Model, name: str, capture: Capture, data_name: str) -> None:
    """Check what a model reads; what its driver lacks is said of the driver, with those that the capture can feed.

    Args:
        model: built, bound or not.
        name: of the model in the recipe.
        capture: prepared or not.
        data_name: of the capture in the recipe.

    Raises:
        DataError: a path is missing.
    """
    driver = getattr(model, "driver", None)
    if isinstance(driver, Driver):
        others = [kind for kind in registry.names("driver") if kind != driver.registered_name]
        known = {kind: registry.get("driver", kind).requires for kind in others}
        fed = [f"driver={kind}" for kind, requires in known.items() if requires and not _missing(requires, capture)]
        hint = f" What data={data_name} can feed: {', '.join(fed)}." if fed else ""
        have = [p.rpartition(".")[2] for p in driver.requires if _provided(p, capture.provides)]
        if have and "parts" in registry.options(type(driver)):
            hint += f" driver.parts=[{','.join(have)}] takes what there is."
        check_requirements(f"driver {driver.registered_name!r}", driver.requires, capture, data_name, hint)
    check_requirements(f"model {name!r}", model.requires, capture, data_name)


def check_terms(terms: Mapping[str, Mapping[str, LossTerm]], capture: Capture, data_name: str) -> None:
    """Check what loss terms read.

    Args:
        terms: by phase and key.
        capture: prepared or not.
        data_name: of the capture in the recipe.

    Raises:
        DataError: a path is missing.
    """
    for phase, by_key in terms.items():
        for key, term in by_key.items():
            check_requirements(f"loss term {key!r} of phase {phase!r}", term.requires, capture, data_name)


def check_requirements(who: str, requires: Iterable[str], capture: Capture, data_name: str, instead: str = "") -> None:
    """Check dotted paths of HeadBatch against what a capture provides.

    Args:
        who: needs them, for the message.
        requires: paths; those with a trailing "?" may be absent.
        capture: prepared or not.
        data_name: of the capture in the recipe.
        instead: a sentence on what else would do.

    Raises:
        DataError: a path is missing.
    """
    missing = _missing(requires, capture)
    if not missing:
        return
    others = []
    for name in registry.names("data"):
        provides = getattr(registry.get("data", name), "provides", ())
        if name != data_name and all(_provided(p, provides) for p in missing):
            others.append(f"data={name}")
    instead += "".join(f" {how} gives it." for path, how in capture.stand_ins.items() if missing[0].startswith(path))
    hint = f" {' or '.join(others)} provide{'s' if len(others) == 1 else ''} it." if others else ""
    raise DataError(
        f"{who} needs {', '.join(missing)}, which data={data_name} does not provide; "
        f"it provides {', '.join(sorted(capture.provides))}.{instead}{hint}"
    )


def _missing(requires: Iterable[str], capture: Capture) -> list[str]:
    return [p for p in requires if not p.endswith("?") and not _provided(p, capture.provides)]


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


def absent_regions(capture: Capture, components: Mapping[str, Model | LossTerm]) -> dict[str, list[str]]:
    """Return whose options have no effect because the capture names no regions of the surface.

    Args:
        capture: prepared.
        components: bound, by who they are.

    Returns:
        Options in words under ``REGIONS``, to stand beside what ``absent_inputs`` returns; nothing where all have effect.
    """
    idle = [f"{option} of {who}" for who, one in components.items() for option in one.without_effect]
    return {REGIONS: idle} if idle and not capture.summary.regions else {}


def _provided(path: str, provides: Iterable[str]) -> bool:
    return any(given == path or given.startswith(path + ".") for given in provides)
