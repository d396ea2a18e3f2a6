"""The options of ``avatarzoo curve`` as they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avatarzoo.benchmark.curve.make import curve
from avatarzoo.compose import parse_override, split_list
from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.typed import arguments

KEYS = ("protocol", "out", "device", "batch_size", "workers", "plugins")


def curve_words(words: Sequence[str]) -> None:
    """Run ``avatarzoo curve``.

    Args:
        words: folders of runs, and options as ``key=value``.

    Raises:
        ConfigError: no run, an unknown option, or several protocols.
    """
    runs: list[str] = []
    said: dict[str, Any] = {}
    data: list[str] = []
    for word in words:
        key = word.partition("=")[0]
        if "=" not in word or "/" in key:
            runs.append(word)
        elif key.split(".")[0] == "data":
            data.append(word)
        elif key not in KEYS:
            raise ConfigError(f"curve has no option {key}.{did_you_mean(key, [*KEYS, 'data'])}")
        else:
            said[key] = parse_override(word)[1]
    if not runs:
        raise ConfigError("Which runs? Name their folders: avatarzoo curve runs/pica_full/DATE-TIME.")
    protocols = split_list(said.pop("protocol", None)) or ["tracked-v1"]
    if len(protocols) > 1:
        raise ConfigError(
            f"A curve is of one protocol, got {', '.join(protocols)}; give each a command and an out= folder."
        )
    if "plugins" in said:
        said["plugins"] = split_list(said["plugins"])
    curve(runs, protocols[0], said.pop("out", None), data=data, **arguments(curve, said))
