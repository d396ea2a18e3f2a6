"""Score a checkpoint: render every test picture to disk, compare the files with the capture, write the record."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from avatarzoo import fitting, registry
from avatarzoo.batch import View
from avatarzoo.benchmark.aggregate import aggregate
from avatarzoo.benchmark.compared import write_compared
from avatarzoo.benchmark.places import places
from avatarzoo.benchmark.predictions import checksums, write_predictions
from avatarzoo.benchmark.protocol import Protocol, check_capture
from avatarzoo.benchmark.record import (
    describe_data,
    describe_device,
    describe_model,
    make_record,
    write_records,
)
from avatarzoo.benchmark.scoring import perceptual_nets, score_files
from avatarzoo.benchmark.table import print_records
from avatarzoo.build import build_capture
from avatarzoo.capture import CaptureSummary
from avatarzoo.checkpoint import Loaded, load
from avatarzoo.config import data_of
from avatarzoo.datamodules.base import Capture, ZooData
from avatarzoo.devices import device_named
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.models.base import Avatar, Model
from avatarzoo.requirements import check_requirements

RECORD = "record.json"
LOOKED_AT = 8  #: pictures that protocols may see before anything is rendered


def score(
    checkpoint: str | Path,
    data: Sequence[str] | Mapping[str, Any] | Capture = (),
    protocols: Sequence[str] = ("tracked-v1",),
    out: str | Path | None = None,
    *,
    split: str = "test",
    fit_codes: int = 0,
    batch_size: int = 4,
    workers: int = 0,
    device: str = "auto",
    plugins: Sequence[str | Path] = (),
    quiet: bool = False,
    finished: bool = True,
) -> list[dict[str, Any]]:
    """Score a checkpoint under protocols.

    Args:
        checkpoint: a run's folder or a checkpoint file.
        data: what differs from the capture of training: overrides ("data.root=DIR"), a node of options laid over the
            config's, or a capture.
        protocols: their ids.
        out: folder for predictions/, coverage/, checksums.sha256 and record.json; default: "test" in the run's folder
            (beside a bare checkpoint file).
        split: of the capture.
        fit_codes: steps that fit codes of unseen frames to their own pictures (driver=frame_code); the record says so.
        batch_size: pictures rendered at a time.
        workers: loader processes.
        device: "cpu", "cuda" or "auto".
        plugins: Python files the checkpoint was made with.
        quiet: print nothing.
        finished: False renders without what the model makes when a run ends, as a run on its way would; the record says so.

    Returns:
        One record per protocol, as written to record.json.

    Raises:
        ConfigError: no such checkpoint or protocol, or a model that renders no pictures.
        DataError: a capture the model cannot be scored on, or that lacks what a protocol reads.
    """
    rules = [_protocol(name) for name in dict.fromkeys(protocols)]
    device = device_named(device)
    if batch_size < 1 or workers < 0 or fit_codes < 0:
        numbers = f"batch_size={batch_size} workers={workers} fit_codes={fit_codes}"
        raise ConfigError(f"{numbers}: give a batch_size of 1 or more, the others 0 or more.")
    loaded = load(checkpoint, plugins, device)
    model = loaded.model
    if not isinstance(model, Avatar):
        raise ConfigError(f"Protocols compare pictures, and model {loaded.config['model']['name']!r} renders none.")
    left_out = not finished and type(model).set_finish_aside is not Model.set_finish_aside
    if left_out:
        model.set_finish_aside()
    capture, node = _capture(loaded, data)
    _check_fits(loaded, capture, node["name"])
    _check_protocols(rules, capture, node["name"], split)
    fitting.check_frames(model, capture, split, fit_codes)
    out = _out_folder(loaded) if out is None else Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if not quiet:
        _announce(loaded, capture, node["name"], rules, split, device, out)
    if fit_codes:
        phase = next(iter(loaded.config["phases"]))
        fitting.fit_codes(model, capture, split, fit_codes, phase=phase, batch_size=batch_size, quiet=quiet)

    for rule in rules:
        rule.prepare(loaded.summary)
    feed = ZooData(capture, batch_size, workers)
    timing = write_predictions(model, feed, out, split, device, quiet)
    nets, missing = perceptual_nets()
    scores = score_files(capture, out, rules, split, nets, device, quiet)

    hashes = {
        "checkpoint_sha256": loaded.sha256,
        "predictions_sha256": checksums(out, capture.splits[split]),
    }
    clock = {
        "device": describe_device(device),
        "render_ms_per_image": timing.ms_per_image(),
        "batch_size": batch_size,
        "images": sum(timing.images),
    }
    about_model = describe_model(model, loaded.config, loaded.iteration)
    about_model |= {"finished": False} if left_out else {}
    about_data = describe_data(capture, node, split)
    records = []
    for rule in rules:
        metrics = aggregate(scores[rule.registered_name], capture.summary.cameras.views)
        absent = {} if metrics["overall"]["images"] else {"psnr": f"{rule.registered_name}: {rule.nothing}"}
        records.append(make_record(rule, metrics, about_model, about_data, hashes, clock, missing | absent))
    shown = set(places(records[0])) if records else set()
    few = [s for s in capture.splits[split] if f"{s.segment}/{s.camera}/{s.frame}" in shown]
    write_compared(capture, out, few, rules)
    write_records(records, out / RECORD)
    if not quiet:
        print_records(records)
        print(f"record:       {out / RECORD}\npredictions:  {out / 'predictions'}")
    return records


def _announce(
    loaded: Loaded, capture: Capture, data: str, rules: Sequence[Protocol], split: str, device: str, out: Path
) -> None:
    """Print what is about to be scored, before pictures are rendered."""
    samples = capture.splits[split]
    segments = ", ".join(dict.fromkeys(s.segment for s in samples)) or "none"
    lines = [
        f"checkpoint  {loaded.path} ({loaded.iteration:,} steps)",
        f"model       {loaded.config['model']['name']}, recipe {loaded.config.get('recipe')} "
        f"(scale {loaded.config.get('scale')}); at test it sees {loaded.model.test_inputs}",
        f"data        {data}: {capture.summary.name}, {split}: {len(samples)} pictures of {segments}",
        f"protocol    {', '.join(str(rule.registered_name) for rule in rules)}",
        f"runs on     {device}",
        f"out         {out}",
    ]
    print("\n".join(lines), flush=True)


def _protocol(name: str) -> Protocol:
    return registry.build("protocol", name)


def _capture(loaded: Loaded, data: Sequence[str] | Mapping[str, Any] | Capture) -> tuple[Capture, dict[str, Any]]:
    """Return the prepared capture to score on and its node of the config."""
    if isinstance(data, Capture):
        capture, node = data, dict(data.config)
    else:
        if isinstance(data, Mapping):
            same = data.get("name", loaded.config["data"]["name"]) == loaded.config["data"]["name"]
            node = {**(loaded.config["data"] if same else {}), **data}
        else:
            node = data_of(loaded.config, data)
        capture = build_capture({"data": node})
    if getattr(capture, "summary", None) is None:
        capture.prepare()
    return capture, node


def _check_fits(loaded: Loaded, capture: Capture, name: str) -> None:
    """Check that the model can read the capture."""
    check_requirements(f"model {loaded.config['model']['name']!r}", loaded.model.requires, capture, name)
    here, there = _shape(capture.summary), _shape(loaded.summary)
    if here != there:
        raise DataError(
            f"The capture's tracked mesh has {here[0]} vertices and {here[1]} triangles, the one trained on had {there[0]} "
            f"and {there[1]}; score on a capture with the same topology."
        )


def _check_protocols(rules: Sequence[Protocol], capture: Capture, name: str, split: str) -> None:
    """Check that the capture gives what the protocols compare with."""
    for rule in rules:
        check_capture(rule, capture, name)
    for rule in rules:
        rule.inspect(_first_views(capture, split))


def _first_views(capture: Capture, split: str) -> Iterator[View]:
    """Yield some pictures, evenly spread over a split; one without a picture is told of when it is scored."""
    samples = capture.splits[split]
    for sample in samples[:: -(-len(samples) // LOOKED_AT) or 1]:
        view = capture.read(sample).view
        if view is not None and view.image is not None:
            yield view


def _shape(summary: CaptureSummary) -> tuple[int, int]:
    return summary.vertex_mean.shape[0], summary.topology.triangles.shape[0]


def _out_folder(loaded: Loaded) -> Path:
    folder = loaded.path.parent
    return (folder.parent if folder.name == "checkpoints" else folder) / "test"


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m avatarzoo.benchmark.score CKPT [OUT [data.KEY=VALUE ...]]")
    folder = sys.argv[2] if len(sys.argv) > 2 else None
    score(sys.argv[1], sys.argv[3:], ["tracked-v1", "rasterised-v1"], folder)
