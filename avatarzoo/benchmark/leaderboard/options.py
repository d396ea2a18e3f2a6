"""The options of ``avatarzoo leaderboard`` as they are typed."""

from __future__ import annotations

from collections.abc import Sequence

from avatarzoo.benchmark.leaderboard.make import leaderboard
from avatarzoo.compose import parse_override, split_list
from avatarzoo.errors import ConfigError, did_you_mean

KEYS = ("out", "wandb", "speed", "note")


def leaderboard_words(words: Sequence[str]) -> None:
    """Run ``avatarzoo leaderboard``.

    Args:
        words: folders and files of records, and options: ``key=value``, ``--key value`` or ``--key=value``.

    Raises:
        ConfigError: no folder, an unknown option, an option without its value.
    """
    paths: list[str] = []
    said: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith("--") and "=" not in word:
            if not left:
                raise ConfigError(f"{word} needs a value, e.g. {word} ENTITY/PROJECT.")
            word = f"{word}={left.pop(0)}"
        key = word.removeprefix("--").partition("=")[0]
        if "=" not in word or (key not in KEYS and "/" in key):
            paths.append(word)
            continue
        if key not in KEYS:
            raise ConfigError(f"leaderboard has no option {key}.{did_you_mean(key, KEYS)}")
        said[key] = word.partition("=")[2]
    if not paths:
        raise ConfigError("Which records? Name folders that hold them: avatarzoo leaderboard runs/bench.")
    speed = split_list(parse_override(f"speed={said['speed']}")[1]) if "speed" in said else []
    leaderboard(paths, said.get("out"), wandb=said.get("wandb"), speed=speed, note=said.get("note"))
