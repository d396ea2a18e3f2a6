"""CaptureSummary: what a model keeps of the capture it was trained on, so that a checkpoint alone renders."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from avatarzoo.batch import Group
from avatarzoo.errors import DataError

SMALLEST_SPREAD = 1e-6  #: a standard deviation below it counts as 0: textures are stored in steps of 1/255, vertices in mm


@dataclass
class Topology(Group):
    """A triangle mesh with wedge UVs.

    Attributes:
        triangles: F,3 int32 vertex ids.
        uvs: U,2 float32 in 0..1, v up; several may belong to one vertex (seams).
        uv_triangles: F,3 int32 ids into ``uvs``, corner by corner beside ``triangles``.
    """

    triangles: Tensor
    uvs: Tensor
    uv_triangles: Tensor

    def vertex_uvs(self, count: int) -> Tensor:
        """Return one UV per vertex, of those on a seam any of theirs.

        Args:
            count: of vertices.

        Returns:
            V,2 float32 in 0..1; 0 for a vertex of no triangle.
        """
        uv = torch.zeros(count, 2)
        uv[self.triangles.reshape(-1).long()] = self.uvs[self.uv_triangles.reshape(-1).long()]
        return uv


@dataclass
class CameraTable(Group):
    """The capture's cameras at the height they are read at.

    Attributes:
        names: C names.
        K, R, t: as in ``batch.Camera``; C,3,3 / C,3,3 / C,3.
        size: (height, width).
        views: named views, e.g. {"Front": "400002"}.
    """

    names: list[str]
    K: Tensor
    R: Tensor
    t: Tensor
    size: tuple[int, int]
    views: dict[str, str] = field(default_factory=dict)


@dataclass
class CaptureSummary(Group):
    """Plain tensors, numbers and strings of a capture; training frames only. It travels in the checkpoint.

    Attributes:
        name: the capture's name.
        topology: of the tracked mesh.
        cameras: the table of cameras.
        vertex_mean: V,3 float32 mm, mean tracked mesh of the training frames, face-centric.
        vertex_std: mm, root of the scalar variance of the training vertices around their mean.
        texture_mean: 3,T,T float32 0..1 mean of the average textures where seen, holes filled; row 0 at v = 0.
        texture_std: in 0..1, root of the scalar variance of the average textures around their mean, where seen.
        colour_mean: 3 float32, mean colour of the seen texels of ``texture_mean``.
        colour_axes: 3,3 float32; columns are the principal axes of the seen colours, each times its standard deviation.
        regions: masks by name ("mouth", "eyes"), R,R bool, row 0 at v = 0; empty if the capture names none.
        neutral_vertices: V,3 mm: the training frame nearest to the mean.
        neutral_average, neutral_coverage: 3,T,T and 1,T,T: that frame's average texture (a neutral code's inputs).
        neutral_arkit: 52 weights of that frame, or None.
        neutral_flame: FLAME parameters of that frame by name (as ``batch.Driving.flame``, without a batch axis), or None.
        flame_edition: of the FLAME parameters, "" where there are none.
        neutral_frame: that frame's index, as in ``batch.Driving.frame``.
        train_frames: N int64 indices of the training frames, or None where the capture does not say.
        train_cameras: names of the cameras of the training pictures, or None where the capture does not say.
        motion_per_unit: how far each number of a driving signal moves the tracked mesh (mm per unit, root mean square over
            the vertices), by signal: "arkit" 52, "flame.expression" 100, ...; of signals that the capture has.
        head_pose: 3,4 mm, that frame's head pose.
        tables: names of segments, frames, cameras and subjects, as in ``batch.Meta``.
    """

    name: str
    topology: Topology
    cameras: CameraTable
    vertex_mean: Tensor
    vertex_std: float
    texture_mean: Tensor
    texture_std: float
    colour_mean: Tensor
    colour_axes: Tensor
    regions: dict[str, Tensor]
    neutral_vertices: Tensor
    neutral_average: Tensor
    neutral_coverage: Tensor
    head_pose: Tensor
    tables: dict[str, list[str]]
    neutral_arkit: Tensor | None = None
    neutral_flame: dict[str, Tensor] | None = None
    flame_edition: str = ""
    neutral_frame: int = 0
    train_frames: Tensor | None = None
    train_cameras: list[str] | None = None
    motion_per_unit: dict[str, Tensor] | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return nested dicts of tensors, numbers and strings (``torch.load(weights_only=True)`` reads them)."""
        return _plain(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> CaptureSummary:
        """Build a summary from what ``to_plain`` returned.

        Args:
            plain: nested dicts.

        Raises:
            KeyError: a field without a default is missing.
        """
        values = {f.name: plain[f.name] for f in fields(cls) if f.name in plain}
        values["topology"] = Topology(**plain["topology"])
        cameras = dict(plain["cameras"])
        cameras["size"] = tuple(cameras["size"])
        values["cameras"] = CameraTable(**cameras)
        return cls(**values)

    def spread(self, which: str, who: str) -> float:
        """Return a standard deviation that somebody divides by.

        Args:
            which: "texture_std", "vertex_std", or "colour_std": of the mean texture's colours around their mean.
            who: divides by it, for the message.

        Raises:
            DataError: it is 0, so that every loss would be infinite.
        """
        colour_std = float(self.colour_axes.square().sum() / 3) ** 0.5
        value = {"texture_std": self.texture_std, "vertex_std": self.vertex_std, "colour_std": colour_std}[which]
        if value > SMALLEST_SPREAD:
            return value
        cause = "its training frames are all alike, as where there is only one. Train on several frames"
        cause = "its mean texture has a single colour" if which == "colour_std" else cause
        other = ", or set the unit of this term or driver to colour_std" if which == "texture_std" else ""
        raise DataError(f"{who} divides by the {which} of the capture {self.name!r}, which is {value:.3g}: {cause}{other}.")

    def region_at(self, name: str, uv: Tensor) -> Tensor:
        """Look a region mask up at surface coordinates.

        Args:
            name: a key of ``regions``.
            uv: ...,2 float in 0..1.

        Returns:
            ... bool; False everywhere when the capture does not name the region.
        """
        mask = self.regions.get(name)
        if mask is None:
            return torch.zeros(uv.shape[:-1], dtype=torch.bool, device=uv.device)
        return look_up(mask.to(uv.device), uv)


def look_up(mask: Tensor, uv: Tensor) -> Tensor:
    """Look a mask up at surface coordinates.

    Args:
        mask: R,R bool, row 0 at v = 0, on the coordinates' device.
        uv: ...,2 float in 0..1.

    Returns:
        ... bool, of the texel each point lies in.
    """
    side = mask.shape[0]
    index = (uv * side).long().clamp(0, side - 1)
    return mask[index[..., 1], index[..., 0]]


def _plain(value: Any) -> Any:
    if isinstance(value, Group):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}  # type: ignore[arg-type]
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
