"""Errors that are meant for the person at the terminal, and the near-name hint they share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class AvatarZooError(Exception):
    """Say what came, what was expected and what to do; the command line prints it without a traceback."""


class ConfigError(AvatarZooError):
    """A recipe, an override or a component name that cannot be used."""


class DataError(AvatarZooError):
    """A capture, or one file of it, that cannot be read as its layout says."""


class BackendError(AvatarZooError):
    """A backend that was asked for by name and is not available here."""


class NonFiniteError(AvatarZooError):
    """A loss term, a gradient or a weight stopped being a finite number."""


def did_you_mean(name: str, known: Iterable[str], form: str = "{}", all_of: str | None = None) -> str:
    """Return a sentence with the names nearest to one that is not known.

    Args:
        name: the name that was given.
        known: the names that exist.
        form: what to show of a name, so that it can be copied: "trainer.{}" for keys of trainer.
        all_of: what the names are called, e.g. "Cameras": they are all listed then, also where some are near.

    Returns:
        " Did you mean 'a' or 'b'?" or, when nothing is near, " Known: a, b, c."; empty if nothing is known.
    """
    known = sorted(set(known))
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    said = " Did you mean " + " or ".join(repr(form.format(n)) for n in near) + "?" if near else ""
    if known and (all_of or not near):
        said += f" {all_of or 'Known'}: " + ", ".join(form.format(n) for n in known) + "."
    return said


def near_path(path: Path) -> str:
    """Return a sentence about a path that does not exist: what is near it, or how much of it exists.

    Args:
        path: that is not there.

    Returns:
        " Did you mean '/captures/me'?" or " /captures is there, /captures/you is not."
    """
    missing = path
    while not missing.parent.exists() and missing.parent != missing:
        missing = missing.parent
    parent = missing.parent
    try:
        names = [entry.name for entry in parent.iterdir()]
    except OSError:
        names = []
    near = difflib.get_close_matches(missing.name, names, n=3, cutoff=0.6)
    if near:
        rest = path.relative_to(missing)
        found = [parent / name / rest for name in near]
        found = [candidate for candidate in found if candidate.exists()] or [parent / name for name in near]
        return " Did you mean " + " or ".join(repr(str(candidate)) for candidate in found) + "?"
    return f" {parent} is there, {missing} is not." if missing != path else ""
