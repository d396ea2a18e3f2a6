"""The synthetic capture: a procedural head with exact ground truth; no download, no licence, made in seconds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarzoo import registry
from avatarzoo.batch import Camera, Driving, HeadBatch, Mesh, Meta, Texture, View
from avatarzoo.capture import CaptureSummary, Topology
from avatarzoo.datamodules import statistics
from avatarzoo.datamodules.average_texture import BackProjector
from avatarzoo.datamodules.base import Capture, Sample
from avatarzoo.datamodules.cache import default_folder, digest
from avatarzoo.datamodules.flame_layout.mesh import layout_regions
from avatarzoo.datamodules.flame_layout.model import EDITION, FlameLayout, layout_digest
from avatarzoo.datamodules.layout import Frame, carve, pairs
from avatarzoo.datamodules.procedural.cameras import make_cameras
from avatarzoo.datamodules.procedural.export import write_multiface
from avatarzoo.datamodules.procedural.layout import region_masks
from avatarzoo.datamodules.procedural.lock import exclusive
from avatarzoo.datamodules.procedural.performance import perform
from avatarzoo.datamodules.procedural.scene import Scene, source_digest
from avatarzoo.datamodules.progress import track
from avatarzoo.errors import ConfigError, DataError, did_you_mean
from avatarzoo.registry import register

__all__ = ["Synthetic", "write_multiface"]

log = logging.getLogger(__name__)

RIGS = ("procedural", "flame_layout")


@register("data", "synthetic")
class Synthetic(Capture):
    """Procedural talking head from several cameras: no download, no licence, exact ground truth."""

    def __init__(
        self,
        *,
        seed: int = 0,
        image_height: int = 256,
        texture_size: int = 512,
        cameras: int = 10,
        train_frames: int = 48,
        test_frames: int = 8,
        val_fraction: float = 0.04,
        cache_dir: str | None = None,
        memory_mb: int = 4096,
        rig: str = "procedural",
    ) -> None:
        """Describe the capture; ``prepare`` makes it, or finds it in the cache.

        Args:
            seed: of the person's colours and skin, the performance, and the cameras; 0 is the one in the documentation.
            image_height: of the pictures; they are 0.65 times as wide.
            texture_size: side of the average textures.
            cameras: how many; the first five are the views Front, Up, Down, Left and Right.
            train_frames: shared among four segments.
            test_frames: of the held-out segment.
            val_fraction: of the training frames, set aside evenly for "val".
            cache_dir: None = $AVATARZOO_CACHE or ~/.cache/avatarzoo.
            memory_mb: limit of the size of what is made, on disk; it is mapped, and shared by all processes.
            rig: the tracked mesh: "procedural" (7,330 vertices, no parameters), or "flame_layout" (FLAME's layout, 5,023
                vertices, eyeballs included), which comes with FLAME parameters of every frame.

        Raises:
            ConfigError: an option is out of range, or the capture would be larger than ``memory_mb``.
        """
        least = {"image_height": 16, "texture_size": 8, "cameras": 1, "train_frames": 1, "test_frames": 1}
        given = dict(zip(least, (image_height, texture_size, cameras, train_frames, test_frames), strict=True))
        for name, value in given.items():
            if value < least[name]:
                raise ConfigError(f"data.{name} is {value}; expected {least[name]} or more.")
        if rig not in RIGS:
            raise ConfigError(f"data.rig is {rig!r}.{did_you_mean(rig, RIGS)}")
        self.table = make_cameras(cameras, image_height, seed)
        self.size = self.table.size
        self.performance = perform(train_frames, test_frames, seed)
        frames = self.performance.frames
        megabytes = len(frames) * (cameras * self.size[0] * self.size[1] * 8 + texture_size**2 * 4) / 2**20
        if megabytes > memory_mb:
            raise ConfigError(
                f"This synthetic capture would take {megabytes:.0f} MB, more than data.memory_mb={memory_mb}. Raise the "
                "limit, or lower data.image_height, data.cameras or data.train_frames."
            )
        self.seed, self.texture_size = seed, texture_size
        self._options = {"seed": seed, **given}
        self.layout = rig == "flame_layout"
        if self.layout:
            self._options |= {"rig": layout_digest()}
        train = [f for f in frames if self.performance.split[f[0]] == "train"]
        held = set(carve(train, val_fraction))
        self.frames: dict[str, list[Frame]] = {
            "train": [f for f in train if f not in held],
            "val": [f for f in train if f in held],
            "test": [f for f in frames if self.performance.split[f[0]] == "test"],
        }
        self.splits = {name: pairs(chosen, self.table.names) for name, chosen in self.frames.items()}
        self.skipped: list[str] = []
        self.tables = {
            "segment": list(self.performance.split),
            "frame": [name for _, name in frames],
            "camera": self.table.names,
            "subject": [f"synthetic_{seed}"],
        }
        self.provides = {
            *("view", "view.image", "view.camera", "view.depth", "view.foreground"),
            *("mesh", "mesh.vertices", "mesh.head_pose", "texture", "texture.average", "texture.coverage"),
            *("driving", "driving.frame", "driving.arkit", "meta"),
        }
        if self.layout:
            self.provides |= {"driving.flame.expression", "driving.flame.jaw", "driving.flame.eyes"}
        else:
            self.stand_ins = {"driving.flame": "data.rig=flame_layout"}
        self._frame_ids = {frame: i for i, frame in enumerate(frames)}
        self.arkit = torch.tensor(self.performance.arkit, dtype=torch.float32)
        self.head_pose = torch.tensor(self.performance.head_pose, dtype=torch.float32)
        key = digest(self._options, source_digest())
        base = Path(cache_dir).expanduser() if cache_dir else default_folder()
        self.folder = base / "synthetic" / f"seed{seed}-{image_height}-{key[:16]}"
        self._ready = False
        self._maps: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict:
        """Leave the mappings out, so that loader processes open their own."""
        return self.__dict__ | {"_maps": {}}

    # ---- preparing ----

    def prepare(self) -> None:
        """Make the capture, unless it is in the cache, and set ``summary``.

        Raises:
            DataError: the cache folder cannot be written.
        """
        if self._ready:
            return
        try:
            with exclusive(self.folder.with_suffix(".lock")):
                if not (self.folder / "made.json").is_file():
                    self._make()
        except OSError as error:
            raise DataError(
                f"The cache folder {self.folder} cannot be written ({error.strerror or error}). "
                "Set data.cache_dir or AVATARZOO_CACHE to a folder that can."
            ) from error
        plain = torch.load(self.folder / "topology.pt", weights_only=True)
        self.topology = Topology(**plain)
        if self.layout:
            self.flame = torch.load(self.folder / "flame.pt", weights_only=True)
        self.summary = self._summarise()
        self.summary.train_cameras = self.cameras_of("train")
        self._ready = True

    def _make(self) -> None:
        """Render into a folder beside the final one, and rename it when it is whole."""
        for left_over in self.folder.parent.glob(f".{self.folder.name}.*.tmp"):  # of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        partial = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.tmp")
        partial.mkdir(parents=True)
        try:
            with _one_thread_each() as threads:
                self._render(partial, threads)
            (partial / "made.json").write_text(json.dumps(self._options))
            shutil.rmtree(self.folder, ignore_errors=True)
            os.replace(partial, self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _render(self, folder: Path, threads: int) -> None:
        scene = Scene.build(self.seed, skin_size=1024 if self.size[0] > 128 else 256)
        frames, cameras, (height, width) = self.performance.frames, len(self.table.names), self.size
        topology, tracked = self._tracked(scene, folder)
        shapes = {
            "images": (np.uint8, (cameras, 3, height, width)),
            "mattes": (np.uint8, (cameras, height, width)),
            "depth": (np.float32, (cameras, height, width)),
            "vertices": (np.float32, (int(topology.triangles.max()) + 1, 3)),
            "textures": (np.uint8, (4, self.texture_size, self.texture_size)),
        }
        files = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype=kind, shape=(len(frames), *shape))
            for name, (kind, shape) in shapes.items()
        }
        projector = BackProjector(topology, self.texture_size, registry.build("rasterizer", "warp"))
        pool = ThreadPoolExecutor(threads)
        try:
            done = pool.map(lambda index: self._shoot(index, scene, tracked, projector, files), range(len(frames)))
            for _ in track(range(len(frames)), "Rendering the synthetic capture"):
                next(done)
        finally:
            pool.shutdown(cancel_futures=True)  # on Ctrl-C, frames that have not begun are left
        for file in files.values():
            file.flush()
        torch.save({k: getattr(topology, k) for k in ("triangles", "uvs", "uv_triangles")}, folder / "topology.pt")

    def _tracked(self, scene: Scene, folder: Path) -> tuple[Topology, Tensor | None]:
        """Return the tracked mesh's topology and, of the FLAME layout, its N,V,3 vertices; keep the parameters."""
        if not self.layout:
            return scene.topology(), None
        layout = FlameLayout.build(scene.head, scene.face)
        parameters = layout.track(self.performance.arkit)
        torch.save(parameters.driving(), folder / "flame.pt")
        return layout.topology(), layout.rig(parameters)[0]

    def _shoot(
        self,
        index: int,
        scene: Scene,
        tracked: Tensor | None,
        projector: BackProjector,
        files: dict[str, np.ndarray],
    ) -> None:
        shot = scene.shoot(self.performance.arkit[index], self.head_pose[index], self.table)
        files["images"][index] = shot.views.image.permute(0, 3, 1, 2).numpy()
        files["mattes"][index] = shot.views.foreground.numpy()
        files["depth"][index] = shot.views.depth.numpy()
        mesh = shot.tracked if tracked is None else tracked[index]
        files["vertices"][index] = mesh.numpy()
        cameras = Camera(self.table.K, self.table.R, self.table.t, self.size)
        average, covered = projector.average(mesh, self.head_pose[index], cameras, list(shot.views.image))
        files["textures"][index] = torch.cat([average, covered.to(torch.uint8)]).numpy()

    def array(self, name: str) -> np.ndarray:
        """Return the mapped array "images", "mattes", "depth", "vertices" or "textures", frames first."""
        if name not in self._maps:
            self._maps[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self._maps[name]

    def _summarise(self) -> CaptureSummary:
        train = [self._frame_ids[f] for f in self.frames["train"]]
        flame = {k: v[train] for k, v in self.flame.items()} if self.layout else None

        def meshes() -> Iterator[np.ndarray]:
            return (np.array(self.array("vertices")[i]) for i in train)

        mean, std, nearest = statistics.vertex_statistics(meshes)
        texture_mean, texture_std, seen = statistics.texture_statistics(self._texture(i) for i in train)
        colour_mean, colour_axes = statistics.colour_statistics(texture_mean, seen)
        neutral = train[nearest]
        average, coverage = self._texture(neutral)
        return CaptureSummary(
            name=self.tables["subject"][0],
            topology=self.topology,
            cameras=self.table,
            vertex_mean=mean,
            vertex_std=std,
            texture_mean=texture_mean,
            texture_std=texture_std,
            colour_mean=colour_mean,
            colour_axes=colour_axes,
            regions=layout_regions() if self.layout else region_masks(),
            neutral_vertices=torch.from_numpy(np.array(self.array("vertices")[neutral])),
            neutral_average=average.float() / 255,
            neutral_coverage=coverage.float(),
            head_pose=self.head_pose[neutral],
            tables=self.tables,
            neutral_arkit=self.arkit[neutral],
            neutral_flame={k: v[neutral] for k, v in self.flame.items()} if self.layout else None,
            flame_edition=EDITION if self.layout else "",
            neutral_frame=neutral,
            train_frames=torch.tensor(train),
            motion_per_unit=statistics.motion_by_signal(self.arkit[train], flame, meshes),
        )

    def _texture(self, index: int) -> tuple[Tensor, Tensor]:
        data = torch.from_numpy(np.array(self.array("textures")[index]))
        return data[:3], data[3:]

    # ---- reading ----

    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        """Read one picture as a batch of size 1.

        Args:
            sample: one of ``splits``.
            noise_key: goes into ``meta.noise_key``.
        """
        index, camera = self._frame_ids[sample.segment, sample.frame], self.tables["camera"].index(sample.camera)
        average, coverage = self._texture(index)

        def number(value: int) -> Tensor:
            return torch.tensor([value], dtype=torch.int64)

        def part(name: str) -> Tensor:
            return torch.from_numpy(np.array(self.array(name)[index, camera]))[None]

        segment = number(self.tables["segment"].index(sample.segment))
        table = self.table
        return HeadBatch(
            meta=Meta(segment, number(index), number(camera), number(0), number(noise_key), self.tables),
            view=View(
                camera=Camera(table.K[camera, None], table.R[camera, None], table.t[camera, None], self.size),
                image=part("images").float() / 255,
                foreground=part("mattes")[None].float() / 255,
                depth=part("depth")[None],
            ),
            mesh=Mesh(torch.from_numpy(np.array(self.array("vertices")[index]))[None], self.head_pose[index, None]),
            texture=Texture(average[None].float() / 255, coverage[None].float()),
            driving=Driving(
                frame=number(index),
                arkit=self.arkit[index, None],
                flame={k: v[index, None] for k, v in self.flame.items()} if self.layout else None,
            ),
        )

    def manifest(self) -> dict[str, str]:
        """Return hashes of the generator's settings and source, and of every file it made."""
        self.prepare()
        hashes = {"generator": digest(self._options, source_digest())}
        for name in ("images", "mattes", "depth", "vertices", "textures"):
            with open(self.folder / f"{name}.npy", "rb") as file:
                hashes[f"{name}.npy"] = hashlib.file_digest(file, "sha256").hexdigest()
        return hashes


@contextlib.contextmanager
def _one_thread_each() -> Iterator[int]:
    """Let torch compute on one thread, so that frames share out the cores: faster, and the same bits on any number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
