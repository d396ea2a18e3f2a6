"""The command line: ``avatarzoo VERB key=value ...``. Each verb is a few lines that call the package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import avatarzoo
from avatarzoo import crash
from avatarzoo.errors import AvatarZooError, ConfigError, did_you_mean
from avatarzoo.usage import BENCH, BENCH_SPEED, CURVE, FIT, LEADERBOARD, LIST, RENDER, TEST, USAGE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: arguments after the program's name; None takes the process's.

    Returns:
        0, or 2 after an error that is the user's to mend, 1 after one that is not, or 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    crash.run = None  # a traceback belongs to this command's run, if it starts one
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except AvatarZooError as error:
        if os.environ.get("AVATARZOO_DEBUG", "0") not in ("", "0"):
            raise
        print(f"avatarzoo: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `avatarzoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("avatarzoo: stopped.", file=sys.stderr)
        return 130
    except Exception as error:  # a bug, or a machine that gave out; either way a traceback is no message
        if os.environ.get("AVATARZOO_DEBUG", "0") not in ("", "0"):
            raise
        print(f"avatarzoo: {crash.report(error, words)}", file=sys.stderr)
        return 1


def _dispatch(words: list[str]) -> int:
    asks = [word for word in words if word in ("-h", "--help", "help")]
    words = [word for word in words if word not in asks]
    if words and words[0] in ("--version", "-V"):
        print(avatarzoo.__version__)
        return 0
    if not words:
        print(USAGE.format(version=avatarzoo.__version__, recipes=_recipes()))
        return 0 if asks else 2
    verb, *rest = words
    if verb not in VERBS:
        raise ConfigError(f"There is no verb {verb!r}.{did_you_mean(verb, VERBS)} Try `avatarzoo --help`.")
    if asks:
        print(_help(verb))
        return 0
    VERBS[verb](rest)
    return 0


def _fit(words: list[str]) -> None:
    from avatarzoo.config import load

    config = load(overrides=words).resolved  # before what trains is imported, which takes seconds: typos answer at once
    from avatarzoo.fit import fit

    fit(config)


def _test(words: list[str]) -> None:
    from avatarzoo.benchmark.score import score
    from avatarzoo.compose import split_list
    from avatarzoo.typed import arguments

    said, data = _take(words, "ckpt", "protocol", "out", "plugins", "split", "batch_size", "workers", "device", "fit_codes")
    protocols = split_list(said.pop("protocol", None)) or ["tracked-v1"]
    checkpoint, out = _checkpoint(said), said.pop("out", None)
    score(checkpoint, data, protocols, out, **arguments(score, said))


def _render(words: list[str]) -> None:
    from avatarzoo.rendering import render
    from avatarzoo.typed import arguments

    keys = ("ckpt", "out", "what", "path", "framing", "yaw", "pitch", "segment", "split", "size", "frames", "fps", "device")
    said, data = _take(words, *keys, "plugins", "driver.source", "driver.edition")
    said |= {key.removeprefix("driver."): said.pop(key) for key in ("driver.source", "driver.edition") if key in said}
    checkpoint = _checkpoint(said)
    print(render(checkpoint, overrides=data, **arguments(render, said)))


def _bench(words: list[str]) -> None:
    from avatarzoo.benchmark.bench.options import bench_words

    bench_words(words)


def _bench_speed(words: list[str]) -> None:
    from avatarzoo.benchmark.bench_speed import bench_speed
    from avatarzoo.compose import split_list

    keys = ("recipes", "scale", "threads", "device", "repeat", "dtype", "what", "pixels", "avatars", "out")
    said, data = _take(words, *keys)
    lists: dict[str, Any] = {
        key: split_list(said.pop(key)) for key in ("recipes", "dtype", "what", "pixels", "avatars") if key in said
    }
    if "dtype" in lists:
        lists["dtypes"] = lists.pop("dtype")
    bench_speed(**lists, **said, overrides=data)


def _leaderboard(words: list[str]) -> None:
    from avatarzoo.benchmark.leaderboard.options import leaderboard_words

    leaderboard_words(words)


def _curve(words: list[str]) -> None:
    from avatarzoo.benchmark.curve.options import curve_words

    curve_words(words)


def _list(words: list[str]) -> None:
    from avatarzoo.listing import print_listing

    print_listing(words)


def _doctor(words: list[str]) -> None:
    from avatarzoo.doctor import print_report

    if words:
        raise ConfigError(f"doctor takes no options, got {' '.join(words)}.")
    print_report()


VERBS: dict[str, Callable[[list[str]], None]] = {
    "fit": _fit,
    "test": _test,
    "render": _render,
    "bench": _bench,
    "leaderboard": _leaderboard,
    "curve": _curve,
    "bench-speed": _bench_speed,
    "list": _list,
    "doctor": _doctor,
}


def _help(verb: str) -> str:
    if verb == "fit":
        return FIT.format(recipes=_recipes())
    if verb == "test":
        from avatarzoo.listing import components, lines

        return TEST.format(protocols=lines(components("protocol")))
    if verb == "render":
        return RENDER
    if verb == "bench-speed":
        return BENCH_SPEED
    if verb == "bench":
        from avatarzoo.listing import lines, suites

        return BENCH.format(suites=lines(suites()))
    if verb == "leaderboard":
        return LEADERBOARD
    if verb == "curve":
        return CURVE
    if verb == "list":
        return LIST
    return "usage: avatarzoo doctor"


def _recipes() -> str:
    from avatarzoo.listing import lines, recipes

    return lines(recipes())


def _take(words: Sequence[str], *keys: str) -> tuple[dict[str, Any], list[str]]:
    """Separate a verb's own options from overrides of the capture."""
    from avatarzoo.compose import parse_override, split_list

    said, data = {}, []
    for word in words:
        key, value = parse_override(word)
        if key in keys:
            said[key] = split_list(value) if key == "plugins" else value
        elif key.split(".")[0] == "data":
            data.append(word)
        else:
            raise ConfigError(f"There is no option {key} here.{did_you_mean(key, [*keys, 'data'])}")
    return said, data


def _checkpoint(said: dict[str, Any]) -> str:
    if not said.get("ckpt"):
        raise ConfigError("ckpt= is missing: ckpt=RUN takes a run's folder or a .ckpt file.")
    return str(said.pop("ckpt"))
