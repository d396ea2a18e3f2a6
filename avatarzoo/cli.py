"""The command line: ``avatarzoo VERB key=value ...``. Each verb is a few lines that call the package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import avatarzoo
from avatarzoo.errors import AvatarZooError, ConfigError, did_you_mean

USAGE = """\
AvatarZoo {version}: photoreal head avatars from multi-view captures and tracked videos.

usage: avatarzoo VERB [key=value ...]

verbs:
  fit     train:   avatarzoo fit recipe=pica_full scale=small
  test    score:   avatarzoo test ckpt=RUN protocol=tracked-v1 out=DIR
  render  film:    avatarzoo render ckpt=RUN what=image path=orbit out=orbit.mp4
  bench   compare: avatarzoo bench suite=pica_table1 seeds=[0,1] minutes=6 scale=small
  bench-speed  time:  avatarzoo bench-speed recipes=dam,pica_full scale=paper threads=1
  list    what there is: recipes, models, encodings, drivers, rasterizers, losses, protocols, data
  doctor  what works on this machine, and why the rest does not

`avatarzoo VERB --help` says more. AVATARZOO_DEBUG=1 shows the traceback of an error.

recipes:
{recipes}
"""

FIT = """\
usage: avatarzoo fit recipe=NAME [key=value ...]
       avatarzoo fit resume=RUN [key=value ...]

  recipe=NAME|PATH.yaml     a shipped recipe or your own
  scale=small|paper         small trains on two CPU cores in minutes; paper (default) is the published configuration
  data=multiface data.root=DIR data.image_height=256
                            your capture instead of the built-in synthetic one
  encoding=NAME encoding.KEY=VALUE
                            another component, or an option of one; so for model, driver, warp, rasterizer
  trainer.max_steps=N trainer.max_time=HH:MM:SS
  logger=csv|wandb|tensorboard   out=DIR   seed=N   plugins=[FILE.py]
  resume=RUN                go on with a run, exactly

The run goes to runs/<recipe>/<date-time>: config.yaml, metrics.csv, pictures, checkpoints.

recipes:
{recipes}
"""

TEST = """\
usage: avatarzoo test ckpt=RUN [key=value ...]

  ckpt=RUN|FILE.ckpt
  protocol=NAME[,NAME]      default tracked-v1
  data.root=DIR ...         another capture, or other options of it; default: what it was trained on
  out=DIR                   default: RUN/test. Predictions as PNG, record.json, table
  split=test|val|train   batch_size=N   workers=N   device=auto|cpu|cuda   plugins=[FILE.py]
  fit_codes=STEPS           driver=frame_code: fit codes of unseen frames to their pictures; the record says so

protocols:
{protocols}
"""

RENDER = """\
usage: avatarzoo render ckpt=RUN out=FILE.mp4 [key=value ...]

  out=FILE.mp4|FILE.png|DIR default avatar.mp4; also .mov, .mkv, .webm, .gif, or a folder of pictures
  what=image|normal|depth|mesh      default image
  path=orbit|camera:NAME|dolly      default orbit
  segment=NAME              drive it with a segment of the capture (data.root=DIR); default: the neutral face
  driver.source=TAKE.csv    drive it with recorded parameters (Live Link Face's CSV, a tracker's files)
  size=PIXELS   frames=N   fps=N   device=auto|cpu|cuda   plugins=[FILE.py]
"""


BENCH = """\
usage: avatarzoo bench suite=NAME|PATH.yaml [key=value ...]
       avatarzoo bench recipes=[NAME,NAME] [key=value ...]

  minutes=M | steps=N       equal time or equal steps for every recipe; neither: as long as each recipe says
  seeds=[0,1]               one run of every recipe per seed
  only=[ROW,ROW]            some rows of the suite
  protocol=NAME[,NAME]      default: the suite's
  out=DIR                   default runs/bench. Runs go to DIR/ROW/KEY-seedN and are shared by all suites
  launcher=local|slurm      slurm.slurm_partition=NAME slurm.timeout_min=60 ...: what each job asks for
  plugins=[FILE.py]
  anything else (scale=small, data=multiface, data.root=DIR, ...) goes to every recipe

Each run trains and is scored in a fresh process. The same command goes on where an earlier one stopped; benches may run
side by side. A row that fails says why and stops nobody.

suites:
{suites}
"""


BENCH_SPEED = """\
usage: avatarzoo bench-speed [key=value ...]

  recipes=NAME,NAME         default dam,pica_full; ratios are the first's time over each other's
  scale=paper|small   threads=1   device=cpu|cuda   repeat=15
  dtype=float32,bfloat16
  what=object,pixel,avatars decoders and mesh; shading covered pixels; whole pictures of several avatars
  pixels=200000,900000,2700000   avatars=1,2,3,4,5
  data=multiface data.root=DIR ...   whose mesh; default: the synthetic head
  out=FILE.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: arguments after the program's name; None takes the process's.

    Returns:
        0, or 2 after an error that is the user's to mend, or 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
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
    from avatarzoo.fit import fit

    run = fit(load(overrides=words).resolved)
    print(f"\nrun:       {run}\npictures:  {run / 'pictures'}\nnext:      avatarzoo test ckpt={run} protocol=tracked-v1")


def _test(words: list[str]) -> None:
    from avatarzoo.benchmark.score import score
    from avatarzoo.compose import split_list

    said, data = _take(words, "ckpt", "protocol", "out", "plugins", "split", "batch_size", "workers", "device", "fit_codes")
    protocols = split_list(said.pop("protocol", None)) or ["tracked-v1"]
    score(_checkpoint(said), data, protocols, said.pop("out", None), **said)


def _render(words: list[str]) -> None:
    from avatarzoo.rendering import render

    keys = ("ckpt", "out", "what", "path", "segment", "size", "frames", "fps", "device", "plugins", "driver.source")
    said, data = _take(words, *keys)
    source = said.pop("driver.source", None)
    print(render(_checkpoint(said), overrides=data, source=source, **said))


def _bench(words: list[str]) -> None:
    from avatarzoo.benchmark.bench.options import bench_words

    bench_words(words)


def _bench_speed(words: list[str]) -> None:
    from avatarzoo.benchmark.bench_speed import bench_speed
    from avatarzoo.compose import split_list

    keys = ("recipes", "scale", "threads", "device", "repeat", "dtype", "what", "pixels", "avatars", "out")
    said, data = _take(words, *keys)
    lists = {key: split_list(said.pop(key)) for key in ("recipes", "dtype", "what", "pixels", "avatars") if key in said}
    lists |= {key: [int(value) for value in lists[key]] for key in ("pixels", "avatars") if key in lists}
    if "dtype" in lists:
        lists["dtypes"] = lists.pop("dtype")
    bench_speed(**lists, **said, overrides=data)


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
    if verb == "list":
        return "usage: avatarzoo list [recipes|suites|models|encodings|drivers|rasterizers|losses|protocols|data ...]"
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
