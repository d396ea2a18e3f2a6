"""Captures in Multiface's layout, with optional depth, mattes, region masks and ARKit weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from avatarzoo.batch import Camera, Driving, HeadBatch, Mesh, Meta, Texture, View
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules import inspection, statistics
from avatarzoo.datamodules.arkit import read_arkit
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.datamodules.cache import atomic, capture_folder, digest, file_hashes, stamps
from avatarzoo.datamodules.inventory import Inventory
from avatarzoo.datamodules.layout import Frame, Layout, pairs
from avatarzoo.datamodules.picture_store import FORMAT, PictureStore
from avatarzoo.datamodules.progress import track
from avatarzoo.datamodules.summaries import camera_table, read_regions, summarise
from avatarzoo.datamodules.texture_store import TextureMaker, TextureStore
from avatarzoo.datamodules.tracked_depth import SOURCES, TrackedDepth
from avatarzoo.datamodules.tracked_mesh import TrackedMesh
from avatarzoo.errors import ConfigError
from avatarzoo.registry import register

log = logging.getLogger(__name__)


@register("data", "multiface")
class Multiface(Capture):
    """Multi-view capture in Multiface's layout, read lazily; what it lacks is computed once and cached."""

    stand_ins = {"view.depth": "data.depth=tracked_mesh"}

    def __init__(
        self,
        *,
        root: str,
        image_height: int | None = None,
        texture_size: int = 512,
        train_segments: list[str] | None = None,
        test_segments: list[str] | None = None,
        val_fraction: float = 0.04,
        cameras: list[str] | None = None,
        test_cameras: list[str] | None = None,
        texture_cameras: list[str] | None = None,
        views: dict[str, str] | None = None,
        on_bad_frame: str = "error",
        cache_dir: str | None = None,
        memory_mb: int = 2048,
        max_frames: int | None = None,
        depth: str = "measured",
    ) -> None:
        """Look at the capture's layout; ``prepare`` checks and computes.

        Args:
            root: folder that holds KRT, images/ and tracked_mesh/.
            image_height: pictures, depth and K are shrunk to it; None keeps the stored size.
            texture_size: side of the average textures.
            train_segments, test_segments: names; None reads split.json, one alone leaves it the other segments.
            val_fraction: of the training frames, set aside evenly for "val".
            cameras: to train on (and validate); None = all of KRT.
            test_cameras: to test on; None = ``cameras``.
            texture_cameras: whose pictures make the average textures; None = ``cameras``.
            views: camera by name of a view; None reads views.json if it is there.
            on_bad_frame: "error" stops at the first file that cannot be read; "skip" leaves it out and lists it.
            cache_dir: None = $AVATARZOO_CACHE or ~/.cache/avatarzoo; never inside the capture.
            memory_mb: limit of the decoded pictures held in the cache, shared by all processes.
            max_frames: at most so many frames per split, spread evenly.
            depth: "measured" reads depth/, where there is one; "tracked_mesh" draws the tracked mesh's depth instead.

        Raises:
            DataError: the folder is no such capture.
            ConfigError: an option names what is not there.
        """
        if on_bad_frame not in ("error", "skip"):
            raise ConfigError(f"data.on_bad_frame is {on_bad_frame!r}; expected 'error' or 'skip'.")
        for name, value in (("image_height", image_height), ("texture_size", texture_size), ("max_frames", max_frames)):
            if value is not None and value < 1:
                raise ConfigError(f"data.{name} is {value}; expected 1 or more.")
        if depth not in SOURCES:
            raise ConfigError(f"data.depth is {depth!r}; expected {' or '.join(map(repr, SOURCES))}.")
        if memory_mb < 0:
            raise ConfigError(f"data.memory_mb is {memory_mb}; expected 0 or more.")
        layout = self.layout = Layout.open(root)
        self.depth = depth
        self.image_height, self.texture_size, self.memory_mb = image_height, texture_size, memory_mb
        self.cameras = layout.choose_cameras(cameras, "data.cameras")
        self.test_cameras, self.texture_cameras = (
            self.cameras if names is None else layout.choose_cameras(names, option)
            for names, option in ((test_cameras, "data.test_cameras"), (texture_cameras, "data.texture_cameras"))
        )
        self.views = layout.choose_views(views)
        frames = layout.choose_frames(train_segments, test_segments, val_fraction, max_frames)
        by_split = {"train": self.cameras, "val": self.cameras, "test": self.test_cameras}
        self.inventory = Inventory(frames, by_split, on_bad_frame == "skip")
        self.splits, self.skipped = self.inventory.splits, self.inventory.skipped
        path = layout.root / "arkit_weights.csv"
        self.arkit = read_arkit(path) if path.is_file() else None
        self.folder = capture_folder(layout.root, cache_dir)
        self.provides = {"view.image", "view.camera", "mesh.vertices", "mesh.head_pose", "driving.frame"}
        self.provides |= {"texture.average", "texture.coverage", "view", "mesh", "texture", "driving", "meta"}
        optional = {
            "view.depth": depth == "tracked_mesh" or layout.listing("depth"),
            "view.foreground": layout.listing("mattes"),
            "driving.arkit": self.arkit,
        }
        self.provides |= {field for field, there in optional.items() if there}
        self.tables = {
            "segment": layout.segments(),
            "frame": [name for _, name in layout.frames],
            "camera": list(layout.cameras),
            "subject": [layout.root.resolve().name],
        }
        self._ids = {
            "segment": {name: i for i, name in enumerate(self.tables["segment"])},
            "frame": {frame: i for i, frame in enumerate(layout.frames)},
            "camera": {name: i for i, name in enumerate(self.tables["camera"])},
        }
        self._ready = False

    def prepare(self) -> None:
        """Check every file that will be read, fill the cache and set ``summary``.

        Raises:
            DataError: names the file, what was expected and what to do.
        """
        if self._ready:
            return
        layout, inventory = self.layout, self.inventory
        inspection.check_presence(layout, inventory, list(dict.fromkeys([*self.cameras, *self.test_cameras])))
        self.mesh = TrackedMesh(layout, inventory.all_frames())
        self.mesh.check(track(inventory.all_frames(), "Checking meshes"), inventory.bad)
        inventory.settle()
        if self.arkit is not None:
            inspection.check_arkit(layout, inventory, self.arkit)
        stored = inspection.stored_size(layout, inventory)
        self.size = inspection.read_size(stored, self.image_height)
        self.camera_table = camera_table(layout.cameras.values(), stored, self.size, self.views)
        first = inventory.frames["train"][0]
        inspection.check_projection(
            layout, inventory, self.camera_table, first, self.mesh.vertices(first), self.mesh.poses[first]
        )
        self.pictures = PictureStore(layout, self.folder, stored, self.size, self.memory_mb)
        samples = inventory.all_samples()
        self.pictures.fill(samples, track, inventory.bad)
        rest = [s for s in samples if s not in self.pictures.rows and not inventory.is_dropped(s)]
        inspection.check_headers(layout, inventory, track(rest, "Checking pictures"), stored)
        self.textures = self._average_textures(stored)
        self.summary = self._summarise()
        self.summary.train_cameras = self.cameras_of("train")
        if self.skipped:
            log.warning("%d left out (data.on_bad_frame=skip):\n  %s", len(self.skipped), "\n  ".join(self.skipped))
        self._ready = True

    def _average_textures(self, stored: tuple[int, int]) -> TextureStore:
        layout, inventory = self.layout, self.inventory
        pictures = {
            frame: [
                s for s in pairs([frame], self.texture_cameras) if layout.has("images", s) and not inventory.is_dropped(s)
            ]
            for frame in inventory.all_frames()
        }
        cameras = camera_table(layout.cameras.values(), stored, stored, {})
        maker = TextureMaker(self.mesh, cameras, self.texture_size, inventory.bad)
        store = TextureStore(layout, self.folder, self.texture_size, self.texture_cameras)
        store.fill(pictures, maker, track, inventory.bad)
        inventory.settle()
        return store

    def _summarise(self) -> CaptureSummary:
        train, root = self.inventory.frames["train"], self.layout.root
        regions = root / "uv_regions.png"
        files = [root / "KRT", root / "arkit_weights.csv", regions, self.mesh.path]
        files += [path for frame in train for path in (self.layout.mesh(frame), self.layout.transform(frame))]
        names = [self.textures.files[frame].name for frame in train]
        shape = [f.name for f in fields(CaptureSummary)]  # a summary of another version is made anew
        key = digest(
            FORMAT,
            statistics.VERSION,
            shape,
            names,
            train,
            self.texture_size,
            self.size,
            self.views,
            self.tables,
            stamps(files),
        )
        path = self.folder / f"summary-{key}.pt"
        if path.is_file():
            return CaptureSummary.from_plain(torch.load(path, weights_only=True))
        masks = read_regions(regions) if regions.is_file() else {}
        ids = self._ids["frame"]
        summary = summarise(self.mesh, self.camera_table, train, self.textures.read, masks, self.arkit, self.tables, ids)
        with atomic(path) as temporary:
            torch.save(summary.to_plain(), temporary)
        return summary

    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        """Read one picture as a batch of size 1.

        Args:
            sample: one of ``splits``.
            noise_key: goes into ``meta.noise_key``.

        Raises:
            DataError: a file changed since ``prepare`` or cannot be decoded.
        """
        frame = (sample.segment, sample.frame)
        index, camera = self._ids["frame"][frame], self._ids["camera"][sample.camera]
        parts = self.pictures.read(sample)
        table = self.camera_table
        average, coverage = self.textures.read(frame)
        arkit = None if self.arkit is None else torch.from_numpy(self.arkit[frame])[None]
        eye = Camera(table.K[camera, None], table.R[camera, None], table.t[camera, None], self.size)

        def number(value: int) -> Tensor:
            return torch.tensor([value], dtype=torch.int64)

        return HeadBatch(
            meta=Meta(
                number(self._ids["segment"][sample.segment]),
                number(index),
                number(camera),
                number(0),
                number(noise_key),
                self.tables,
            ),
            view=View(
                camera=eye,
                image=torch.from_numpy(parts["images"])[None].float() / 255,
                foreground=torch.from_numpy(parts["mattes"])[None, None].float() / 255 if "mattes" in parts else None,
                depth=self._depth(frame, eye, parts),
            ),
            mesh=Mesh(torch.from_numpy(self.mesh.vertices(frame))[None], torch.from_numpy(self.mesh.poses[frame])[None]),
            texture=Texture(average[None].float() / 255, coverage[None].float()),
            driving=Driving(frame=number(index), arkit=arkit),
        )

    def _depth(self, frame: Frame, camera: Camera, parts: Mapping[str, np.ndarray]) -> Tensor | None:
        if self.depth == "tracked_mesh":
            drawer = TrackedDepth(self.mesh.topology.triangles)
            return drawer.draw(self.mesh.vertices(frame), self.mesh.poses[frame], camera)
        return torch.from_numpy(parts["depth"])[None, None] if "depth" in parts else None

    def manifest(self) -> dict[str, str]:
        """Return SHA-256 by path below the root of every file that samples are read from; remembered in the cache."""
        layout, frames = self.layout, self.inventory.all_frames()
        tables = ("KRT", "frame_list.txt", "split.json", "views.json", "uv_regions.png", "arkit_weights.csv")
        files = [*(layout.root / name for name in tables), self.mesh.path]
        for frame in frames:
            files += [layout.mesh(frame), layout.transform(frame), layout.unwrapped(frame)]
        for sample in dict.fromkeys([*self.inventory.all_samples(), *pairs(frames, self.texture_cameras)]):
            files += [layout.picture(part, sample) for part in self.pictures.parts if layout.has(part, sample)]
        return file_hashes(layout.root, files, self.folder / "hashes.json", track)
