"""FLAME: parameters of a head, and the mesh they give by blend shapes and linear blend skinning."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from avatarzoo.batch import Group
from avatarzoo.errors import DataError
from avatarzoo.geometry.skinning import joint_transforms, rotation_matrix, skin
from avatarzoo.rigs.flame_file import PARENTS, SHAPES, WHERE, FlameArrays, edition_of, read_flame_file

NECK = 1  #: the joint that carries the head
EXPRESSIONS = 100


@dataclass
class FlameParameters(Group):
    """One group of parameters, whichever tracker they come from: N frames of one person.

    Rotations are axis-angle in radians. The head turns by ``rotation`` about the root joint, then ``translation`` is added.

    Attributes:
        expression: N,100, zeros beyond what the tracker has.
        shape: 300, zeros beyond what the tracker has.
        rotation, neck, jaw: N,3.
        eyes: N,6, left then right.
        translation: N,3 mm.
        eyelids: N,2 (left, right in 0..1), or None. FLAME's own file has no eyelid shapes: they drive, but move no mesh.
        edition: of FLAME they were tracked with ("2020", "2023", ...), "" if the files do not say.
    """

    expression: Tensor
    shape: Tensor
    rotation: Tensor
    neck: Tensor
    jaw: Tensor
    eyes: Tensor
    translation: Tensor
    eyelids: Tensor | None = None
    edition: str = ""

    @classmethod
    def neutral(cls, frames: int = 1, edition: str = "") -> FlameParameters:
        """Return the mean person at rest."""
        zeros = [torch.zeros(frames, n) for n in (EXPRESSIONS, 3, 3, 3, 6, 3)]
        expression, rotation, neck, jaw, eyes, translation = zeros
        return cls(expression, torch.zeros(SHAPES), rotation, neck, jaw, eyes, translation, None, edition)

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.expression)

    def rows(self, index: int | slice | list[int]) -> FlameParameters:
        """Return some frames; one index gives one frame with its axis kept."""
        chosen = [index] if isinstance(index, int) else index
        values = {name: value if name == "shape" else value[chosen] for name, value in self._tensors().items()}
        return FlameParameters(**values, edition=self.edition)

    def driving(self) -> dict[str, Tensor]:
        """Return what drives an avatar, as ``batch.Driving.flame``: no head pose, no shape."""
        found = {"expression": self.expression, "jaw": self.jaw, "eyes": self.eyes}
        return found if self.eyelids is None else found | {"eyelids": self.eyelids}

    def _tensors(self) -> dict[str, Tensor]:
        names = ("expression", "shape", "rotation", "neck", "jaw", "eyes", "translation", "eyelids")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def check_editions(model: str, parameters: str, what: str) -> None:
    """Refuse parameters of another edition than the model's: their expression codes mean other shapes.

    Args:
        model, parameters: editions; "" is not checked.
        what: whose parameters, for the message.

    Raises:
        DataError: they differ (the two 2023 files with and without jaw rotation count as one).
    """
    a, b = (edition.removesuffix("_no_jaw") for edition in (model, parameters))
    if a and b and a != b:
        raise DataError(
            f"{what} was tracked with FLAME {parameters}, and the model is FLAME {model}: expression codes of the two are "
            "not interchangeable. Use the model it was tracked with."
        )


class FlameRig(nn.Module):
    """Turn parameters into vertices in millimetres.

    Axes are FLAME's, which are the face-centric ones: x to the subject's left, y up, z out of the face; the origin is the
    file's.

    Source: Li et al., Learning a model of facial shape and expression from 4D scans, 2017; skinning as in SMPL.
    """

    template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    regressor: Tensor
    weights: Tensor
    triangles: Tensor

    def __init__(self, arrays: FlameArrays, dtype: torch.dtype = torch.float32) -> None:
        """Keep a model, in millimetres.

        Args:
            arrays: from ``read_flame_file``.
            dtype: of the arithmetic.
        """
        super().__init__()
        self.edition = arrays.edition
        millimetres = {"template": arrays.template, "shapedirs": arrays.shapedirs, "posedirs": arrays.posedirs}
        for name, value in millimetres.items():
            self.register_buffer(name, (torch.from_numpy(value) * 1000).to(dtype), persistent=False)
        self.register_buffer("regressor", torch.from_numpy(arrays.joint_regressor).to(dtype), persistent=False)
        self.register_buffer("weights", torch.from_numpy(arrays.weights).to(dtype), persistent=False)
        self.register_buffer("triangles", torch.from_numpy(arrays.triangles).int(), persistent=False)
        self._person: tuple[Tensor, Tensor, Tensor] | None = None

    def person(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Return a person's neutral vertices (V,3 mm) and joints (5,3 mm); the last one's are kept.

        Joints move with the shape and, as in FLAME's readers, with the expression too (see ``forward``).

        Args:
            shape: up to 300 coefficients.
        """
        if self._person is None or not torch.equal(self._person[0], shape):
            vertices = self.template + self.shapedirs[..., : len(shape)] @ shape
            self._person = (shape, vertices, self.regressor @ vertices)
        return self._person[1], self._person[2]

    def forward(self, parameters: FlameParameters) -> tuple[Tensor, Tensor]:
        """Pose the head.

        Args:
            parameters: N frames.

        Returns:
            N,V,3 mm, and the joints' motions N,5,3,4 (where each takes a point that is fixed to it at rest), both with the
            translation.
        """
        p = parameters.to(self.template.dtype)
        vertices, _ = self.person(p.shape)
        # Expression columns start at 300 however many shape coefficients there are.
        moved = self.shapedirs[..., SHAPES : SHAPES + p.expression.shape[1]]
        shaped = vertices + torch.einsum("vkc,nc->nvk", moved, p.expression)
        joints = torch.einsum("jv,nvk->njk", self.regressor, shaped)
        vectors = torch.stack([p.rotation, p.neck, p.jaw, p.eyes[:, :3], p.eyes[:, 3:]], dim=1)
        rotations = rotation_matrix(vectors)
        bent = (rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)).flatten(1)
        corrected = shaped + torch.einsum("vkc,nc->nvk", self.posedirs, bent)
        transforms = joint_transforms(rotations, joints, PARENTS)
        transforms = torch.cat([transforms[..., :3], transforms[..., 3:] + p.translation[:, None, :, None]], dim=-1)
        return skin(corrected, self.weights, transforms), transforms


def neck_normalised(vertices: Tensor, transforms: Tensor) -> tuple[Tensor, Tensor]:
    """Take the neck's motion out of a mesh and into the head pose, so that heads are aligned and projections stay.

    Args:
        vertices: N,V,3 mm, in the world.
        transforms: N,5,3,4 from ``FlameRig``.

    Returns:
        N,V,3 mm face-centric, and the head pose N,3,4 (face-centric -> world): pose * vertices is what came.

    Source: the neck-pose normalisation of mesh-anchored hash-table blendshapes (supplement); absorbing the pose into the
    camera is ``geometry.cameras.face_to_camera``.
    """
    pose = transforms[:, NECK]
    return (vertices - pose[:, None, :, 3]) @ pose[:, :, :3], pose


def find_flame_file(path: str | None) -> Path:
    """Return the FLAME model to use.

    Args:
        path: given by the user (data.flame), a file or a folder; None looks into the folder AVATARZOO_FLAME names.

    Raises:
        DataError: there is none; says where to get it and where to put it.
    """
    given = path or os.environ.get("AVATARZOO_FLAME")
    if not given:
        raise DataError(f"This needs a FLAME model, and neither data.flame nor AVATARZOO_FLAME names one. {WHERE}")
    place = Path(given).expanduser()
    if place.is_dir():
        found = sorted(p for p in place.iterdir() if edition_of(p) is not None)
        if len(found) != 1:
            named = ", ".join(p.name for p in found) or "none"
            raise DataError(
                f"{place} holds {len(found)} FLAME models ({named}); name one file with data.flame=FILE. {WHERE}"
            )
        return found[0]
    if not place.is_file():
        raise DataError(f"There is no FLAME model at {place}. {WHERE}")
    return place


def load_flame(path: str | None, edition: str | None = None) -> FlameRig:
    """Load the user's FLAME model.

    Args:
        path: as in ``find_flame_file``.
        edition: None reads it off the file's name.
    """
    return FlameRig(read_flame_file(find_flame_file(path), edition))
