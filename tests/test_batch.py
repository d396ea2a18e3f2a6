"""HeadBatch and its groups: moving, stacking, looking up."""

from __future__ import annotations

import pickle
from dataclasses import fields

import pytest
import torch

from avatarzoo.batch import Camera, Driving, HeadBatch, Mesh, Meta, Prediction, Texture, View, collate, lookup

TABLES = {"segment": ["E1", "E2"], "frame": ["000001", "000002"], "camera": ["left", "front"], "subject": ["s"]}


def batch(size: int = 2, height: int = 4, **groups: object) -> HeadBatch:
    """Return a batch whose tensors all differ."""
    generator = torch.Generator().manual_seed(size + height)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(size, *shape, generator=generator)

    camera = Camera(rand(3, 3), rand(3, 3), rand(3), (height, 5))
    ids = torch.arange(size) % 2
    return HeadBatch(
        meta=Meta(ids, 1 - ids, ids, torch.zeros_like(ids), torch.arange(size) + 2**40, TABLES),
        view=View(camera, image=rand(3, height, 5), pixels=torch.arange(size * 6).reshape(size, 3, 2)),
        mesh=Mesh(rand(7, 3), rand(3, 4)),
        driving=Driving(frame=ids, flame={"jaw": rand(3), "expression": rand(10)}),
        condition={"pose": rand(1)},
        **groups,
    )


def test_to_converts_floats_everywhere_and_no_integer() -> None:
    moved = batch().to(torch.float64)
    for tensor in (moved.view.image, moved.view.camera.K, moved.mesh.vertices, moved.driving.flame["jaw"]):
        assert tensor.dtype == torch.float64
    assert moved.condition["pose"].dtype == torch.float64
    for tensor in (moved.meta.frame, moved.meta.noise_key, moved.view.pixels, moved.driving.frame):
        assert tensor.dtype == torch.int64
    assert moved.view.depth is None
    assert moved.texture is None
    assert moved.view.camera.size == (4, 5)
    assert moved.meta.tables == TABLES
    assert torch.equal(moved.meta.noise_key, batch().meta.noise_key)  # 2**40 would not survive a float32


@pytest.mark.parametrize("how", [{"dtype": torch.bfloat16}, {"device": "meta", "dtype": torch.bfloat16}])
def test_to_takes_keywords_too(how: dict) -> None:
    moved = batch().to(**how)
    assert moved.mesh.vertices.dtype == torch.bfloat16
    assert moved.meta.frame.dtype == torch.int64
    assert moved.meta.frame.device.type == moved.mesh.vertices.device.type == how.get("device", "cpu")


def test_to_with_a_device_moves_integers_as_well() -> None:
    moved = batch().to("meta", torch.float64)
    assert moved.meta.frame.device.type == moved.view.pixels.device.type == "meta"
    assert moved.mesh.vertices.device.type == "meta"


def test_to_returns_a_copy() -> None:
    first = batch()
    moved = first.to(torch.float64)
    assert first.mesh.vertices.dtype == torch.float32
    assert moved.mesh is not first.mesh


def test_a_batch_crosses_processes() -> None:
    first = batch()
    second = pickle.loads(pickle.dumps(first))
    assert torch.equal(first.view.image, second.view.image)
    assert second.meta.tables == TABLES


def test_names_come_from_the_tables() -> None:
    meta = batch().meta
    assert (meta.name("segment", 1), meta.name("frame", 1), meta.name("camera", 0)) == ("E2", "000001", "left")
    assert meta.describe(0) == "E1/000002/left"
    assert batch(3).size == 3


def test_lookup_follows_dotted_paths() -> None:
    first = batch()
    assert lookup(first, "view.camera.K") is first.view.camera.K
    assert lookup(first, "mesh") is first.mesh
    for absent in ("view.depth", "view.depth?", "texture.average", "driving.arkit?", "nowhere.at.all"):
        assert lookup(first, absent) is None


def test_collate_stacks_what_was_split() -> None:
    whole = batch(4)
    parts = [_rows(whole, slice(0, 1)), _rows(whole, slice(1, 4))]
    again = collate(parts)
    assert again.size == 4
    assert torch.equal(again.view.camera.R, whole.view.camera.R)
    assert torch.equal(again.view.pixels, whole.view.pixels)
    assert torch.equal(again.meta.noise_key, whole.meta.noise_key)
    assert torch.equal(again.driving.flame["jaw"], whole.driving.flame["jaw"])
    assert torch.equal(again.condition["pose"], whole.condition["pose"])
    assert again.view.camera.size == (4, 5)
    assert again.meta.tables == TABLES
    assert again.texture is None


def test_collate_refuses_what_does_not_fit() -> None:
    texture = Texture(torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"HeadBatch\.texture is present in some samples"):
        collate([batch(), batch(texture=texture)])
    with pytest.raises(ValueError, match="different sizes"):
        collate([batch(height=4).view.camera, batch(height=6).view.camera])


def test_every_field_of_a_group_is_documented() -> None:
    for group in (Camera, View, Mesh, Texture, Driving, Meta, Prediction):
        for field in fields(group):
            assert field.name in (group.__doc__ or ""), f"{group.__name__}.{field.name}"


def _rows(whole: HeadBatch, rows: slice) -> HeadBatch:
    return whole._map(lambda tensor: tensor[rows])
