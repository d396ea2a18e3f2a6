"""StaticTexture: one texture on the tracked mesh."""

from pathlib import Path

import fixtures
import pytest
import tiny_capture as tiny
import torch

from avatarzoo import registry
from avatarzoo.batch import collate
from avatarzoo.build import build_model
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.cameras import face_to_camera
from avatarzoo.models.base import parameter_counts
from avatarzoo.models.static_texture import StaticTexture


def model(rasterizer: str = "warp", **options) -> StaticTexture:
    node = {"model": {"name": "static_texture", **options}, "rasterizer": {"name": rasterizer}}
    return build_model(node, fixtures.summary())


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("plate")
    root = tiny.write_capture(folder / "capture")
    capture = registry.build("data", {"name": "multiface", "root": str(root), "cache_dir": str(folder / "cache")})
    capture.prepare()
    return capture


def test_pixels_show_the_texel_under_them(plate) -> None:
    """A texture that is linear in (u, v), against rays intersected with the plane it lies on."""
    avatar = build_model({"model": {"name": "static_texture"}, "rasterizer": {"name": "warp"}}, plate.summary)
    size = avatar.surface.texture.shape[1]
    v, u = torch.meshgrid(*[(torch.arange(size) + 0.5) / size] * 2, indexing="ij")
    avatar.surface.texture.data = torch.stack([u, v, 0.25 + 0.5 * u * 0])
    batch = collate([plate.read(s) for s in plate.splits["test"]])
    prediction = avatar.render(batch)
    R, t = face_to_camera(batch.view.camera, batch.mesh.head_pose)
    height, width = batch.view.camera.size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], -1).float()
    for i in range(batch.size):
        rays = pixels @ torch.linalg.inv(batch.view.camera.K[i]).T
        normal = R[i] @ torch.tensor([0.0, 0.0, 1.0])
        point = R[i] @ batch.mesh.vertices[i, 0] + t[i]
        depth = (normal @ point) / (rays @ normal)
        face = (rays * depth[..., None] - t[i]) @ R[i]
        expected = (face[..., :2] / tiny.HALF + 1) / 2
        covered = prediction.coverage[i, 0]
        inside = ((expected > 0) & (expected < 1)).all(-1)
        assert (covered ^ inside).sum() < 4, "only pixels whose centre lies on the edge may differ"
        well = covered & ((expected - 0.5).abs() < 0.5 - 1 / size).all(-1)  # texels are clamped at the border
        assert well.sum() > 100
        wrong = (prediction.image[i, :2][:, well].T - expected[well]).abs().amax(-1)
        assert (wrong < 1e-5).float().mean() > 0.98
        assert wrong.max() < 3e-3, "1/16 pixel, to which vertices are snapped when pixels on an edge are given away"
        assert torch.allclose(prediction.depth[i, 0][covered], depth[covered], atol=0.3)
        assert (prediction.image[i][:, ~covered] == 0).all() and (prediction.depth[i, 0][~covered] == 0).all()


def test_the_untrained_mean_texture_is_a_good_picture_of_the_plate(plate) -> None:
    avatar = build_model({"model": {"name": "static_texture"}, "rasterizer": {"name": "warp"}}, plate.summary)
    batch = collate([plate.read(s) for s in plate.splits["test"]])
    prediction = avatar.render(batch)
    both = prediction.coverage & (batch.view.image.sum(1, keepdim=True) > 0)
    error = (prediction.image - batch.view.image).abs() * both
    assert error.sum() / both.sum() / 3 < 3 / 255


def test_backends_agree() -> None:
    batch = fixtures.batch((0, 0), (1, 1), (2, 0))
    warp, oracle = (model(name).render(batch) for name in ("warp", "torch"))
    assert torch.equal(warp.coverage, oracle.coverage)
    assert torch.allclose(warp.image, oracle.image, atol=1e-5)
    assert torch.allclose(warp.depth, oracle.depth, atol=1e-2)


def test_only_covered_pixels_are_shaded(monkeypatch: pytest.MonkeyPatch) -> None:
    avatar, batch = model(), fixtures.batch((0, 0), (1, 1))
    shaded = []
    plain = avatar.rasterizer.texture
    monkeypatch.setattr(avatar.rasterizer, "texture", lambda t, uv: shaded.append(uv[..., 0].numel()) or plain(t, uv))
    prediction = avatar.render(batch)
    assert shaded == [int(prediction.coverage.sum())] and shaded[0] < prediction.coverage.numel()


def test_nothing_covered_is_an_empty_picture() -> None:
    batch = fixtures.batch((0, 0))
    batch.view.camera.t += torch.tensor([0.0, 0.0, 1e5])  # beyond the far plane
    prediction = model().render(batch)
    assert not prediction.coverage.any() and prediction.image.abs().sum() == 0


def test_gradients_reach_covered_texels_only_when_it_is_trained() -> None:
    batch = fixtures.batch((0, 0), (2, 1))
    avatar = model()
    avatar.predict(batch, "fit", {}).image.sum().backward()
    gradient = avatar.surface.texture.grad
    assert (gradient > 0).any() and (gradient[:, :, 64:] == 0).any()
    # Every covered pixel's weights add up to 1 in each channel.
    assert gradient.sum().item() == pytest.approx(3 * int(avatar.render(batch).coverage.sum()), rel=1e-4)
    still = model(train=False)
    still.predict(batch, "fit", {}).image.sum().backward()
    assert (still.surface.texture.grad == 0).all()


def test_a_few_steps_fit_one_picture_better() -> None:
    batch, avatar = fixtures.batch((0, 0), (1, 1)), model()
    optimizer = torch.optim.Adam(avatar.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        prediction = avatar.predict(batch, "fit", {})
        loss = ((prediction.image - batch.view.image) * prediction.coverage).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_colours_are_clamped_in_pictures_and_not_in_training() -> None:
    avatar, batch = model(), fixtures.batch((0, 0))
    avatar.surface.texture.data += 2
    assert avatar.render(batch).image.max() == 1
    assert avatar.predict(batch, "fit", {}).image.max() > 2


def test_state_is_the_texture_alone() -> None:
    avatar = model()
    assert list(avatar.state_dict()) == ["surface.texture"]
    assert parameter_counts(avatar) == {"surface": 3 * 128 * 128}
    assert torch.equal(avatar.surface.texture, fixtures.summary().texture_mean)
    assert avatar.config == {"name": "static_texture", "train": True}


def test_lower_precision_around_it_does_not_move_pixels() -> None:
    avatar, batch = model(), fixtures.batch((0, 0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = avatar.render(batch)
    outside = avatar.render(batch)
    assert torch.equal(inside.coverage, outside.coverage) and torch.equal(inside.image, outside.image)


def test_a_capture_without_textures_is_an_error() -> None:
    summary = fixtures.summary()
    summary.texture_mean = torch.zeros(3, 0, 0)
    with pytest.raises(ConfigError, match="texture_cameras"):
        build_model({"model": {"name": "static_texture"}, "rasterizer": {"name": "warp"}}, summary)


def test_a_missing_rasterizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rasterizer"):
        build_model({"model": {"name": "static_texture"}}, fixtures.summary())
