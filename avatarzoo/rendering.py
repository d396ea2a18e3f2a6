"""Film an avatar: along a camera path, from the checkpoint alone or driven by a segment of a capture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from avatarzoo import checkpoint as checkpoints
from avatarzoo import pictures
from avatarzoo.batch import Camera, Driving, HeadBatch, Mesh, Meta, Prediction, Texture, View
from avatarzoo.build import build_capture
from avatarzoo.capture import CameraTable, CaptureSummary
from avatarzoo.comparing import camera_of, film_comparison
from avatarzoo.config import data_of
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.datamodules.example_take import example_take
from avatarzoo.datamodules.take import EXAMPLE, Take, read_take
from avatarzoo.devices import device_named
from avatarzoo.errors import ConfigError, DataError, did_you_mean
from avatarzoo.film import check_count, check_name, open_film
from avatarzoo.film_inputs import camera_named, check_inputs, segment_samples
from avatarzoo.geometry.cameras import face_to_camera, resize_intrinsics, to_camera
from avatarzoo.geometry.framing import fit_focal, look_at
from avatarzoo.geometry.paths import dolly, orbit
from avatarzoo.models.base import Avatar
from avatarzoo.rigs.flame import check_editions

WHAT = ("image", "normal", "depth", "mesh", "compare")
PATHS = ("orbit", "dolly")
FRAMINGS = ("head", "camera")
SHORTEST = 96  #: pictures of a film when nothing says how many: about four seconds


def render(
    checkpoint: str | Path,
    what: str = "image",
    path: str | None = None,
    segment: str | None = None,
    out: str | Path = "avatar.mp4",
    *,
    split: str | None = None,
    framing: str | None = None,
    yaw: float = 45.0,
    pitch: float = 12.0,
    overrides: Sequence[str] = (),
    source: str | Path | None = None,
    edition: str | None = None,
    size: int | None = None,
    frames: int | None = None,
    fps: int = 25,
    device: str = "auto",
    plugins: Sequence[str | Path] = (),
    quiet: bool = False,
) -> Path:
    """Film an avatar.

    Args:
        checkpoint: a run's folder or a checkpoint file; alone it gives the neutral face.
        what: "image", "normal" (camera frame as colours), "depth" (near is light), "mesh" (shaded, untextured), or
            "compare": the segment's pictures beside the avatar's and their difference, by one camera of the capture.
        path: "orbit" (default), "dolly", or "camera:NAME" for one of the capture's cameras or named views (the front one is
            the default of "compare").
        segment: of the capture; its frames drive the avatar, evenly spread over the film.
        split: "train", "val" or "test": of the segment, those frames alone; default: all.
        framing: "head": a square picture that keeps the whole head in it, from where the path's camera stands (default of
            orbit and dolly); "camera": that camera's own crop (default of "camera:NAME").
        yaw, pitch: degrees an orbit swings to either side; with yaw=180 it goes all the way round.
        out: video (.mp4, .mov, .mkv, .webm), .gif, .png for a single picture, or a folder of PNGs without suffix.
        overrides: where that capture lies, e.g. "data.root=DIR"; default: as in training.
        source: a take that drives the avatar by parameters alone (``datamodules.take``), in its own time at ``fps``;
            "example" is a take of seven seconds that needs no file.
        edition: of FLAME that the take's codes belong to, where its files do not say so themselves.
        size: height of the pictures in pixels; default: the height trained at.
        frames: number of pictures; default: one per driving frame, and at least four seconds where anything moves.
        fps: pictures per second.
        device: "cpu", "cuda" or "auto".
        plugins: Python files the checkpoint was made with.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        ConfigError: an unknown value, with the nearest known ones, or a model that cannot render from what there is.
        DataError: the capture has no such segment, or a take of another edition of FLAME.
    """
    out = Path(out)
    check_name(out)
    if what not in WHAT:
        raise ConfigError(f"what={what} is not known.{did_you_mean(what, WHAT)}")
    if overrides and segment is None:
        raise ConfigError(f"{' '.join(overrides)} says where a capture lies; say segment=NAME too, to be driven by it.")
    if source is not None and segment is not None:
        raise ConfigError(f"driver.source={source} and segment={segment} both drive the avatar; give one of them.")
    if split is not None and segment is None:
        raise ConfigError(f"split={split} is a part of a segment; say segment=NAME too.")
    if edition is not None and source is None:
        raise ConfigError(f"driver.edition={edition} is said of a take; say driver.source=FILE too.")
    if (size is not None and size < 2) or (frames is not None and frames < 1) or fps < 1:
        raise ConfigError(f"size={size} frames={frames} fps={fps}: give positive numbers (size at least 2).")
    given = {"size": size, "frames": frames, "framing": framing, "driver.source": source}
    if what == "compare" and (segment is None or any(v is not None for v in given.values())):
        extra = ", ".join(key for key, value in given.items() if value is not None)
        wrong = f"it takes the pictures as they are: leave out {extra}" if extra else "say segment=NAME"
        raise ConfigError(f"what=compare shows a segment of the capture beside the avatar; {wrong}.")
    asked, path = path, path or "orbit"
    framing = framing or ("camera" if path.startswith("camera:") else "head")
    if framing not in FRAMINGS:
        raise ConfigError(f"framing={framing} is not known.{did_you_mean(framing, FRAMINGS)}")
    if not (0 <= yaw <= 180 and 0 <= pitch <= 80):
        raise ConfigError(f"yaw={yaw} pitch={pitch}: give degrees, yaw in 0..180 and pitch in 0..80.")
    device = device_named(device)
    loaded = checkpoints.load(checkpoint, plugins, device)
    model, summary = loaded.model, loaded.summary
    if not isinstance(model, Avatar):
        raise ConfigError(f"model {loaded.config['model']['name']!r} renders no pictures.")

    if what == "compare":
        where = camera_of(asked, summary.cameras)
        return film_comparison(
            model, _capture(loaded.config, overrides), str(segment), where, out, fps, device, quiet, split
        )
    camera = path_start(path, summary.cameras, size)
    if framing == "head":
        camera = look_at(camera, *_centre_and_up(summary), camera.size[0])
    drivers = [None] if segment is None else _frames_of(loaded.config, overrides, segment, split)
    still = path.startswith("camera:") and segment is None
    count = frames or (1 if still or out.suffix.lower() == ".png" else max(SHORTEST, len(drivers)))
    take = None if source is None else _take_for(model, _read_take(source, summary, edition), summary).at(frames, fps)
    if take is not None:
        count = len(next(iter(take.signals.values())))
    check_count(out, count)
    poses = path_poses(path, camera, summary, count, yaw, pitch)
    if framing == "head":  # a dolly changes the distance: it is framed where it starts
        points = summary.neutral_vertices @ summary.head_pose[:, :3].T + summary.head_pose[:, 3]
        camera.K = fit_focal(points, poses[:1] if path == "dolly" else poses, camera.size[0])
    with Progress(disable=quiet) as bar, open_film(out, fps) as film:
        for i in bar.track(range(count), description=f"rendering {what}"):
            batch = _batch(summary, drivers[i * len(drivers) // count])
            if take is not None:
                batch.driving = _driving(batch.driving, take, i)
            R, t = poses[i]
            batch.view = View(replace(camera, R=R[None], t=t[None]))
            check_inputs(model, batch, segment is not None)
            batch = batch.to(device)
            film.add(pictures.to_uint8(draw(model.render(batch), batch, what, summary)))
    return out


def path_start(path: str, table: CameraTable, size: int | None) -> Camera:
    """Return the camera a path starts from: the one it names, else the view "Front", else the first.

    Args:
        path: see ``render``.
        table: the capture's cameras.
        size: height in pixels, or None for the table's.

    Returns:
        One camera with even height and width, as video wants them.

    Raises:
        ConfigError: unknown path or camera.
    """
    kind, _, name = path.partition(":")
    known = [*table.names, *table.views]
    if kind not in (*PATHS, "camera") or (kind == "camera") != bool(name):
        raise ConfigError(f"path={path} is not known; give orbit, dolly or camera:NAME with one of {', '.join(known)}.")
    index = table.names.index(camera_named(name or None, table))
    height = table.size[0] if size is None else size
    height += height % 2
    scale = height / table.size[0]
    width = max(2, 2 * round(table.size[1] * scale / 2))
    K = resize_intrinsics(table.K[index], scale, scale)
    return Camera(K[None], table.R[index][None], table.t[index][None], (height, width))


def path_poses(
    path: str, camera: Camera, summary: CaptureSummary, frames: int, yaw: float = 45.0, pitch: float = 12.0
) -> list[tuple[Tensor, Tensor]]:
    """Return (R, t) of every picture of a path around the neutral head.

    Args:
        path: see ``render``.
        camera: from ``path_start``.
        summary: says where the head stands.
        frames: number of pictures.
        yaw, pitch: of an orbit, degrees.
    """
    R, t = camera.R[0], camera.t[0]
    centre, up = _centre_and_up(summary)
    if path == "orbit":
        return orbit(R, t, centre, up, frames, yaw, pitch)
    if path == "dolly":
        return dolly(R, t, centre, frames)
    return [(R, t)] * frames


def _centre_and_up(summary: CaptureSummary) -> tuple[Tensor, Tensor]:
    """Return the middle of the neutral head (3 mm) and its up direction, in the world."""
    rotation, shift = summary.head_pose[:, :3], summary.head_pose[:, 3]
    low, high = summary.neutral_vertices.amin(0), summary.neutral_vertices.amax(0)
    return rotation @ ((low + high) / 2) + shift, rotation[:, 1]


def neutral_batch(summary: CaptureSummary) -> HeadBatch:
    """Return a batch of one whose inputs give the neutral code; it has no view.

    Args:
        summary: from the checkpoint.
    """
    zero = torch.zeros(1, dtype=torch.int64)
    arkit = None if summary.neutral_arkit is None else summary.neutral_arkit[None]
    flame = None if summary.neutral_flame is None else {k: v[None] for k, v in summary.neutral_flame.items()}
    return HeadBatch(
        meta=Meta(zero, zero, zero, zero, zero, summary.tables),
        mesh=Mesh(summary.neutral_vertices[None], summary.head_pose[None]),
        texture=Texture(summary.neutral_average[None], summary.neutral_coverage[None]),
        driving=Driving(frame=zero + summary.neutral_frame, arkit=arkit, flame=flame),
    )


def _frames_of(config: dict, overrides: Sequence[str], segment: str, split: str | None) -> list[tuple[Capture, Sample]]:
    """Return one sample per frame of a segment, in order."""
    capture = _capture(config, overrides)
    first = {s.frame: s for s in reversed(segment_samples(capture, segment, split))}
    return [(capture, first[frame]) for frame in sorted(first)]


def _capture(config: dict, overrides: Sequence[str]) -> Capture:
    capture = build_capture({"data": data_of(config, overrides)})
    capture.prepare()
    return capture


def _batch(summary: CaptureSummary, driver: tuple[Capture, Sample] | None) -> HeadBatch:
    return neutral_batch(summary) if driver is None else driver[0].read(driver[1])


def _read_take(source: str | Path, summary: CaptureSummary, edition: str | None) -> Take:
    if str(source) == EXAMPLE:
        return example_take(summary.neutral_arkit, summary.neutral_flame, summary.flame_edition)
    take = read_take(source)
    return take if edition is None else replace(take, edition=edition)


def _take_for(model: Avatar, take: Take, summary: CaptureSummary) -> Take:
    """Check that a take drives a model: it gives every signal that the model reads."""
    wanted = [p for p in model.requires if p.startswith(("driving.arkit", "driving.flame"))]
    missing = [p for p in wanted if p not in take.signals]
    driver = getattr(getattr(model, "driver", None), "registered_name", None)
    if not wanted:
        what = {"pictures": "pictures", "tracked mesh": "tracked meshes"}.get(model.test_inputs, ", ".join(model.requires))
        by, start = (f" (driver={driver})", "train with") if driver else ("", "train recipe=pica_full")
        fits = "driver=flame" if take.arkit is None else "driver=arkit"
        meshes = " Meshes of a capture drive this one: segment=NAME data.root=DIR." if what == "tracked meshes" else ""
        raise ConfigError(
            f"driver.source={take.name} gives {', '.join(take.signals)}, but this model is driven by {what}{by}; "
            f"{start} {fits} to drive it by {'parameters' if take.arkit is None else 'weights'}.{meshes}"
        )
    if missing:
        reads = ", ".join(wanted)
        raise ConfigError(
            f"driver.source={take.name} gives {', '.join(take.signals)}; this model is driven by {reads}. "
            "A take drives a model trained with driver=arkit or driver=flame."
        )
    if take.flame is not None:
        try:
            check_editions(summary.flame_edition, take.edition, f"driver.source={take.name}")
        except DataError as error:
            own = f"If its codes were made for the avatar's model after all, say driver.edition={summary.flame_edition}."
            raise DataError(f"{error} {own}") from error
    return take


def _driving(neutral: Driving | None, take: Take, row: int) -> Driving:
    """Return one row of a take over the neutral signals."""
    neutral = neutral or Driving()
    arkit = neutral.arkit if take.arkit is None else take.arkit[row, None]
    flame = neutral.flame if take.flame is None else {name: value[row, None] for name, value in take.flame.items()}
    return Driving(frame=neutral.frame, arkit=arkit, flame=flame)


def draw(prediction: Prediction, batch: HeadBatch, what: str, summary: CaptureSummary) -> Tensor:
    """Turn one prediction into a picture.

    Args:
        prediction: of a batch of one.
        batch: that batch.
        what: one of ``WHAT``.
        summary: gives the head's extent, so that depth keeps its colours along a film.

    Returns:
        H,W,3 float32 in 0..1.

    Raises:
        ConfigError: the model gives no such thing.
    """
    if what == "image":
        return pictures.to_picture(prediction.image[0])  # type: ignore[index]
    camera, pose = batch.view.camera, batch.mesh.head_pose  # type: ignore[union-attr]
    R, t = face_to_camera(camera, pose)
    if what == "depth":
        if prediction.depth is None:
            raise ConfigError("what=depth: this model gives no depth.")
        head = to_camera(summary.neutral_vertices.to(R)[None], R, t)[0, :, 2]
        margin = 0.1 * (head.max() - head.min())
        return pictures.depth_colours(prediction.depth[0, 0], float(head.min() - margin), float(head.max() + margin))
    raster, triangles = prediction.extras.get("raster"), prediction.extras.get("mesh_triangles")
    if raster is not None and triangles is not None and prediction.vertices is not None:
        normals = pictures.raster_normals(to_camera(prediction.vertices.float(), R, t)[0], triangles, raster[0])
    elif what == "normal" and prediction.depth is not None:
        normals = pictures.depth_normals(prediction.depth[0, 0], camera.K[0])
    else:
        raise ConfigError(f"what={what}: this model draws no mesh{'' if what == 'mesh' else ' and gives no depth'}.")
    if what == "mesh":
        return pictures.shade(normals)
    # The topology may wind either way; most of what is seen faces the camera.
    return pictures.normal_colours(-normals if normals[..., 2].sum() > 0 else normals)
