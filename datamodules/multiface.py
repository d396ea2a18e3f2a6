"""Captures in Multiface's layout, with optional depth, mattes, region masks and ARKit weights."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarzoo import registry
from avatarzoo.batch import Camera, Driving, HeadBatch, Mesh, Meta, Texture, View
from avatarzoo.capture import CameraTable, CaptureSummary, Topology
from avatarzoo.datamodules import statistics
from avatarzoo.datamodules.arkit import read_arkit
from avatarzoo.datamodules.average_texture import BackProjector
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.datamodules.cache import atomic, capture_folder, digest, stamps
from avatarzoo.datamodules.formats import read_transform, read_vertices
from avatarzoo.datamodules.layout import Frame, Layout, carve, pairs, spread
from avatarzoo.datamodules.obj import read_obj
from avatarzoo.datamodules.pictures import png_size, read_png
from avatarzoo.datamodules.pieces import FORMAT, PictureStore, TextureStore, check_size, project_average, stored_average
from avatarzoo.datamodules.progress import track
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.geometry.cameras import resize_intrinsics
from avatarzoo.registry import register

log = logging.getLogger(__name__)

REGIONS = {"mouth": (255, 0, 0), "eyes": (0, 255, 0)}


@register("data", "multiface")
class Multiface(Capture):
    """Multi-view capture in Multiface's layout, read lazily; what it lacks is computed once and cached."""

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

        Raises:
            DataError: the folder is no such capture.
            ConfigError: an option names what is not there.
        """
        if on_bad_frame not in ("error", "skip"):
            raise ConfigError(f"data.on_bad_frame is {on_bad_frame!r}; expected 'error' or 'skip'.")
        for name, value in (("image_height", image_height), ("texture_size", texture_size), ("max_frames", max_frames)):
            if value is not None and value < 1:
                raise ConfigError(f"data.{name} is {value}; expected 1 or more.")
        if memory_mb < 0:
            raise ConfigError(f"data.memory_mb is {memory_mb}; expected 0 or more.")
        self.layout = Layout.open(root)
        self.image_height, self.texture_size, self.memory_mb = image_height, texture_size, memory_mb
        self.skip = on_bad_frame == "skip"
        self.cameras = self.layout.choose_cameras(cameras, "data.cameras")
        self.test_cameras = (
            self.cameras if test_cameras is None else self.layout.choose_cameras(test_cameras, "data.test_cameras")
        )
        self.texture_cameras = (
            self.cameras if texture_cameras is None else self.layout.choose_cameras(texture_cameras, "data.texture_cameras")
        )
        self.views = self.layout.choose_views(views)
        chosen = self.layout.choose_split(train_segments, test_segments)
        train = [f for f in self.layout.frames if f[0] in set(chosen["train"])]
        validation = carve(train, val_fraction)
        held = set(validation)
        self.frames: dict[str, list[Frame]] = {
            "train": spread([f for f in train if f not in held], max_frames),
            "val": spread(validation, max_frames),
            "test": spread([f for f in self.layout.frames if f[0] in set(chosen["test"])], max_frames),
        }
        self.splits = {
            "train": pairs(self.frames["train"], self.cameras),
            "val": pairs(self.frames["val"], self.cameras),
            "test": pairs(self.frames["test"], self.test_cameras),
        }
        self.skipped: list[str] = []
        self.folder = capture_folder(self.layout.root, cache_dir)
        path = self.layout.root / "arkit_weights.csv"
        self.arkit = read_arkit(path) if path.is_file() else None
        self.provides = {
            "view",
            "view.image",
            "view.camera",
            "mesh",
            "mesh.vertices",
            "mesh.head_pose",
            "texture",
            "texture.average",
            "texture.coverage",
            "driving",
            "driving.frame",
            "meta",
        }
        self.provides |= {"view.depth"} if self.layout.listing("depth") else set()
        self.provides |= {"view.foreground"} if self.layout.listing("mattes") else set()
        self.provides |= {"driving.arkit"} if self.arkit is not None else set()
        self._frame_ids = {frame: i for i, frame in enumerate(self.layout.frames)}
        self.tables = {
            "segment": self.layout.segments(),
            "frame": [name for _, name in self.layout.frames],
            "camera": list(self.layout.cameras),
            "subject": [self.layout.root.resolve().name],
        }
        self._ready = False

    # ---- preparing: every check before the first step ----

    def prepare(self) -> None:
        """Check every file that will be read, fill the cache and set ``summary``.

        Raises:
            DataError: names the file, what was expected and what to do.
        """
        if self._ready:
            return
        self._check_cameras()
        self._check_pictures()
        self.topology, self.obj_path = self._read_topology()
        self._check_frames()
        self._check_arkit()
        self.stored = self._stored_size()
        self.size = self._read_size()
        self.pictures = PictureStore(self.layout, self.folder, self.stored, self.size, self.memory_mb)
        samples = list(dict.fromkeys(s for split in ("train", "val", "test") for s in self.splits[split]))
        self.pictures.fill(samples, track, lambda sample, error: self._bad(str(error), sample=sample))
        for sample in track([s for s in samples if s not in self.pictures.rows], "Checking pictures"):
            self._check_headers(sample)
        self._fill_textures()
        self.camera_table = self._camera_table(self.size)
        self.summary = self._summarise()
        if self.skipped:
            log.warning("%d left out (data.on_bad_frame=skip):\n  %s", len(self.skipped), "\n  ".join(self.skipped))
        self._ready = True

    def _bad(
        self, message: str, *, sample: Sample | None = None, frame: Frame | None = None, camera: str | None = None
    ) -> None:
        """Raise, or drop what cannot be read from every split and remember why."""
        if not self.skip:
            raise DataError(message)
        if sample is not None:
            what = f"{sample.segment}/{sample.frame}/{sample.camera}"
        else:
            what = "/".join(frame) if frame is not None else f"camera {camera}"
        self.skipped.append(f"{what}: {message}")
        for split, samples in self.splits.items():
            self.splits[split] = [
                s for s in samples if s != sample and (s.segment, s.frame) != frame and s.camera != camera
            ]
            kept = {(s.segment, s.frame) for s in self.splits[split]}
            self.frames[split] = [f for f in self.frames[split] if f in kept]
        if not self.splits["train"]:
            raise DataError(f"Nothing is left to train on; the last thing left out was {what}: {message}")

    def _check_cameras(self) -> None:
        used = sorted({segment for frames in self.frames.values() for segment, _ in frames})
        with_pictures = {c for segment in used for c in self.layout.listing("images", segment)}
        for camera in dict.fromkeys([*self.cameras, *self.test_cameras]):
            if camera not in with_pictures:
                have = [c for c in self.cameras if c in with_pictures]
                self._bad(
                    f"Camera {camera!r} of {self.layout.root / 'KRT'} has no pictures (images/SEG/{camera}/). Restore "
                    f"them, leave it out with 'data.cameras=[{','.join(have)}]', or use data.on_bad_frame=skip.",
                    camera=camera,
                )

    def _check_pictures(self) -> None:
        for sample in dict.fromkeys(s for samples in self.splits.values() for s in samples):
            if not self.layout.has("images", sample):
                self._bad(
                    f"{self.layout.picture('images', sample)} is absent, though frame_list.txt and KRT name its frame and "
                    "camera. Restore it, remove the frame from frame_list.txt, or use data.on_bad_frame=skip.",
                    sample=sample,
                )

    def _read_topology(self) -> tuple[Topology, Path]:
        paths = self.layout.meshes_with_topology()
        if not paths:
            raise DataError(
                f"{self.layout.root / 'tracked_mesh'} has no SEG/FRAME.obj, so the triangles and UVs of the "
                "tracked mesh are unknown. Put one .obj of the topology (with UVs) beside any .bin."
            )
        path = paths[0]
        mesh = read_obj(path)
        sizes = Counter(
            self.layout.mesh(f).stat().st_size
            for frames in self.frames.values()
            for f in frames
            if self.layout.mesh(f).is_file()
        )
        if not sizes:
            raise DataError(f"{self.layout.root / 'tracked_mesh'} has no SEG/FRAME.bin of any listed frame. Restore them.")
        common = sizes.most_common(1)[0][0]
        self.vertex_count = common // 12
        if common % 12 or self.vertex_count < len(mesh.vertices):
            raise DataError(
                f"The .bin files have {common} bytes ({common / 12:g} vertices), but {path} has {len(mesh.vertices)} "
                "vertices. They belong to different topologies; restore the right .obj."
            )
        if self.vertex_count > len(mesh.vertices):
            log.warning(
                "%s has %d vertices, the .bin files %d; the last ones belong to no triangle.",
                path,
                len(mesh.vertices),
                self.vertex_count,
            )
        self._obj_vertices = mesh.vertices
        topology = Topology(
            torch.from_numpy(mesh.triangles),
            torch.from_numpy(mesh.uvs.astype(np.float32)),
            torch.from_numpy(mesh.uv_triangles),
        )
        return topology, path

    def _check_frames(self) -> None:
        self.poses: dict[Frame, np.ndarray] = {}
        for frame in track(list(dict.fromkeys(f for frames in self.frames.values() for f in frames)), "Checking meshes"):
            try:
                if not self.layout.mesh(frame).is_file():
                    raise DataError(
                        f"{self.layout.mesh(frame)} is absent, though frame_list.txt names the frame. Restore it, "
                        "remove the frame from frame_list.txt, or use data.on_bad_frame=skip."
                    )
                read_vertices(self.layout.mesh(frame), self.vertex_count)
                self.poses[frame] = read_transform(self.layout.transform(frame)).astype(np.float32)
            except DataError as error:
                self._bad(str(error), frame=frame)

    def _check_arkit(self) -> None:
        for frame in list(self.poses) if self.arkit is not None else []:
            if self.arkit is not None and frame not in self.arkit:
                self._bad(
                    f"{self.layout.root / 'arkit_weights.csv'} has no row for frame {frame[0]}/{frame[1]}. Add it, remove "
                    "the file, or use data.on_bad_frame=skip.",
                    frame=frame,
                )

    def _stored_size(self) -> tuple[int, int]:
        for sample in (s for split in ("train", "val", "test") for s in list(self.splits[split])):
            try:
                return png_size(self.layout.picture("images", sample), "picture")
            except DataError as error:
                self._bad(str(error), sample=sample)
        raise DataError(f"{self.layout.root / 'images'} has no picture that can be read.")

    def _read_size(self) -> tuple[int, int]:
        height, width = self.stored
        if self.image_height is None or self.image_height == height:
            return self.stored
        if self.image_height > height:
            raise ConfigError(
                f"data.image_height is {self.image_height}, but the pictures of {self.layout.root} are {width}x"
                f"{height}; give at most {height}, or leave it out."
            )
        return self.image_height, max(1, round(width * self.image_height / height))

    def _check_headers(self, sample: Sample) -> None:
        kinds = {"images": "picture", "depth": "depth", "mattes": "matte"}
        try:
            for part in self.pictures.parts:
                if part == "images" or self.layout.has(part, sample):
                    path = self.layout.picture(part, sample)
                    check_size(path, png_size(path, kinds[part]), self.stored)
        except DataError as error:
            self._bad(str(error), sample=sample)

    def _fill_textures(self) -> None:
        frames = list(dict.fromkeys(f for split in ("train", "val", "test") for f in self.frames[split]))
        bad = {line.split(":", 1)[0] for line in self.skipped}
        pictures = {
            frame: [
                s
                for s in pairs([frame], self.texture_cameras)
                if self.layout.has("images", s) and f"{s.segment}/{s.frame}/{s.camera}" not in bad
            ]
            for frame in frames
        }
        self.textures = TextureStore(self.layout, self.folder, self.texture_size, self.texture_cameras)
        cameras = self._camera_table(self.stored)
        shared = digest(FORMAT, stamps([self.obj_path]), cameras.K.tolist(), cameras.R.tolist(), cameras.t.tolist())
        projector: list[BackProjector] = []

        def compute(frame: Frame) -> np.ndarray:
            if self.layout.unwrapped(frame).is_file():
                return stored_average(self.layout.unwrapped(frame), self.texture_size)
            if not pictures[frame]:
                raise DataError(
                    f"No camera of data.texture_cameras has a picture of frame {frame[0]}/{frame[1]} to make its "
                    "average texture from. Restore them, or use data.on_bad_frame=skip."
                )
            if not projector:
                projector.append(BackProjector(self.topology, self.texture_size, registry.build("rasterizer", "warp")))
            seen_by = []
            for sample in pictures[frame]:
                path = self.layout.picture("images", sample)
                pixels = read_png(path, "picture")
                check_size(path, pixels.shape[:2], self.stored)
                seen_by.append(pixels)
            ids = [self.tables["camera"].index(s.camera) for s in pictures[frame]]
            chosen = Camera(cameras.K[ids], cameras.R[ids], cameras.t[ids], self.stored)
            return project_average(projector[0], self.vertices(frame), self.poses[frame], chosen, seen_by)

        self.textures.fill(frames, pictures, shared, compute, track, lambda f, error: self._bad(str(error), frame=f))

    def _camera_table(self, size: tuple[int, int]) -> CameraTable:
        records = list(self.layout.cameras.values())
        K = torch.from_numpy(np.stack([r.K for r in records]))
        if size != self.stored:
            K = resize_intrinsics(K, size[1] / self.stored[1], size[0] / self.stored[0])
        R, t = (torch.from_numpy(np.stack([getattr(r, name) for r in records])).float() for name in ("R", "t"))
        return CameraTable([r.name for r in records], K.float(), R, t, size, self.views)

    def _summarise(self) -> CaptureSummary:
        train = self.frames["train"]
        regions = self.layout.root / "uv_regions.png"
        made_from = [self.layout.mesh(f) for f in train] + [self.layout.transform(f) for f in train]
        key = digest(
            FORMAT,
            [self.textures.files[f].name for f in train],
            train,
            self.texture_size,
            self.size,
            self.views,
            stamps([self.layout.root / "KRT", self.layout.root / "arkit_weights.csv", regions, self.obj_path, *made_from]),
        )
        path = self.folder / f"summary-{key}.pt"
        if path.is_file():
            return CaptureSummary.from_plain(torch.load(path, weights_only=True))
        mean, std, nearest = statistics.vertex_statistics(lambda: map(self.vertices, train))
        texture_mean, texture_std, seen = statistics.texture_statistics(map(self.textures.read, track(train, "Statistics")))
        colour_mean, colour_axes = statistics.colour_statistics(texture_mean, seen)
        average, coverage = self.textures.read(train[nearest])
        summary = CaptureSummary(
            name=self.tables["subject"][0],
            topology=self.topology,
            cameras=self.camera_table,
            vertex_mean=mean,
            vertex_std=std,
            texture_mean=texture_mean,
            texture_std=texture_std,
            colour_mean=colour_mean,
            colour_axes=colour_axes,
            regions=read_regions(regions) if regions.is_file() else {},
            neutral_vertices=torch.from_numpy(self.vertices(train[nearest])),
            neutral_average=average.float() / 255,
            neutral_coverage=coverage.float(),
            head_pose=torch.from_numpy(self.poses[train[nearest]]),
            tables=self.tables,
            neutral_arkit=None if self.arkit is None else torch.from_numpy(self.arkit[train[nearest]]),
        )
        with atomic(path) as temporary:
            torch.save(summary.to_plain(), temporary)
        return summary

    # ---- reading ----

    def vertices(self, frame: Frame) -> np.ndarray:
        """Return a frame's tracked mesh, V,3 float32 mm, face-centric."""
        return read_vertices(self.layout.mesh(frame), self.vertex_count)

    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        """Read one picture as a batch of size 1.

        Args:
            sample: one of ``splits``.
            noise_key: goes into ``meta.noise_key``.

        Raises:
            DataError: a file changed since ``prepare`` or cannot be decoded.
        """
        frame = (sample.segment, sample.frame)
        index, camera = self._frame_ids[frame], self.tables["camera"].index(sample.camera)
        parts = self.pictures.read(sample)
        table = self.camera_table
        average, coverage = self.textures.read(frame)
        arkit = None if self.arkit is None else torch.from_numpy(self.arkit[frame])[None]

        def number(value: int) -> Tensor:
            return torch.tensor([value], dtype=torch.int64)

        return HeadBatch(
            meta=Meta(
                number(self.tables["segment"].index(sample.segment)),
                number(index),
                number(camera),
                number(0),
                number(noise_key),
                self.tables,
            ),
            view=View(
                camera=Camera(table.K[camera, None], table.R[camera, None], table.t[camera, None], self.size),
                image=torch.from_numpy(parts["images"])[None].float() / 255,
                foreground=torch.from_numpy(parts["mattes"])[None, None].float() / 255 if "mattes" in parts else None,
                depth=torch.from_numpy(parts["depth"])[None, None] if "depth" in parts else None,
            ),
            mesh=Mesh(torch.from_numpy(self.vertices(frame))[None], torch.from_numpy(self.poses[frame])[None]),
            texture=Texture(average[None].float() / 255, coverage[None].float()),
            driving=Driving(frame=number(index), arkit=arkit),
        )

    def manifest(self) -> dict[str, str]:
        """Return SHA-256 by path below the root of every file that samples are read from; remembered in the cache."""
        files = [self.layout.root / "KRT", self.obj_path]
        frames = dict.fromkeys(f for split in self.frames.values() for f in split)
        files += [path for f in frames for path in (self.layout.mesh(f), self.layout.transform(f))]
        files += [self.layout.unwrapped(f) for f in frames]
        files += [
            self.layout.root / n
            for n in ("frame_list.txt", "split.json", "views.json", "uv_regions.png", "arkit_weights.csv")
        ]
        samples = dict.fromkeys(s for split in self.splits.values() for s in split)
        samples |= dict.fromkeys(s for s in pairs(frames, self.texture_cameras) if self.layout.has("images", s))
        files += [self.layout.picture(part, s) for s in samples for part in self.pictures.parts if self.layout.has(part, s)]
        known_path = self.folder / "hashes.json"
        known = json.loads(known_path.read_text()) if known_path.is_file() else {}
        hashes = {}
        for path, size, time in track(stamps(p for p in files if p.is_file()), "Hashing files"):
            key = f"{Path(path).relative_to(self.layout.root)}|{size}|{time}"
            if key not in known:
                with open(path, "rb") as file:
                    known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[str(Path(path).relative_to(self.layout.root))] = known[key]
        with atomic(known_path) as temporary:
            temporary.write_text(json.dumps(known))
        return hashes


def read_regions(path: Path) -> dict[str, Tensor]:
    """Read the masks of named surface regions.

    Args:
        path: uv_regions.png, row 0 at v = 1: red is the mouth, green the eyes.

    Returns:
        R,R bool by name, row 0 at v = 0.

    Raises:
        DataError: unreadable, or not square.
    """
    pixels = read_png(path, "picture")
    if pixels.shape[0] != pixels.shape[1]:
        raise DataError(f"{path} is {pixels.shape[1]}x{pixels.shape[0]}; expected a square, the UV atlas.")
    upright = pixels[::-1].astype(np.int16)
    return {
        name: torch.from_numpy((np.abs(upright - np.array(colour)) < 128).all(axis=2).copy())
        for name, colour in REGIONS.items()
    }
