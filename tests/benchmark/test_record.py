"""Records: what they hold, that the schema checks it, and that they hold no folder of a machine."""

import copy
import hashlib
import json
from pathlib import Path

import jsonschema
import pytest
from benchmark_record import record

from avatarzoo.benchmark.record import (
    read_records,
    schema,
    sha256_of_manifest,
    validate,
    without_folders,
    write_records,
)
from avatarzoo.errors import DataError


def test_the_schema_is_a_schema_and_takes_a_record() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validate(record())


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("metrics", "overall", "psnr"), "33 dB", "metrics.overall.psnr"),
        (("metrics", "overall", "coverage"), 1.2, "metrics.overall.coverage"),
        (("metrics", "views", "Front", "psnr_best"), 40, "metrics.views.Front"),
        (("test_inputs",), "everything", "test_inputs"),
        (("protocol", "id"), "tracked", "protocol.id"),
        (("checkpoint_sha256",), "abc", "checkpoint_sha256"),
        (("surprise",), 1, "the record"),
    ],
)
def test_what_does_not_fit_is_named(path: tuple[str, ...], value: object, where: str) -> None:
    broken = record()
    node = broken
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(DataError, match=f"AvatarZoo: {where}: "):
        validate(broken)


@pytest.mark.parametrize("key", sorted(record()))
def test_every_entry_is_needed(key: str) -> None:
    broken = record()
    del broken[key]
    with pytest.raises(DataError, match=key):
        validate(broken)


def test_files_of_records(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(DataError, match="no records"):
        read_records(path)
    write_records([record(), record()], path)
    assert read_records(path) == [record(), record()]
    path.write_text(json.dumps(record()))
    with pytest.raises(DataError, match="list"):
        read_records(path)
    path.write_text("[{")
    with pytest.raises(DataError, match="not JSON"):
        read_records(path)


def test_numbers_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    broken = copy.deepcopy(record())
    broken["metrics"]["overall"]["psnr"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        write_records([broken], tmp_path / "record.json")


def test_hash_of_a_manifest_does_not_depend_on_its_order() -> None:
    expected = hashlib.sha256(b"11  a\n22  b\n").hexdigest()
    assert sha256_of_manifest({"b": "22", "a": "11"}) == sha256_of_manifest({"a": "11", "b": "22"}) == expected


def test_absolute_folders_become_their_last_name() -> None:
    config = {"root": "/home/someone/captures/x", "deep": [{"cache_dir": Path("/tmp/y")}], "relative": "../x", "n": 3}
    assert without_folders(config) == {"root": "x", "deep": [{"cache_dir": "y"}], "relative": "../x", "n": 3}
