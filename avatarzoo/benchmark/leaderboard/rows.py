"""From records to rows: seeds together, rows that may be compared in one group."""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avatarzoo import checkpoint
from avatarzoo.benchmark.bench.job import STATE, Job
from avatarzoo.benchmark.record import read_records
from avatarzoo.config import NOT_HASHED, NOT_HASHED_BELOW, Config
from avatarzoo.errors import ConfigError, DataError

#: Protocols in the order they are shown; others follow by name.
FIRST = ("tracked-v1", "rasterised-v1")
#: Options that records from before ``data.picture_options`` hold among all options, as data=monocular has them.
FORMER = ("background", "pixel_centres", "cy_origin", "composited_on")
#: Folders of `avatarzoo curve` in a run's.
CURVE, SNAPSHOT = "curve", re.compile(rf"({checkpoint.SNAPSHOT.pattern}|last)(\.partial)?")
DIFFERENCES = 4  #: options named at most, to tell rows of one recipe apart


@dataclass(frozen=True)
class Value:
    """A number over seeds.

    Attributes:
        mean: over runs that have it.
        spread: sample standard deviation over them; None for a single run.
        runs: how many.
    """

    mean: float
    spread: float | None
    runs: int


@dataclass(frozen=True)
class Entry:
    """One record and where it lay.

    Attributes:
        record: as read.
        file: it was read from, or None.
        row: name that a bench gave it, or None.
    """

    record: Mapping[str, Any]
    file: Path | None = None
    row: str | None = None


@dataclass(frozen=True)
class Failure:
    """A run that a bench could not make.

    Attributes:
        row: its name.
        seed: of the run.
        why: it failed.
    """

    row: str
    seed: int
    why: str


@dataclass
class Row:
    """One experiment over its seeds.

    Attributes:
        label: unique in its group.
        entries: one per run, by seed.
    """

    label: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def first(self) -> Mapping[str, Any]:
        """The first run's record."""
        return self.entries[0].record

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return str(self.first["recipe"])

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs."""
        return [int(e.record["config"].get("seed", 0)) for e in self.entries]

    def value(self, *path: str) -> Value | None:
        """Return a number of the records over seeds, or None where no run has it.

        Args:
            path: keys from the record down, e.g. "metrics", "views", "Front", "mse".
        """
        found = [number for e in self.entries if (number := number_at(e.record, path)) is not None]
        if not found:
            return None
        return Value(statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None, len(found))


@dataclass
class Group:
    """Rows that may be compared: one protocol, the same pictures, models that saw the same of them.

    Attributes:
        protocol: id.
        capture: name.
        split: of the capture.
        images: number of pictures.
        size: height and width of the pictures.
        test_inputs: what of a test frame the models see.
        fitting: what is optimised on test pictures.
        apart: what tells it from groups of the same title, in words; "" where there are none.
        rows: best first.
        pictures: equal for groups of one protocol and the same pictures, whatever the models see.
        views: names of the capture's views, in the order of the records.
    """

    protocol: str
    capture: str
    split: str
    images: int
    size: tuple[int, int]
    test_inputs: str
    fitting: str
    apart: str
    rows: list[Row]
    pictures: str = ""

    @property
    def views(self) -> list[str]:
        """Names of the views that all rows have."""
        return [
            v for v in self.rows[0].first["metrics"]["views"] if all(v in r.first["metrics"]["views"] for r in self.rows)
        ]

    @property
    def title(self) -> str:
        """The group in words."""
        fitted = "" if self.fitting == "none" else f", fitted at test time: {self.fitting}"
        return f"{self.capture}, {self.protocol}: models that see {self.test_inputs}{fitted}" + (
            f" ({self.apart})" if self.apart else ""
        )


def number_at(record: Mapping[str, Any], path: Iterable[str]) -> float | None:
    """Return the finite number at a path of nested mappings, or None.

    Args:
        record: nested mappings.
        path: keys.
    """
    node: Any = record
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    known = isinstance(node, (int, float)) and not isinstance(node, bool) and math.isfinite(node)
    return float(node) if known else None


def read_entries(paths: Sequence[str | Path]) -> tuple[list[Entry], list[Failure], list[str]]:
    """Find records below folders.

    Args:
        paths: folders, searched for record.json, or files of records.

    Returns:
        The records, the runs that a bench could not make, and files that could not be read, with the reason.

    Raises:
        ConfigError: a path does not exist.
        DataError: a file that was named is not a file of records, or there are no records at all.
    """
    entries, failures, unread = [], [], []
    for path in map(Path, paths):
        if path.is_file():
            entries += _entries(path)
            continue
        if not path.is_dir():
            raise ConfigError(f"There is no {path}; name folders with record.json files, such as runs/bench.")
        for file in sorted(path.rglob("record.json")):
            if file.parent.parent.name == CURVE and SNAPSHOT.fullmatch(file.parent.name):
                continue  # of a run on its way; a leaderboard compares where runs ended
            try:
                entries += _entries(file)
            except DataError as error:
                unread.append(f"{file}: {error}")
        for file in sorted(path.rglob(STATE)):
            job = Job.read(file.parent)
            if job is not None and job.status == "failed":
                failures.append(Failure(job.row, job.seed, job.why or "unknown"))
    if not entries and not failures:
        told = f" {len(unread)} could not be read, first {unread[0]}" if unread else ""
        raise DataError(f"There are no records in {', '.join(map(str, paths))}.{told} `avatarzoo test ckpt=RUN` makes one.")
    return entries, failures, unread


def _entries(file: Path) -> list[Entry]:
    job = Job.read(file.parent.parent)
    return [Entry(record, file, job.row if job else None) for record in read_records(file)]


def group_entries(entries: Sequence[Entry]) -> list[Group]:
    """Sort records into groups and rows.

    Args:
        entries: one per run and protocol; of two records of one checkpoint, scored alike, the newer one counts.

    Returns:
        Groups, the headline protocol first; rows by PSNR, best first.
    """
    groups: dict[tuple[Any, ...], dict[tuple[str, str], Row]] = {}
    scored: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in _newest(entries):
        record = entry.record
        about = scored_on(record)
        key = as_key(about)
        scored[key] = about
        name = entry.row or str(record["recipe"])
        groups.setdefault(key, {}).setdefault((name, seedless_hash(record)), Row(name)).entries.append(entry)
    made = []
    for key, by_hash in groups.items():
        rows = list(by_hash.values())
        for row in rows:
            row.entries.sort(key=lambda e: int(e.record["config"].get("seed", 0)))
        tell_apart(rows)
        rows.sort(key=lambda r: -(v.mean if (v := r.value("metrics", "overall", "psnr")) else -math.inf))
        about, size = scored[key], scored[key]["size"]
        protocol, capture, split, images = (about[name] for name in ("protocol", "capture", "split", "images"))
        seen = (about["test_inputs"], about["fitting"])
        made.append(Group(protocol, capture, split, images, (size[0], size[1]), *seen, "", rows, _pictures(about)))
    _tell_groups_apart(made, list(scored.values()))
    rank = {protocol: index for index, protocol in enumerate(FIRST)}
    return sorted(
        made, key=lambda g: (g.capture, rank.get(g.protocol, len(rank)), g.protocol, g.test_inputs, g.fitting, g.apart)
    )


def scored_on(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two records have to share so that their numbers may be compared.

    Args:
        record: as read.
    """
    data = record["data"]
    before = {name: data["options"][name] for name in FORMER if name in data["options"]}
    if before.get("background") == "random" and data["split"] != "train":
        before["background"] = "black"
    return {
        "protocol": record["protocol"]["id"],
        "finest": record["protocol"].get("finest", ""),
        "capture": data["capture"],
        "files": data["manifest_sha256"][:16],
        "split": data["split"],
        "segments": data["segments"],
        "cameras": data["cameras"],
        "images": data["images"],
        "size": data["picture_size"],
        "data": data.get("picture_options", before),
        "FLAME": data.get("flame_edition", ""),
        "test_inputs": record["test_inputs"],
        "fitting": record["test_time_fitting"],
    }


def as_key(about: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return plain containers as something that can be a key of a dict."""
    return tuple(json.dumps(value, sort_keys=True) for value in about.values())


def _pictures(about: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in about.items() if k not in ("test_inputs", "fitting")}, sort_keys=True)


def _newest(entries: Sequence[Entry]) -> list[Entry]:
    kept: dict[tuple[Any, ...], Entry] = {}
    for entry in sorted(entries, key=lambda e: str(e.record["date"])):
        kept[entry.record["checkpoint_sha256"], *as_key(scored_on(entry.record))] = entry
    return list(kept.values())


def _tell_groups_apart(groups: Sequence[Group], scored: Sequence[Mapping[str, Any]]) -> None:
    """Say what differs between groups that share a title."""
    same: dict[str, list[tuple[Group, Mapping[str, Any]]]] = {}
    for group, about in zip(groups, scored, strict=True):
        same.setdefault(group.title, []).append((group, about))
    for twins in same.values():
        flat = [flatten(about) for _, about in twins]
        keys = [k for k in dict.fromkeys(k for f in flat for k in f) if len({repr(f.get(k)) for f in flat}) > 1]
        for (group, _), said in zip(twins, flat, strict=True):
            group.apart = ", ".join(f"{key} {_short(said[key])}" for key in keys if said.get(key) not in (None, ""))


def _short(value: Any) -> str:
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return words if len(words) <= 60 else f"{words[:40]}... (sha256 {hashlib.sha256(words.encode()).hexdigest()[:8]})"


def seedless_hash(record: Mapping[str, Any]) -> str:
    """Return a hash that is equal for runs of one experiment with different seeds."""
    return Config({**record["config"], "seed": 0}).hash()


def tell_apart(rows: Sequence[Row]) -> None:
    """Add what differs to the labels of rows that share one.

    Args:
        rows: whose labels are changed where two are the same.
    """
    same: dict[str, list[Row]] = {}
    for row in rows:
        same.setdefault(row.label, []).append(row)
    for label, twins in same.items():
        if len(twins) == 1:
            continue
        flat = [flatten(r.first["config"]) for r in twins]
        keys = [k for k in dict.fromkeys(k for f in flat for k in f) if len({repr(f.get(k)) for f in flat}) > 1]
        components = {key.removesuffix(".name") for key in keys if key.endswith(".name")}
        keys = [key for key in keys if key.endswith(".name") or key.rpartition(".")[0] not in components]
        for row, options in zip(twins, flat, strict=True):  # of another component, other options are no news
            given = [key for key in keys if options.get(key) is not None][:DIFFERENCES]
            said = [f"{key.removesuffix('.name')}={options[key]}" for key in given]
            row.label = f"{label} ({', '.join(said)})" if said else label
        for index, row in enumerate(twins):  # what differs may be an option that is not set
            if sum(row.label == other.label for other in twins) > 1:
                row.label = f"{row.label} #{index + 1}"


def flatten(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return a config's options by dotted name, without what does not change what is learned.

    Args:
        config: resolved.
        above: dotted name of the node.
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if (not above and key in (*NOT_HASHED, "seed")) or key in NOT_HASHED_BELOW.get(above, ()):
            continue
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping):
            found |= flatten(value, name)
        else:
            found[name] = value
    return found
