"""What flows between captures, models and metrics: a HeadBatch of optional groups, and a Prediction.

B is the number of images, V of vertices, N of pixels, T the side of a texture. Pictures have row 0 on top; UV maps have
row 0 at v = 0. Cameras are OpenCV's (x right, y down, z forward), pixel centres lie at integers, lengths are millimetres.
The face-centric frame has x to the subject's left, y up and z out of the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

G = TypeVar("G")


class Group:
    """Mixin of the dataclasses below: moves and stacks every tensor in them."""

    def _map(self: G, change: Any) -> G:
        values = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                value = change(value)
            elif isinstance(value, Group):
                value = value._map(change)
            elif isinstance(value, dict):
                value = {k: change(v) if isinstance(v, Tensor) else v for k, v in value.items()}
            values[f.name] = value
        return replace(self, **values)  # type: ignore[type-var]

    def to(self: G, *args: Any, **kwargs: Any) -> G:
        """Return a copy whose tensors were moved as ``Tensor.to`` does; integers keep their dtype."""

        def move(t: Tensor) -> Tensor:
            if t.is_floating_point():
                return t.to(*args, **kwargs)
            keep = [a for a in args if not isinstance(a, torch.dtype)]
            return t.to(*keep, **{k: v for k, v in kwargs.items() if k != "dtype"}) if keep or kwargs else t

        return self._map(move)  # type: ignore[attr-defined]

    def pin_memory(self: G) -> G:
        """Return a copy in page-locked memory."""
        return self._map(lambda t: t.pin_memory())  # type: ignore[attr-defined]


@dataclass
class Camera(Group):
    """Pinhole cameras, world to camera.

    Attributes:
        K: B,3,3 float32, pixels of the pictures beside it, pixel centres at integers.
        R: B,3,3 float32 rotation, world -> camera.
        t: B,3 float32, mm; x_camera = R x_world + t.
        size: (height, width) in pixels, the same for the whole batch.
    """

    K: Tensor
    R: Tensor
    t: Tensor
    size: tuple[int, int] = (0, 0)


@dataclass
class View(Group):
    """What a camera saw.

    Attributes:
        camera: the cameras.
        image: B,3,H,W float32 in 0..1, sRGB as stored, or None where only a camera is known.
        foreground: B,1,H,W float32 in 0..1 matte, or None.
        depth: B,1,H,W float32 mm along the camera's z, 0 = unknown, or None if the capture has none.
        background: B,3 float32 in 0..1, the colour laid behind the foreground, or None where the pictures' own is left.
        pixels: B,N,2 int64 (column, row) of a batch of rays, or None for whole pictures.
    """

    camera: Camera
    image: Tensor | None = None
    foreground: Tensor | None = None
    depth: Tensor | None = None
    background: Tensor | None = None
    pixels: Tensor | None = None


@dataclass
class Mesh(Group):
    """The tracked mesh and where the head stands.

    Attributes:
        vertices: B,V,3 float32 mm, face-centric.
        head_pose: B,3,4 float32, face-centric -> world, mm.
    """

    vertices: Tensor
    head_pose: Tensor


@dataclass
class Texture(Group):
    """The frame's average texture over cameras.

    Attributes:
        average: B,3,T,T float32 in 0..1 sRGB, row 0 at v = 0; 0 where unseen.
        coverage: B,1,T,T float32, 1 where some camera saw the texel, 0 where none did.
    """

    average: Tensor
    coverage: Tensor


@dataclass
class Driving(Group):
    """Signals that can drive an avatar.

    Attributes:
        frame: B int64, index of the frame in the capture's list of frames.
        arkit: B,52 float32 in 0..1, ARKit weights in the order of Live Link Face, or None.
        flame: parameter tensors by name, or None: expression B,100; jaw B,3 and eyes B,6 (left first), axis-angle in
            radians; eyelids B,2 (left, right in 0..1) where a tracker has them.
    """

    frame: Tensor | None = None
    arkit: Tensor | None = None
    flame: dict[str, Tensor] | None = None


@dataclass
class Meta(Group):
    """Who, when and from where; ids index the tables of names.

    Attributes:
        segment, frame, camera, subject: B int64 ids.
        noise_key: B int64, a pure function of (seed, iteration, place in the global batch): the only source of noise. While
            training it stays on the CPU, where the generators read it.
        tables: names by field: {"segment": [...], "frame": [...], "camera": [...], "subject": [...]}.
    """

    segment: Tensor
    frame: Tensor
    camera: Tensor
    subject: Tensor
    noise_key: Tensor
    tables: dict[str, list[str]] = field(default_factory=dict)

    def name(self, which: str, index: int) -> str:
        """Return the name behind the id of one sample, e.g. ``meta.name("camera", 0)``."""
        return self.tables[which][int(getattr(self, which)[index])]

    def describe(self, index: int) -> str:
        """Return "segment/frame/camera" of one sample."""
        return "/".join(self.name(which, index) for which in ("segment", "frame", "camera"))


@dataclass
class HeadBatch(Group):
    """One batch; every group but ``meta`` may be absent."""

    meta: Meta
    view: View | None = None
    mesh: Mesh | None = None
    texture: Texture | None = None
    driving: Driving | None = None
    landmarks: dict[str, Tensor] | None = None
    condition: dict[str, Tensor] | None = None

    @property
    def size(self) -> int:
        """Number of images."""
        return int(self.meta.frame.shape[0])


@dataclass
class Prediction(Group):
    """What a model says about a batch.

    Attributes:
        image: B,3,H,W float32 0..1 sRGB; 0 where nothing is covered.
        coverage: B,1,H,W bool or float, where the model put something.
        depth: B,1,H,W float32 mm along the camera's z, 0 = empty.
        vertices: B,V,3 float32 mm face-centric, the mesh that was drawn.
        alpha: B,1,H,W float32 of volumes.
        extras: whatever the terms of the phase need, by name.
    """

    image: Tensor | None = None
    coverage: Tensor | None = None
    depth: Tensor | None = None
    vertices: Tensor | None = None
    alpha: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)


def lookup(batch: HeadBatch, path: str) -> Any:
    """Return what a dotted path of ``Model.requires`` names, or None where it is absent.

    Args:
        batch: a batch.
        path: such as "view.depth?" (a trailing "?" marks what may be absent).
    """
    value: Any = batch
    for part in path.rstrip("?").split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
        if value is None:
            return None
    return value


def collate(samples: Sequence[G]) -> G:
    """Stack batches of any size into one along the first axis.

    Args:
        samples: batches (or groups) of the same capture, each with a leading batch axis.

    Returns:
        One batch; tables and sizes are taken from the first.

    Raises:
        ValueError: a field is present in some samples and absent in others, or sizes differ.
    """
    first = samples[0]
    if isinstance(first, Tensor):
        return torch.cat(list(samples))  # type: ignore[arg-type, return-value]
    if is_dataclass(first):
        values = {}
        for f in fields(first):
            column = [getattr(s, f.name) for s in samples]
            absent = [c is None for c in column]
            if any(absent) and not all(absent):
                raise ValueError(f"{type(first).__name__}.{f.name} is present in some samples and absent in others.")
            if isinstance(column[0], (Tensor, Group)):
                values[f.name] = collate(column)
            elif isinstance(column[0], dict) and any(isinstance(v, Tensor) for v in column[0].values()):
                values[f.name] = {k: torch.cat([c[k] for c in column]) for k in column[0]}
            else:
                if f.name == "size" and len(set(column)) > 1:
                    raise ValueError(f"Pictures of different sizes in one batch: {sorted(set(column))}.")
                values[f.name] = column[0]
        return replace(first, **values)  # type: ignore[type-var]
    raise TypeError(f"Cannot collate {type(first).__name__}.")
