"""Multiface's layout with one camera: the same files as many cameras have, read as a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.layout import Frame, Layout
from avatarzoo.datamodules.tracked_mesh import TrackedMesh
from avatarzoo.datamodules.tracked_videos.video import Shot, Video
from avatarzoo.errors import ConfigError, DataError


def is_multiface(root: Path) -> bool:
    """Return whether a folder looks like this layout."""
    return (root / "KRT").is_file()


def read_one_camera(
    root: Path,
    camera: str | None,
    train: Sequence[str] | None,
    test: Sequence[str] | None,
    on_bad: Callable[[Frame, DataError], None],
) -> Video:
    """Read the layout.

    Args:
        root: folder that holds KRT, images/ and tracked_mesh/.
        camera: which one; None where KRT has one alone.
        train, test: segments; None reads split.json.
        on_bad: told of frames whose mesh or pose cannot be read.

    Raises:
        ConfigError: several cameras and none chosen.
        DataError: the folder is no such capture.
    """
    layout = Layout.open(root)
    if camera is None and len(layout.cameras) != 1:
        raise ConfigError(
            f"{root / 'KRT'} has {len(layout.cameras)} cameras; choose one with data.camera=NAME "
            f"({', '.join(layout.cameras)}), or use all of them with data=multiface."
        )
    name = layout.choose_cameras([camera], "data.camera")[0] if camera else next(iter(layout.cameras))
    segments = layout.choose_split(train, test)
    split = {part: [f for f in layout.frames if f[0] in set(names)] for part, names in segments.items()}
    frames = [f for f in layout.frames if f in {*split["train"], *split["test"]}]
    mesh = TrackedMesh(layout, frames)
    mesh.check(frames, on_bad)
    shots = {}
    for segment, frame in frames:
        sample = Sample(segment, frame, name)
        matte = layout.picture("mattes", sample) if layout.listing("mattes") else None
        shots[sample] = Shot(layout.picture("images", sample), matte)
    sources = {f: layout.mesh(f) for f in frames}
    tables = [root / n for n in ("KRT", "frame_list.txt", "split.json", "uv_regions.png", "arkit_weights.csv")]
    chosen = {name: layout.cameras[name]}
    over = (0.0, 0.0, 0.0)  # pictures of this layout lie on black where it has mattes
    return Video("multiface", root, chosen, frames, shots, split, sources, mesh, over, None, [*tables, mesh.path])  # type: ignore
