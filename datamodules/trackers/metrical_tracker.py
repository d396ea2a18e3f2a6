"""metrical-tracker's checkpoint/FFFFF.frame, which FlashAvatar and INSTA start from.

Read off its public readers: parameters in ``tracker.py`` (save_checkpoint, create_parameters) of Zielon/metrical-tracker;
6D rotations in ``scripts/transforms.py`` of Zielon/INSTA; the pairing of frames in ``scene/__init__.py`` of
USTC3DV/FlashAvatar-code. FLAME 2020. Global and neck rotation are not saved: the head stands still and the camera carries
its motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avatarzoo.datamodules.trackers.arrays import axis_angle, expressions, person, rows, vector
from avatarzoo.errors import DataError
from avatarzoo.rigs.flame import FlameParameters

EDITION = "2020"


@dataclass(frozen=True)
class FrameCamera:
    """A camera of one frame, FLAME's frame -> camera, OpenCV axes.

    Attributes:
        K: 3,3 pixels, centres at integers.
        R: 3,3.
        t: 3 mm.
        size: (height, width).
    """

    K: np.ndarray
    R: np.ndarray
    t: np.ndarray
    size: tuple[int, int]


def load_frame(path: Path) -> dict[str, Any]:
    """Read one .frame without running anything in it.

    Args:
        path: the file, a ``torch.save`` of dicts of NumPy arrays.

    Raises:
        DataError: it holds anything else.
    """
    from numpy._core.multiarray import _reconstruct, scalar

    kinds = [type(np.dtype(k)) for k in ("f4", "f8", "i4", "i8", "u1", "?")]
    # files written with NumPy 1 name the same functions under numpy.core
    old = [(_reconstruct, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]
    try:
        with torch.serialization.safe_globals([_reconstruct, scalar, np.ndarray, np.dtype, *kinds, *old]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).split("\n")[0][:160]
        raise DataError(f"{path} cannot be read as a .frame of numbers ({type(error).__name__}: {reason}).") from error
    if not isinstance(content, dict) or not isinstance(content.get("flame"), dict):
        raise DataError(f"{path} has no entry 'flame', so it is no .frame of metrical-tracker.")
    return content


def frame_files(folder: Path) -> list[Path]:
    """Return the .frame files of an output folder (or of its checkpoint/), in order.

    Args:
        folder: output/ACTOR or output/ACTOR/checkpoint.
    """
    inner = folder / "checkpoint"
    found = sorted((inner if inner.is_dir() else folder).glob("*.frame"))
    if not found:
        raise DataError(f"{folder} holds no checkpoint/FFFFF.frame of metrical-tracker.")
    return found


def read_metrical_tracker(folder: Path) -> FlameParameters:
    """Read a tracked video.

    Args:
        folder: output/ACTOR or its checkpoint/.

    Returns:
        N frames; 6D rotations became axis-angle, head pose is zero.
    """
    found: dict[str, list[np.ndarray]] = {key: [] for key in ("exp", "jaw", "eyes", "eyelids")}
    shape = None
    for path in frame_files(folder):
        flame = load_frame(path)["flame"]
        found["exp"].append(vector(flame, "exp", (100,), str(path)))
        found["jaw"].append(axis_angle(vector(flame, "jaw", (6,), str(path))))
        eyes = vector(flame, "eyes", (12,), str(path))
        found["eyes"].append(np.concatenate([axis_angle(eyes[:6]), axis_angle(eyes[6:])]))
        found["eyelids"].append(vector(flame, "eyelids", (2,), str(path)))
        shape = vector(flame, "shape", (300,), str(path)) if shape is None else shape
    made = FlameParameters.neutral(len(found["exp"]), EDITION)
    made.expression, made.shape = expressions(found["exp"]), person(shape)  # type: ignore[arg-type]
    made.jaw, made.eyes, made.eyelids = rows(found["jaw"]), rows(found["eyes"]), rows(found["eyelids"])
    return made


def read_frame_camera(path: Path) -> FrameCamera:
    """Read one frame's camera: metres to mm, pixel corners to centres.

    Args:
        path: of the .frame.
    """
    content = load_frame(path)
    camera = content.get("opencv")
    if not isinstance(camera, dict):
        raise DataError(f"{path} has no entry 'opencv'; it was written by another version of metrical-tracker.")
    R, t, K = (vector(camera, key, (n,), str(path)) for key, n in (("R", 9), ("t", 3), ("K", 9)))
    K = K.reshape(3, 3).copy()
    K[:2, 2] -= 0.5
    height, width = vector(content, "img_size", (2,), str(path)).astype(int)
    return FrameCamera(K, R.reshape(3, 3), 1000 * t, (int(height), int(width)))
