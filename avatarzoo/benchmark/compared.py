"""What errors are shown of: the pictures a protocol compares predictions with, and which of their pixels count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from avatarzoo import registry
from avatarzoo.benchmark.predictions import read_prediction
from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.benchmark.regions import draw_tracked, fixed_rasterizer
from avatarzoo.benchmark.scoring import what_counts
from avatarzoo.datamodules.base import Capture, Sample

TRUTHS, COUNTED = "truth", "counted"


def write_compared(capture: Capture, out: Path, samples: Iterable[Sample], protocols: Sequence[Protocol]) -> None:
    """Write truths and masks of a few pictures, for the strips of leaderboards.

    Args:
        capture: prepared.
        out: folder that ``write_predictions`` filled; gets truth/PROTOCOL/SEGMENT/CAMERA/FRAME.png and counted/ alike.
        samples: a few.
        protocols: as they scored the folder.
    """
    rasterizer = fixed_rasterizer()
    for sample in samples:
        batch = capture.read(sample)
        _, covered = read_prediction(out, sample, batch.view.image.shape[2:])  # type: ignore[union-attr,arg-type]
        tracked = draw_tracked(batch, capture.summary, rasterizer)
        for protocol in protocols:
            truth, counted = what_counts(batch, covered, tracked, protocol, capture.summary)
            picture = (truth[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            mask = (counted[0, 0].byte() * 255).cpu().numpy()
            place = f"{protocol.registered_name}/{sample.segment}/{sample.camera}/{sample.frame}.png"
            for kind, array in ((TRUTHS, picture), (COUNTED, mask)):
                path = out / kind / place
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)


def read_truth(folder: Path, protocol: str, place: str) -> np.ndarray | None:
    """Read what predictions are compared with.

    Args:
        folder: of a run's predictions.
        protocol: id.
        place: SEGMENT/CAMERA/FRAME.

    Returns:
        H,W,3 uint8, or None where it is not there. Older versions wrote the camera's picture for all protocols alike; it is
        taken for those that compare with that.
    """
    found = read_picture(folder / TRUTHS / protocol / f"{place}.png")
    own_truth = protocol in registry.names("protocol") and registry.get("protocol", protocol).truth is not Protocol.truth
    return found if found is not None or own_truth else read_picture(folder / TRUTHS / f"{place}.png")


def read_counted(folder: Path, protocol: str, place: str) -> np.ndarray | None:
    """Read which pixels count.

    Args:
        folder, protocol, place: see ``read_truth``.

    Returns:
        H,W bool, or None where it is not there, as in folders of older versions.
    """
    found = read_picture(folder / COUNTED / protocol / f"{place}.png", "L")
    return None if found is None else found > 127


def read_picture(path: Path, mode: str = "RGB") -> np.ndarray | None:
    """Read a picture; None where there is none that can be read.

    Args:
        path: of a file.
        mode: "RGB" or "L".
    """
    try:
        return np.asarray(Image.open(path).convert(mode))
    except (OSError, SyntaxError, ValueError):
        return None
