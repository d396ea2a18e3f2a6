"""Tracked videos: one head, usually one camera, in the layouts that monocular methods exchange."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from avatarzoo.batch import HeadBatch
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules import inspection
from avatarzoo.datamodules.arkit import read_arkit
from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.cache import capture_folder, file_hashes
from avatarzoo.datamodules.inventory import Inventory
from avatarzoo.datamodules.layout import Frame, carve, spread
from avatarzoo.datamodules.multiface import Multiface
from avatarzoo.datamodules.progress import track
from avatarzoo.datamodules.summaries import camera_table, read_regions, summarise
from avatarzoo.datamodules.texture_store import TextureMaker, TextureStore
from avatarzoo.datamodules.tracked_depth import SOURCES
from avatarzoo.datamodules.tracked_videos.flame_mesh import LAYOUT as FLAME_LAYOUT
from avatarzoo.datamodules.tracked_videos.imavatar import HALF_PIXEL, is_imavatar, read_imavatar
from avatarzoo.datamodules.tracked_videos.insta import is_insta, read_insta
from avatarzoo.datamodules.tracked_videos.one_camera import is_multiface, read_one_camera
from avatarzoo.datamodules.tracked_videos.shots import (
    BACKGROUNDS,
    ShotStore,
    background_colour,
    composite,
    decode,
    picture_size,
)
from avatarzoo.datamodules.tracked_videos.vhap import COLOURS, is_vhap, read_vhap
from avatarzoo.datamodules.tracked_videos.video import MeshTable, OnBad, Video, refuse
from avatarzoo.errors import ConfigError, DataError, did_you_mean, near_path
from avatarzoo.registry import register

log = logging.getLogger(__name__)

LAYOUTS = {"multiface": is_multiface, "vhap": is_vhap, "insta": is_insta, "imavatar": is_imavatar}
STATES = "KRT (multiface), transforms*.json with meshes/ (insta) or flame_param/ (vhap), or flame_params.json (imavatar)"


@register("data", "monocular")
class Monocular(Multiface):
    """Tracked video: INSTA, IMavatar / PointAvatar, VHAP export, or Multiface's layout with one camera."""

    def __init__(
        self,
        *,
        root: str,
        layout: str = "auto",
        image_height: int | None = None,
        texture_size: int = 512,
        background: str = "black",
        camera: str | None = None,
        train_segments: list[str] | None = None,
        test_segments: list[str] | None = None,
        test_fraction: float = 0.1,
        val_fraction: float = 0.04,
        flame: str | None = None,
        flame_edition: str | None = None,
        flame_uv: str | None = None,
        topology: str | None = None,
        pixel_centres: str = "imavatar",
        cy_origin: str = "bottom",
        composited_on: str = "white",
        depth: str = "measured",
        on_bad_frame: str = "error",
        cache_dir: str | None = None,
        memory_mb: int = 2048,
        max_frames: int | None = None,
    ) -> None:
        """Look at the layout; ``prepare`` checks and computes.

        Args:
            root: the capture's folder.
            layout: "auto", "insta", "imavatar", "vhap" or "multiface".
            image_height: pictures and K are shrunk to it; None keeps the stored size.
            texture_size: side of the average textures.
            background: behind the matte: "black", "white", or "random" (a new colour for each look at a training picture;
                others lie on black). Without mattes the pictures stay as they are.
            camera: of Multiface's layout, where it has several.
            train_segments, test_segments: of Multiface's layout; None reads split.json. Of IMavatar's several videos,
                test_segments names those that test.
            test_fraction: share of the last frames that test, where a layout has no split of its own.
            val_fraction: of the training frames, set aside evenly for "val".
            flame: FLAME model for layouts of parameters: a file or folder, None for AVATARZOO_FLAME, or "flame_layout" for
                AvatarZoo's own head of that layout.
            flame_edition: of that model; None reads it off the file's name.
            flame_uv: an .obj with FLAME's UVs; None looks beside the model.
            topology: INSTA: an .obj with UVs for the meshes, where they have none.
            pixel_centres: IMavatar's layout: whose reading of the intrinsics, "imavatar" or "pointavatar".
            cy_origin: VHAP: cy counts from the "bottom", or in exports from before November 2024 from the "top".
            composited_on: VHAP: colour the pictures lie on already, "white" or "black".
            depth: "measured" (there is none), or "tracked_mesh" draws the tracked mesh's depth.
            on_bad_frame: "error" stops at the first file that cannot be read; "skip" leaves it out and lists it.
            cache_dir: None = $AVATARZOO_CACHE or ~/.cache/avatarzoo; never inside the capture.
            memory_mb: limit of the decoded pictures held in the cache.
            max_frames: at most so many frames per split, spread evenly.

        Raises:
            DataError: the folder is of none of these layouts, or something it names is missing.
            ConfigError: an option is out of range.
        """
        choices = {
            "layout": (layout, ("auto", *LAYOUTS)),
            "background": (background, (*BACKGROUNDS, "random")),
            "pixel_centres": (pixel_centres, tuple(HALF_PIXEL)),
            "cy_origin": (cy_origin, ("bottom", "top")),
            "composited_on": (composited_on, tuple(COLOURS)),
            "on_bad_frame": (on_bad_frame, ("error", "skip")),
            "depth": (depth, SOURCES),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                raise ConfigError(f"data.{name} is {value!r}.{did_you_mean(str(value), known)}")
        for name, number in (("image_height", image_height), ("texture_size", texture_size), ("max_frames", max_frames)):
            if number is not None and number < 1:
                raise ConfigError(f"data.{name} is {number}; expected 1 or more.")
        for name, file in (("flame", flame), ("flame_uv", flame_uv), ("topology", topology)):
            if file is not None and file != FLAME_LAYOUT and not Path(file).expanduser().exists():
                raise ConfigError(f"data.{name}={file} does not exist.{near_path(Path(file).expanduser())}")
        if not 0 < test_fraction < 1:
            raise ConfigError(f"data.test_fraction is {test_fraction}; expected between 0 and 1.")
        folder = Path(root).expanduser()
        bad: list[tuple[Frame | Sample, DataError]] = []
        left_out: OnBad = (lambda what, why: bad.append((what, why))) if on_bad_frame == "skip" else refuse
        kind = layout if layout != "auto" else recognise(folder)
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}. Set data.root to a capture.")
        if kind == "multiface":
            video = read_one_camera(folder, camera, train_segments, test_segments, left_out)
        elif kind == "insta":
            video = read_insta(folder, topology, test_fraction, left_out)
        elif kind == "vhap":
            model = (flame, flame_edition, flame_uv)
            video = read_vhap(folder, *model, cy_origin, composited_on, test_fraction, left_out)
        else:
            model = (flame, flame_edition, flame_uv)
            video = read_imavatar(folder, *model, pixel_centres, test_fraction, test_segments, left_out)
        self.layout, self.mesh, self.background, self.depth = video, video.surface, background, depth  # type: ignore
        self.image_height, self.texture_size, self.memory_mb = image_height, texture_size, memory_mb
        self._reading = {"pixel_centres": pixel_centres, "cy_origin": cy_origin, "composited_on": composited_on}
        self.cameras = self.test_cameras = self.texture_cameras = list(video.cameras)
        self.views = {"Front": self.cameras[0]} if len(self.cameras) == 1 else {}
        self.inventory = _inventory(video, val_fraction, max_frames, on_bad_frame == "skip")
        for what, error in bad:
            self.inventory.bad(what, error)
        self.inventory.settle()
        self.splits, self.skipped = self.inventory.splits, self.inventory.skipped
        weights = folder / "arkit_weights.csv"
        self.arkit = read_arkit(weights) if kind == "multiface" and weights.is_file() else None
        self.folder = capture_folder(folder, cache_dir)
        self.provides = {"view.image", "view.camera", "mesh.vertices", "mesh.head_pose", "driving.frame"}
        self.provides |= {"texture.average", "texture.coverage", "view", "mesh", "texture", "driving", "meta"}
        self.provides |= {"view.foreground", "view.background"} if video.listing("mattes") else set()
        self.provides |= {"driving.arkit"} if self.arkit else set()
        self.provides |= {"view.depth"} if depth == "tracked_mesh" else set()
        self.flame = {} if video.flame is None else video.flame.driving()
        self.flame = {name: value for name, value in self.flame.items() if name == "expression" or kind != "insta"}
        self.provides |= {f"driving.flame.{name}" for name in self.flame}
        segments = list(dict.fromkeys(segment for segment, _ in video.frames))
        self.tables = {
            "segment": segments,
            "frame": [name for _, name in video.frames],
            "camera": self.cameras,
            "subject": [folder.resolve().name],
        }
        self._ids = {
            "segment": {name: i for i, name in enumerate(segments)},
            "frame": {frame: i for i, frame in enumerate(video.frames)},
            "camera": {name: i for i, name in enumerate(self.cameras)},
        }
        self._training = {(s.segment, s.frame) for s in self.splits["train"]}
        self._ready = False

    def prepare(self) -> None:
        """Check every file that will be read, fill the cache and set ``summary``.

        Raises:
            DataError: names the file, what was expected and what to do.
        """
        if self._ready:
            return
        video: Video = self.layout  # type: ignore[assignment]
        inventory = self.inventory
        self._check_presence()
        if isinstance(video.surface, MeshTable):
            video.surface.store(self.folder, track)
        for frame in track(inventory.all_frames(), "Checking meshes"):
            try:
                self.mesh.vertices(frame)
            except DataError as error:
                inventory.bad(frame, error)
        inventory.settle()
        if self.arkit is not None:
            inspection.check_arkit(video, inventory, self.arkit)  # type: ignore[arg-type]
        stored = self._stored_size()
        self.size = inspection.read_size(stored, self.image_height)
        self.camera_table = camera_table(video.cameras.values(), stored, self.size, self.views)
        self._check_projection()
        self.pictures = ShotStore(video, self.folder, stored, self.size, self.memory_mb)  # type: ignore[arg-type]
        self.pictures.fill(inventory.all_samples(), track, inventory.bad)
        inventory.settle()
        self.textures = self._average_textures(stored)
        self.summary = self._summarise()
        self.summary.train_cameras = self.cameras_of("train")
        if self.skipped:
            log.warning("%d left out (data.on_bad_frame=skip):\n  %s", len(self.skipped), "\n  ".join(self.skipped))
        self._ready = True

    def _check_presence(self) -> None:
        video: Video = self.layout  # type: ignore[assignment]
        for sample in self.inventory.all_samples():
            shot = video.shots[sample]
            for path in (shot.picture, shot.matte):
                if path is not None and not path.is_file():
                    message = (
                        f"{path} is absent, though its frame is listed. Restore it, remove the frame, or use "
                        "data.on_bad_frame=skip."
                    )
                    self.inventory.bad(sample, DataError(message))
                    break
        self.inventory.settle()

    def _stored_size(self) -> tuple[int, int]:
        """Return the size of the first training picture that has one."""
        for sample in self.inventory.splits["train"]:
            try:
                size = picture_size(self.layout.shots[sample].picture)  # type: ignore[attr-defined]
            except DataError as error:
                self.inventory.bad(sample, error)
                continue
            break
        self.inventory.settle()  # raises where nothing is left
        return size

    def _check_projection(self) -> None:
        """Check that cameras see the middle of the head, which catches units, axes and inverted poses."""
        table = self.camera_table
        height, width = self.size
        first = self.inventory.splits["train"][0]
        frame, index = (first.segment, first.frame), self._ids["camera"][first.camera]
        pose = self.mesh.poses[frame].astype(np.float64)
        vertices = self.mesh.vertices(frame).astype(np.float64)
        world = vertices @ pose[:, :3].T + pose[:, 3]
        local = world @ table.R[index].double().numpy().T + table.t[index].double().numpy()
        pixels = local @ table.K[index].double().numpy().T
        with np.errstate(divide="ignore", invalid="ignore"):
            column, row = (pixels[:, i] / pixels[:, 2] for i in (0, 1))
        seen = (local[:, 2] > 0) & (abs(column - width / 2) < width / 2) & (abs(row - height / 2) < height / 2)
        if seen.mean() < 0.25:
            raise DataError(
                f"{self.layout.root}: camera {first.camera!r} sees {seen.mean():.0%} of the tracked mesh of "
                f"{frame[0]}/{frame[1]}; its middle lies at {np.round(local.mean(0), 1).tolist()} mm in the camera's frame "
                "(x right, y down, z forward). The layout's units or axes are not those of docs/data/monocular.md; check "
                "data.layout, and for VHAP data.cy_origin."
            )
        if local[vertices[:, 1].argmax(), 1] > local[:, 1].mean():
            log.warning("%s: the head is upside down in camera %r.", self.layout.root, first.camera)

    def _average_textures(self, stored: tuple[int, int]) -> TextureStore:
        video: Video = self.layout  # type: ignore[assignment]
        inventory = self.inventory
        pictures = {
            (s.segment, s.frame): [
                Sample(s.segment, s.frame, c) for c in self.cameras if Sample(s.segment, s.frame, c) in video.shots
            ]
            for s in inventory.all_samples()
        }
        cameras = camera_table(video.cameras.values(), stored, stored, {})
        maker = _ShotTextures(self.mesh, cameras, self.texture_size, inventory.bad)
        store = TextureStore(video, self.folder, self.texture_size, self.texture_cameras)  # type: ignore[arg-type]
        store.fill(pictures, maker, track, inventory.bad)
        inventory.settle()
        return store

    def _summarise(self) -> CaptureSummary:
        regions = self.layout.root / "uv_regions.png"
        masks = read_regions(regions) if regions.is_file() else {}
        train, ids = self.inventory.frames["train"], self._ids["frame"]
        made = summarise(
            self.mesh, self.camera_table, train, self.textures.read, masks, self.arkit, self.tables, ids, self.flame
        )
        if self.flame:
            made.flame_edition = self.layout.flame.edition  # type: ignore[attr-defined]
        return made

    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        """Read one picture as a batch of size 1.

        Args:
            sample: one of ``splits``.
            noise_key: goes into ``meta.noise_key``; a random background is a function of it.
        """
        batch = super().read(sample, noise_key)
        frame = (sample.segment, sample.frame)
        if self.flame:
            index = self._ids["frame"][frame]
            batch.driving.flame = {name: value[index, None] for name, value in self.flame.items()}  # type: ignore[union-attr]
        view = batch.view
        if view is not None and view.foreground is not None:
            colour = background_colour(self.background, noise_key, frame in self._training)[None]
            view.image, view.background = composite(view.image, view.foreground, colour), colour  # type: ignore[arg-type]
        return batch

    def picture_options(self, split: str) -> dict[str, str]:
        """Return what lies behind the matte and how the layout's numbers are read (see ``Capture``).

        Args:
            split: of the capture; pictures that do not train lie on black under background=random.
        """
        behind = "black" if self.background == "random" and split != "train" else self.background
        return {"background": behind, **self._reading}

    def manifest(self) -> dict[str, str]:
        """Return SHA-256 by path of every file that samples are read from; remembered in the cache."""
        video: Video = self.layout  # type: ignore[assignment]
        files = [p for p in video.tables if p.is_relative_to(video.root)]
        files += [video.sources[f] for f in self.inventory.all_frames()]
        files += [p for s in self.inventory.all_samples() for p in (video.shots[s].picture, video.shots[s].matte) if p]
        return file_hashes(video.root, dict.fromkeys(files), self.folder / "hashes.json", track)


class _ShotTextures(TextureMaker):
    """Average textures from pictures on black."""

    def read_picture(self, layout: Video, sample: Sample) -> np.ndarray:  # type: ignore[override]
        """Return H,W,3 uint8."""
        return decode(layout.shots[sample], layout.over)[0]


def recognise(folder: Path) -> str:
    """Return which layout a folder is.

    Args:
        folder: the capture.

    Raises:
        DataError: none of them.
    """
    if not folder.is_dir():
        near = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
        raise DataError(f"There is no folder {folder}. Set data.root to a capture.{did_you_mean(folder.name, near)}")
    for name, looks_like in LAYOUTS.items():
        if looks_like(folder):
            return name
    held = ", ".join(sorted(p.name for p in folder.iterdir())[:12]) or "nothing"
    raise DataError(f"{folder} is no tracked video: it has none of {STATES}. It holds: {held}. Point data.root at one.")


def _inventory(video: Video, val_fraction: float, limit: int | None, skip: bool) -> Inventory:
    """Carve validation frames and pair frames with the cameras that have pictures of them."""
    train = video.split["train"]
    held = set(carve(train, val_fraction))
    frames = {
        "train": spread([f for f in train if f not in held], limit),
        "val": spread([f for f in train if f in held], limit),
        "test": spread(video.split.get("test", []), limit),
    }
    inventory = Inventory(frames, {part: list(video.cameras) for part in frames}, skip)
    for part, samples in inventory.splits.items():  # a multi-camera export may lack a camera at a timestep
        inventory.splits[part] = [s for s in samples if s in video.shots]
    if not inventory.splits["train"]:
        raise DataError(f"{video.root} leaves no frame to train on.")
    return inventory
