"""PNG files: checked decoding, and resizing of pictures and depth by exact areas."""

from __future__ import annotations

import io
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from avatarzoo.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KINDS = {"picture": (8, 2, "8-bit RGB"), "depth": (16, 0, "16-bit grey"), "matte": (8, 0, "8-bit grey")}
SPREAD = 4.0  # mm; depth pixels farther apart than this are two surfaces, whose mean would lie on neither
ADVICE = "Copy the file again, or use data.on_bad_frame=skip."


def png_size(path: Path, kind: str) -> tuple[int, int]:
    """Check a PNG's first and last bytes without decoding it.

    Args:
        path: the file.
        kind: "picture", "depth" or "matte".

    Returns:
        (height, width).

    Raises:
        DataError: absent, cut short, or another kind of picture.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(33)
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 12))
            tail = file.read(12)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). {ADVICE}") from error
    size = _check_header(head, path, kind)
    if tail != b"\0\0\0\0IEND\xaeB`\x82":
        raise DataError(f"{path} does not end as a PNG does; it is cut short. {ADVICE}")
    return size


def _check_header(data: bytes, path: Path, kind: str) -> tuple[int, int]:
    if data[:8] != SIGNATURE or len(data) < 33 or data[12:16] != b"IHDR":
        raise DataError(f"{path} ({len(data)} bytes read) does not start as a PNG does. {ADVICE}")
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    want_bits, want_colour, words = KINDS[kind]
    if (bits, colour) != (want_bits, want_colour):
        colours = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
        raise DataError(
            f"{path} is {bits}-bit {colours.get(colour, 'of unknown colour type')}; a {kind} is {words}. Convert it."
        )
    return height, width


def check_size(path: Path, found: tuple[int, ...], expected: tuple[int, int]) -> None:
    """Refuse a picture of another size than the capture's.

    Args:
        path: the file.
        found, expected: (height, width).

    Raises:
        DataError: they differ.
    """
    if tuple(found) != tuple(expected):
        raise DataError(
            f"{path} is {found[1]}x{found[0]}, but the capture's pictures are {expected[1]}x{expected[0]} (as "
            "the first one). K is in pixels of that size: replace the file, leave the camera out with data.cameras, "
            "or use data.on_bad_frame=skip."
        )


def read_png(path: Path, kind: str) -> np.ndarray:
    """Decode a PNG, checking the sum of every chunk.

    Args:
        path: the file.
        kind: "picture", "depth" or "matte".

    Returns:
        H,W,3 uint8 for a picture, H,W uint16 for depth, H,W uint8 for a matte.

    Raises:
        DataError: absent, cut short, damaged, or another kind of picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). {ADVICE}") from error
    height, width = _check_header(data, path, kind)
    place, last = 8, b""
    while last != b"IEND":  # Pillow forgives wrong sums in picture data, which then decodes to wrong pixels
        if place + 12 > len(data):
            raise DataError(f"{path} is cut short after {len(data)} bytes. {ADVICE}")
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 12 + length
        if end > len(data):
            raise DataError(f"{path} is cut short or damaged at byte {place}. {ADVICE}")
        last = data[place + 4 : place + 8]
        if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise DataError(f"{path} is damaged: the check sum at byte {end - 4} does not fit. {ADVICE}")
        place = end
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.array(image)
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded ({error}). {ADVICE}") from error
    shape = (height, width, 3) if kind == "picture" else (height, width)
    if pixels.shape != shape:
        raise DataError(f"{path} decodes to {pixels.shape}, its header says {shape}. {ADVICE}")
    return pixels.astype(np.uint16 if kind == "depth" else np.uint8)


@lru_cache(maxsize=32)
def overlap(old: int, new: int) -> np.ndarray:
    """Return new,old float32 weights: the share of each old pixel's extent in each new one's mean.

    Args:
        old, new: number of pixels along one axis, new <= old.
    """
    edges = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (shared.clip(0) * (new / old)).astype(np.float32)


def resize_picture(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink a picture by area averaging, in its stored encoding.

    Args:
        pixels: H,W or H,W,C uint8.
        size: (height, width), not larger.

    Returns:
        The same layout, uint8, rounded.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    planes = pixels.reshape(height, width, -1).astype(np.float32)
    rows = np.tensordot(overlap(height, size[0]), planes, axes=(1, 0))
    result = np.einsum("wx,hxc->hwc", overlap(width, size[1]), rows, optimize=True)
    return (result + 0.5).astype(np.uint8).reshape(*size, *pixels.shape[2:])


def resize_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink depth: the mean of known pixels, where they cover half of the new one and lie on one surface.

    Args:
        depth: H,W float32 mm, 0 = unknown.
        size: (height, width), not larger.

    Returns:
        height,width float32 mm, 0 = unknown.
    """
    if depth.shape == size:
        return depth
    rows, columns = (
        overlap(depth.shape[0], size[0]).astype(np.float64),
        overlap(depth.shape[1], size[1]).T.astype(np.float64),
    )
    known = (depth > 0).astype(np.float64)
    centre = depth[depth > 0].mean() if known.any() else 0.0  # keeps the squares small
    offset = (depth - centre) * known
    share = rows @ known @ columns
    mean = rows @ offset @ columns / np.maximum(share, 1e-9)
    spread = np.sqrt(np.maximum(rows @ (offset * offset) @ columns / np.maximum(share, 1e-9) - mean * mean, 0))
    return np.where((share >= 0.5 - 1e-6) & (spread <= SPREAD), mean + centre, 0).astype(np.float32)
