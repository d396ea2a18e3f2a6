"""Readers of the Multiface layout's text and binary files: KRT, head poses, vertices, frame lists, JSON tables.

Each returns checked arrays, or raises a DataError that names the file and line, what was expected and what
to do. Numbers are parsed strictly: what is not a finite decimal number is refused.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatarzoo.errors import DataError

log = logging.getLogger(__name__)

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
BLOCK = ((3, "a row of K"),) * 3 + ((None, "distortion"),) + ((4, "a row of [R t]"),) * 3  # of KRT, below a name
FARTHEST = 1e5  # mm; a hundred metres from the origin is no head and no camera around one
WIDEST = 1e4  # mm; a face-centric vertex ten metres out is a damaged number


@dataclass(frozen=True)
class CameraRecord:
    """One block of a KRT file.

    Attributes:
        name: as written.
        K: 3,3 float64, pixels as stored, centres at integers.
        R: 3,3 float64, world -> camera, OpenCV axes.
        t: 3 float64, mm.
        distortion: as written; projection ignores it, as Multiface's own does.
    """

    name: str
    K: np.ndarray
    R: np.ndarray
    t: np.ndarray
    distortion: tuple[float, ...]


def read_text(path: Path) -> str:
    """Return a text file's content with unified line ends.

    Args:
        path: the file.

    Raises:
        DataError: absent, unreadable, or not text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); restore it or correct data.root.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text: byte {error.start} cannot be decoded; copy the file again.") from error
    if "\0" in text:
        raise DataError(f"{path} is not text: it holds zero bytes; copy the file again.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_row(line: str, count: int | None, where: str, what: str) -> list[float]:
    """Parse one line of finite numbers.

    Args:
        line: the text.
        count: how many numbers there must be, or None for one or more.
        where: file and line, for the message.
        what: what the line should hold, for the message.

    Raises:
        DataError: another count, or something that is not a finite number.
    """
    words = line.split()
    bad = [w for w in words if not NUMBER.fullmatch(w) or not np.isfinite(float(w))]
    if bad:
        raise DataError(f"{where}: expected {what}, but {bad[0]!r} is not a finite number. Repair the line.")
    if not words or (count is not None and len(words) != count):
        shown = line.strip() or "an empty line"
        raise DataError(
            f"{where}: expected {what} ({count or 'some'} numbers), got {len(words)}: {shown!r}. Repair the line."
        )
    return [float(w) for w in words]


def check_rotation(R: np.ndarray, where: str) -> None:
    """Refuse a matrix that is not a rotation to 1e-3.

    Args:
        R: 3,3.
        where: file and place, for the message.

    Raises:
        DataError: not orthonormal, or a reflection.
    """
    error = float(np.abs(R @ R.T - np.eye(3)).max())
    if not error <= 1e-3 or np.linalg.det(R) < 0:
        kind = "a reflection (its determinant is -1)" if error <= 1e-3 else f"off by {error:.3g} from a rotation"
        raise DataError(
            f"{where}: the 3x3 part is {kind}. Rows must be orthonormal with determinant +1; repair the numbers."
        )


def read_krt(path: Path) -> list[CameraRecord]:
    """Read the cameras of a capture.

    Blocks of a name line, 3 rows of K, a row of distortion and 3 rows of [R t] (world -> camera, mm), apart by blank lines;
    line ends of any kind, the last one may be missing.

    Args:
        path: the KRT file.

    Returns:
        One record per camera, in the file's order.

    Raises:
        DataError: malformed block, repeated name, impossible intrinsics or rotation.
    """
    lines = [(number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    cameras: dict[str, CameraRecord] = {}
    for first in range(0, len(lines), 8):
        block = lines[first : first + 8]
        number, name = block[0][0], block[0][1].strip()
        where = f"{path}, line {number}"
        if len(name.split()) != 1 or "/" in name:
            raise DataError(
                f"{where}: expected a camera's name, got {name!r}. A block is a name, 3 rows of K, 1 of "
                "distortion, 3 of [R t]; a row too many or too few above shifts it."
            )
        rows = []
        for (n, line), (count, what) in zip(block[1:], BLOCK, strict=False):
            rows.append(read_row(line, count, f"{path}, line {n}, camera {name!r}", what))
        if len(rows) < len(BLOCK):
            raise DataError(
                f"{where}: camera {name!r} has {len(rows)} rows, expected 7 (3 of K, 1 of distortion, 3 of [R t]). "
                "The file ends too early; copy it again."
            )
        K, distortion, Rt = np.array(rows[:3]), tuple(rows[3]), np.array(rows[4:])
        where = f"{where}, camera {name!r}"
        if K[0, 0] <= 0 or K[1, 1] <= 0 or K[1, 0] != 0 or K[2].tolist() != [0.0, 0.0, 1.0] or np.abs(K).max() > FARTHEST:
            raise DataError(
                f"{where}: K must be [[fx s cx] [0 fy cy] [0 0 1]] in pixels with fx, fy > 0, "
                f"got {K.tolist()}. Repair the rows."
            )
        check_rotation(Rt[:, :3], where)
        if np.abs(Rt[:, 3]).max() > FARTHEST:
            raise DataError(f"{where}: the translation {Rt[:, 3].tolist()} is over 100 m; it is read as mm.")
        if name in cameras:
            raise DataError(f"{where}: it appears twice; remove one of its blocks.")
        if any(distortion):
            log.warning(
                "%s: distortion is not zero; as in Multiface it is ignored, so pictures must be undistorted.", where
            )
        cameras[name] = CameraRecord(name, K, Rt[:, :3], Rt[:, 3], distortion)
    if not cameras:
        raise DataError(f"{path} names no camera; expected blocks of a name, 3 rows of K, 1 of distortion, 3 of [R t].")
    return list(cameras.values())


def read_transform(path: Path) -> np.ndarray:
    """Read a head pose.

    Args:
        path: a FRAME_transform.txt of three rows of four numbers.

    Returns:
        3,4 float64, face-centric -> world, mm.

    Raises:
        DataError: another shape, a number that is not finite, or no rotation.
    """
    lines = [(n, line) for n, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    if len(lines) != 3:
        raise DataError(
            f"{path}: expected 3 rows of 4 numbers (a head pose, face-centric -> world), got {len(lines)} rows."
        )
    pose = np.array([read_row(line, 4, f"{path}, line {n}", "a row of the head pose") for n, line in lines])
    check_rotation(pose[:, :3], str(path))
    if np.abs(pose[:, 3]).max() > FARTHEST:
        raise DataError(f"{path}: the translation {pose[:, 3].tolist()} is over 100 m; it is read as mm.")
    return pose


def read_vertices(path: Path, vertices: int | None) -> np.ndarray:
    """Read a .bin of vertices: raw little-endian float32, three per vertex, no header.

    Args:
        path: the file.
        vertices: how many the capture's other meshes have, or None if not known yet.

    Returns:
        V,3 float32 mm.

    Raises:
        DataError: another length, numbers that are not finite or not mm of a head.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); restore it, remove the frame from "
            "frame_list.txt, or use data.on_bad_frame=skip."
        ) from error
    expected = len(data) // 12 if vertices is None else vertices
    if len(data) != 12 * expected or not data:
        raise DataError(
            f"{path} has {len(data)} bytes, expected {12 * max(expected, 1)} ({max(expected, 1)} vertices of 3 "
            "float32). Copy the file again, or use data.on_bad_frame=skip."
        )
    points = np.frombuffer(data, dtype="<f4").reshape(-1, 3)
    worst = float(np.abs(points).max())
    if not worst <= WIDEST:
        bad = int(np.flatnonzero(~(np.abs(points) <= WIDEST).all(axis=1))[0])
        raise DataError(
            f"{path}: vertex {bad} is {points[bad].tolist()}; expected finite face-centric mm. Copy the file again, "
            "or use data.on_bad_frame=skip."
        )
    return points.astype(np.float32)


def check_name(name: str, where: str) -> str:
    """Return a segment's, frame's or camera's name, refusing what could leave the capture's folder.

    Args:
        name: as written.
        where: file and line, for the message.

    Raises:
        DataError: a path rather than a name.
    """
    if not name or "/" in name or "\\" in name or name in (".", "..") or not name.isprintable():
        raise DataError(f"{where}: {name!r} is not a name of a segment or frame.")
    return name


def read_frame_list(path: Path) -> list[tuple[str, str]]:
    """Read which frames a capture has.

    Args:
        path: frame_list.txt: a segment and a frame per line, apart by whitespace.

    Returns:
        (segment, frame) pairs in the file's order, repeated lines once.

    Raises:
        DataError: a line of another form, or no frame at all.
    """
    frames: dict[tuple[str, str], int] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if len(words) != 2:
            raise DataError(f"{where}: expected a segment and a frame, got {line.strip()!r}. Repair or remove the line.")
        key = (check_name(words[0], where), check_name(words[1], where))
        if key in frames:
            log.warning("%s: %s/%s was already named in line %d; it counts once.", where, *key, frames[key])
            continue
        frames[key] = number
    if not frames:
        raise DataError(f"{path} names no frame; expected lines of a segment and a frame.")
    return list(frames)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.

    Raises:
        DataError: not JSON, or not an object.
    """
    try:
        value = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}. Repair it.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}.")
    return value


def read_split(path: Path) -> dict[str, list[str]]:
    """Read which segments train and which test.

    Args:
        path: split.json, {"train": [segments], "test": [segments]}.

    Returns:
        Names by split, each once.

    Raises:
        DataError: another form, or a segment in both.
    """
    value = read_json(path)
    split: dict[str, list[str]] = {}
    for key in ("train", "test"):
        names = value.get(key, [])
        if key not in value or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise DataError(f'{path}: expected "{key}": a list of segment names; or give data.{key}_segments.')
        split[key] = list(dict.fromkeys(check_name(n, str(path)) for n in names))
        if len(split[key]) < len(names):
            log.warning("%s: a segment is named twice in %r; it counts once.", path, key)
    both = sorted(set(split["train"]) & set(split["test"]))
    if both:
        raise DataError(
            f"{path}: {both[0]!r} is in train and in test; scores would be of frames trained on. Remove it from one."
        )
    return split


def read_views(path: Path) -> dict[str, str]:
    """Read the names of views.

    Args:
        path: views.json, {"Front": "400002", ...}.

    Raises:
        DataError: another form.
    """
    value = read_json(path)
    if not all(isinstance(camera, str) for camera in value.values()):
        raise DataError(f'{path}: expected a camera\'s name per view, e.g. {{"Front": "400002"}}, got {value}.')
    return value
