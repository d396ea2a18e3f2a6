"""Records: one JSON object per model, capture and protocol, with everything a leaderboard and a reader need."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.config import Config
from avatarzoo.datamodules.base import Capture
from avatarzoo.errors import DataError
from avatarzoo.models.base import Model, parameter_counts
from avatarzoo.versions import versions

FORMAT = 1
SCHEMA = Path(__file__).with_name("record.schema.json")


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_manifest(manifest: Mapping[str, str]) -> str:
    """Return the sha256 of a capture's manifest: its lines "hash  name", sorted by name.

    Args:
        manifest: hashes by file, from ``Capture.manifest``.
    """
    text = "".join(f"{manifest[name]}  {name}\n" for name in sorted(manifest))
    return hashlib.sha256(text.encode()).hexdigest()


def without_folders(value: Any) -> Any:
    """Shorten absolute paths to their last name: records are published, folders of a machine are nobody's business.

    Args:
        value: plain containers.
    """
    if isinstance(value, Mapping):
        return {key: without_folders(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(v) for v in value]
    if isinstance(value, (str, Path)) and Path(value).expanduser().is_absolute():
        return Path(value).name
    return value


def describe_device(device: str | torch.device) -> str:
    """Return a device in words, such as "cpu, 2 threads" or "NVIDIA H100"."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def describe_model(model: Model, config: Mapping[str, Any], iteration: int) -> dict[str, Any]:
    """Return what a record says about the model.

    Args:
        model: bound, with weights.
        config: resolved config of its run.
        iteration: steps it was trained for.
    """
    counts = parameter_counts(model)
    return {
        "recipe": Path(str(config["recipe"])).stem,
        "model": config["model"]["name"],
        "scale": config.get("scale", "paper"),
        "iteration": iteration,
        "config": without_folders(config),
        "config_hash": Config(dict(config)).hash(),
        "test_inputs": model.test_inputs,
        "test_time_fitting": getattr(model, "test_time_fitting", "none"),
        "parameters": counts | {"total": sum(p.numel() for p in model.parameters())},
    }


def describe_data(capture: Capture, config: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return what a record says about the capture that was scored on.

    Args:
        capture: prepared.
        config: its node of the config.
        split: that was scored.
    """
    samples = capture.splits[split]
    edition = capture.summary.flame_edition
    return ({"flame_edition": edition} if edition else {}) | {
        "capture": capture.summary.name,
        "options": without_folders(config),
        "manifest_sha256": sha256_of_manifest(capture.manifest()),
        "split": split,
        "segments": sorted({s.segment for s in samples}),
        "cameras": capture.cameras_of(split),
        "images": len(samples),
        "picture_size": list(capture.summary.cameras.size),
        "picture_options": without_folders(dict(capture.picture_options(split))),
        "skipped": without_folders(list(getattr(capture, "skipped", []))),
    }


def make_record(
    protocol: Protocol,
    metrics: Mapping[str, Any],
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    hashes: Mapping[str, str],
    timing: Mapping[str, Any],
    missing: Mapping[str, str],
) -> dict[str, Any]:
    """Put a record together and check it against the schema.

    Args:
        protocol: that made the numbers.
        metrics: from ``aggregate``.
        model, data: from ``describe_model`` and ``describe_data``.
        hashes: "checkpoint_sha256" and "predictions_sha256".
        timing: see the schema.
        missing: why a metric has no value, by its id.

    Returns:
        The record, plain containers without NaN.

    Raises:
        DataError: it does not fit the schema.
    """
    record = {
        "format": FORMAT,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "protocol": protocol.describe(),
        **model,
        "data": dict(data),
        **hashes,
        "metrics": dict(metrics),
        "missing": dict(missing),
        "timing": dict(timing),
        "versions": versions(),
    }
    record = json.loads(json.dumps(record, default=str))
    validate(record)
    return record


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of one record."""
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


def validate(record: Any) -> None:
    """Check one record against the schema.

    Args:
        record: as ``json.load`` gives it.

    Raises:
        DataError: names the first place that does not fit.
    """
    import jsonschema

    errors = sorted(jsonschema.Draft202012Validator(schema()).iter_errors(record), key=lambda e: list(e.absolute_path))
    if errors:
        where = ".".join(str(p) for p in errors[0].absolute_path) or "the record"
        raise DataError(f"Not a record of AvatarZoo: {where}: {errors[0].message[:300]}.")


def write_records(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write records as a JSON list.

    Args:
        records: from ``make_record``.
        path: of the file.
    """
    path.write_text(json.dumps(list(records), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read and check a file of records.

    Args:
        path: of a file that ``write_records`` wrote.

    Raises:
        DataError: missing, not JSON, or a record that does not fit the schema.
    """
    if not path.is_file():
        raise DataError(f"There are no records at {path}; `avatarzoo test ckpt=RUN out=DIR` writes DIR/record.json.")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON ({error}).") from error
    if not isinstance(records, list):
        raise DataError(f"{path} has to hold a list of records, it holds a {type(records).__name__}.")
    for record in records:
        validate(record)
    return records
