"""Checks of a Multiface-layout capture's pictures, before anything is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from avatarzoo.capture import CameraTable
from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.inventory import Inventory
from avatarzoo.datamodules.layout import Frame, Layout
from avatarzoo.datamodules.pictures import check_size, png_size
from avatarzoo.errors import ConfigError, DataError

KINDS = {"images": "picture", "depth": "depth", "mattes": "matte"}


def check_presence(layout: Layout, inventory: Inventory, cameras: Sequence[str]) -> None:
    """Check that every camera has pictures and every sample its own.

    Args:
        layout: of the capture.
        inventory: told what is absent.
        cameras: that are read.
    """
    segments = sorted({segment for segment, _ in inventory.all_frames()})
    having = {camera for segment in segments for camera in layout.listing("images", segment)}
    for camera in cameras:
        if camera not in having:
            rest = ",".join(c for c in cameras if c in having)
            message = (
                f"Camera {camera!r} of {layout.root / 'KRT'} has no pictures (images/SEG/{camera}/). Restore them, leave "
                f"it out with 'data.cameras=[{rest}]', or use data.on_bad_frame=skip."
            )
            inventory.bad(camera, DataError(message))
    inventory.settle()
    matted = bool(layout.listing("mattes"))
    for sample in inventory.all_samples():
        for part in ("images", "mattes") if matted else ("images",):
            if not layout.has(part, sample):
                message = (
                    f"{layout.picture(part, sample)} is absent, though its frame and camera are listed. Restore it, remove "
                    "the frame from frame_list.txt, or use data.on_bad_frame=skip."
                )
                inventory.bad(sample, DataError(message))
                break
    inventory.settle()


def stored_size(layout: Layout, inventory: Inventory) -> tuple[int, int]:
    """Return the size of the capture's pictures, that of the first one that can be read.

    Args:
        layout: of the capture.
        inventory: told of pictures before it that cannot.

    Returns:
        (height, width).
    """
    for sample in inventory.all_samples():
        try:
            size = png_size(layout.picture("images", sample), "picture")
        except DataError as error:
            inventory.bad(sample, error)
            continue
        inventory.settle()
        return size
    raise DataError(f"{layout.root / 'images'} has no picture that can be read.")


def read_size(stored: tuple[int, int], height: int | None) -> tuple[int, int]:
    """Return the size to read pictures at.

    Args:
        stored: (height, width) of the files.
        height: asked for, or None for the stored one.

    Raises:
        ConfigError: larger than stored.
    """
    if height is None or height == stored[0]:
        return stored
    if height > stored[0]:
        raise ConfigError(
            f"data.image_height is {height}, but the capture's pictures are {stored[1]}x{stored[0]}; give at most "
            f"{stored[0]}; data.image_height=null reads them as they are."
        )
    return height, max(1, round(stored[1] * height / stored[0]))


def check_headers(layout: Layout, inventory: Inventory, samples: Iterable[Sample], stored: tuple[int, int]) -> None:
    """Check the first and last bytes of pictures that are not decoded beforehand.

    Args:
        layout: of the capture.
        inventory: told of bad ones.
        samples: to check.
        stored: (height, width) they must have.
    """
    for sample in samples:
        try:
            for part, kind in KINDS.items():
                if layout.has(part, sample):
                    path = layout.picture(part, sample)
                    check_size(path, png_size(path, kind), stored)
        except DataError as error:
            inventory.bad(sample, error)
    inventory.settle()


def check_arkit(layout: Layout, inventory: Inventory, rows: Iterable[Frame]) -> None:
    """Check that the table of ARKit weights has every frame.

    Args:
        layout: of the capture.
        inventory: told of frames without weights.
        rows: frames the table has.
    """
    known = set(rows)
    for frame in inventory.all_frames():
        if frame not in known:
            message = (
                f"{layout.root / 'arkit_weights.csv'} has no row for frame {frame[0]}/{frame[1]}. Add it, remove the file, "
                "or use data.on_bad_frame=skip."
            )
            inventory.bad(frame, DataError(message))
    inventory.settle()


def check_projection(
    layout: Layout, inventory: Inventory, cameras: CameraTable, frame: Frame, vertices: np.ndarray, pose: np.ndarray
) -> None:
    """Check that cameras see the tracked mesh, which catches metres, inverted poses and other conventions.

    Args:
        layout: of the capture.
        inventory: told of cameras that do not.
        cameras: at any size.
        frame: the frame looked at.
        vertices: V,3 mm of that frame, face-centric.
        pose: 3,4 of that frame.

    Raises:
        DataError: no camera sees a vertex.
    """
    world = vertices.astype(np.float64) @ pose[:, :3].T + pose[:, 3]
    used = {sample.camera for sample in inventory.all_samples()}
    blind = []
    for index, name in enumerate(cameras.names):
        if name not in used:
            continue
        K, R, t = (getattr(cameras, key)[index].double().numpy() for key in ("K", "R", "t"))
        local = world @ R.T + t
        pixels = local @ K.T
        with np.errstate(divide="ignore", invalid="ignore"):
            column, row = pixels[:, 0] / pixels[:, 2], pixels[:, 1] / pixels[:, 2]
        inside = (local[:, 2] > 0) & (abs(column - cameras.size[1] / 2) < cameras.size[1] / 2)
        if not (inside & (abs(row - cameras.size[0] / 2) < cameras.size[0] / 2)).any():
            blind.append((name, local.mean(axis=0)))
    for name, centre in blind:
        message = (
            f"Camera {name!r} of {layout.root / 'KRT'} sees no vertex of the tracked mesh of {frame[0]}/{frame[1]}: its "
            f"centre lies at {np.round(centre, 1).tolist()} mm in the camera's frame (x right, y down, z forward). KRT "
            "must map world -> camera in mm and FRAME_transform.txt face-centric -> world; repair it, leave the camera out "
            "with data.cameras, or use data.on_bad_frame=skip."
        )
        inventory.bad(name, DataError(message))
    inventory.settle()
