"""Errors that are meant for the person at the terminal, and the near-name hint they share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the names nearest to one that is not known.

    Args:
        name: the name that was given.
        known: the names that exist.

    Returns:
        " Did you mean 'a' or 'b'?" or, when nothing is near, " Known: a, b, c."; empty if nothing is known.
    """
    known = sorted(set(known))
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return " Did you mean " + " or ".join(repr(n) for n in near) + "?"
    if not known:
        return ""
    return " Known: " + ", ".join(known) + "."
