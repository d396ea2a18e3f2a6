"""Every registered rasterizer passes the same checks, on every device it can use here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raster_references import (
    by_elimination,
    by_integers,
    interpolate_loops,
    on_nudged_picture,
    texture_loops,
    weights_by_solving,
)
from raster_scenes import CLIPPED, SCENES, grid, scene

from avatarzoo import registry
from avatarzoo.geometry.cameras import to_clip

EXACT = {"warp", "torch"}  # these two reach the same bits; others are held to 1/16 pixel of an edge


def backends() -> list:
    found = []
    for name in registry.names("rasterizer"):
        reason = registry.get("rasterizer", name).available()
        for device in ("cpu", "cuda"):
            if name == "nvdiffrast" and device == "cpu":
                continue
            marks = [pytest.mark.cuda] if device == "cuda" else []
            if reason:
                marks.append(pytest.mark.skip(reason=reason))
            elif device == "cuda" and not torch.cuda.is_available():
                marks.append(pytest.mark.skip(reason="needs a CUDA device"))
            found.append(pytest.param((name, device), id=f"{name}-{device}", marks=marks))
    return found


@pytest.fixture(params=backends())
def backend(request):
    name, device = request.param
    rasterizer = registry.build("rasterizer", name)

    class Backend:
        exact = name in EXACT

        def __init__(self):
            self.device = device

        def rasterize(self, clip, triangles, size):
            return rasterizer.rasterize(clip.to(device), triangles.to(device), size).cpu()

        def interpolate(self, attributes, raster, triangles):
            return rasterizer.interpolate(attributes.to(device), raster.to(device), triangles.to(device)).cpu()

        def texture(self, texture, uv):
            return rasterizer.texture(texture.to(device), uv.to(device)).cpu()

    return Backend()


@pytest.mark.parametrize("name", SCENES)
def test_draws_the_same_as_the_torch_rasterizer(backend, name):
    clip, triangles, size = scene(name)
    raster = backend.rasterize(clip, triangles, size)
    expected = registry.build("rasterizer", "torch").rasterize(clip, triangles, size)
    assert raster.shape == (clip.shape[0], *size, 4) and raster.dtype == torch.float32
    differ = raster[..., 3] != expected[..., 3]
    if backend.exact:
        assert not differ.any()
        torch.testing.assert_close(raster, expected, rtol=0, atol=0 if backend.device == "cpu" else 1e-6)
    elif name != "ties":  # which of two equals is in front is a backend's own choice
        for image, row, column in differ.nonzero().tolist():
            near = on_nudged_picture(clip[image], triangles, size, row, column)
            assert int(raster[image, row, column, 3]) - 1 in near


@pytest.mark.parametrize("name", sorted(set(SCENES) - CLIPPED))
def test_ids_are_those_of_integer_edge_functions(backend, name):
    clip, triangles, size = scene(name)
    ids = backend.rasterize(clip, triangles, size)[..., 3].long() - 1
    if not backend.exact:
        pytest.skip("this backend snaps in float32; it is compared to 1/16 pixel elsewhere")
    for image in range(clip.shape[0]):
        expected, contested = by_integers(clip[image].numpy(), triangles.numpy(), size)
        np.testing.assert_array_equal(np.where(contested, -2, ids[image].numpy()), np.where(contested, -2, expected))


@pytest.mark.parametrize("name", sorted(CLIPPED))
def test_clipped_triangles_are_those_a_ray_meets(backend, name):
    clip, triangles, size = scene(name)
    raster = backend.rasterize(clip, triangles, size)
    for image in range(clip.shape[0]):
        ids = raster[image, ..., 3].long().numpy() - 1
        expected = by_elimination(clip[image].double().numpy(), triangles.numpy(), size)
        for row, column in zip(*np.nonzero(ids != expected), strict=True):
            assert ids[row, column] in on_nudged_picture(clip[image], triangles, size, row, column)
        assert (ids == expected).mean() > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_shared_edges_are_drawn_exactly_once(backend, seed):
    # Corners on pixel centres and subpixels put many centres exactly on edges.
    clip, triangles = grid(columns=7, rows=6, jitter=(0.0, 0.5, 0.0625, 0.3)[seed], seed=seed, size=(24, 28))
    times = torch.zeros(24, 28)
    for triangle in triangles.split(1):
        times += backend.rasterize(clip, triangle, (24, 28))[0, ..., 3] > 0
    assert times.max() == 1
    whole = backend.rasterize(clip, triangles, (24, 28))[0, ..., 3] > 0
    assert torch.equal(times > 0, whole)
    assert whole[2:-2, 2:-2].all()


def test_shared_edges_of_clipped_triangles_are_drawn_exactly_once(backend):
    clip, triangles = grid(columns=7, rows=6, jitter=0.3, seed=5, size=(24, 28))
    clip = clip.clone()
    clip[..., :2] *= 3
    clip[..., 2] = clip[..., 2] + 1.5 * clip[..., 0]  # the mesh leans through the near and the far plane
    assert (clip[..., 2] < -clip[..., 3]).any() and (clip[..., 2] > clip[..., 3]).any()
    times = torch.zeros(24, 28)
    for triangle in triangles.split(1):
        times += backend.rasterize(clip, triangle, (24, 28))[0, ..., 3] > 0
    assert times.max() == 1
    assert 0.2 < times.mean() < 0.95


def test_covers_the_centres_inside_and_nothing_else(backend):
    # A square over x in [1, 3], y in [0, 2] pixels of a 4 x 3 picture: row 0 is at y = -1.
    pixels = torch.tensor([[1.0, 0.0], [3.0, 0.0], [3.0, 2.0], [1.0, 2.0]])
    x, y = 2 * pixels[:, 0] / 4 - 1, 2 * pixels[:, 1] / 3 - 1
    clip = torch.stack([x, y, torch.full((4,), 0.25), torch.ones(4)], -1)[None]
    raster = backend.rasterize(clip, torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32), (3, 4))[0]
    expected = torch.zeros(3, 4)
    expected[0:2, 1:3] = 1
    assert torch.equal((raster[..., 3] > 0).float(), expected)
    assert torch.equal(raster[..., 2], 0.25 * expected)


def test_empty_pixels_are_zero_and_weights_are_in_range(backend):
    clip, triangles, size = scene("random")
    raster = backend.rasterize(clip, triangles, size)
    empty = raster[..., 3] == 0
    assert empty.any() and (~empty).any()
    assert (raster[empty] == 0).all()
    u, v, z, _ = raster.unbind(-1)
    assert u.min() >= 0 and v.min() >= 0 and (u + v).max() <= 1 + 1e-6 and z.abs().max() <= 1


def test_nearer_wins_from_both_sides(backend):
    corners = torch.tensor([[-3.0, -3.0], [3.0, -3.0], [0.0, 4.0]])
    planes = [torch.cat([corners, torch.full((3, 1), z), torch.ones(3, 1)], -1) for z in (0.5, -0.2, 0.1)]
    clip = torch.cat(planes)[None]
    for order in ([0, 1, 2], [2, 1, 0]):
        triangles = torch.tensor([order, [3, 4, 5], [6, 7, 8]], dtype=torch.int32)
        triangles[1] = triangles[1][torch.tensor(order)]
        raster = backend.rasterize(clip, triangles, (8, 8))
        assert (raster[..., 3] == 2).all()
        torch.testing.assert_close(raster[..., 2], torch.full((1, 8, 8), -0.2))


def test_perspective_is_that_of_a_plane_in_closed_form(backend):
    normal, offset = np.array([0.3, -0.3, -0.9]), -900.0
    corners = np.array([[-900.0, -900.0], [2500, -900], [-900, 1500]])
    depth = (offset - corners @ normal[:2]) / normal[2]
    points = torch.tensor(np.column_stack([corners, depth]), dtype=torch.float32)[None]
    K, size = np.array([[60.0, 1.5, 14.2], [0, 55.0, 9.7], [0, 0, 1]]), (20, 30)
    clip = to_clip(points, torch.tensor(K, dtype=torch.float32)[None], size)
    triangles = torch.tensor([[2, 0, 1]], dtype=torch.int32)
    raster = backend.rasterize(clip, triangles, size)
    assert (raster[..., 3] > 0).all()
    found = backend.interpolate(points, raster, triangles)[0].double().numpy()

    row, column = np.mgrid[:20, :30]
    ray = np.stack([column, row, np.ones_like(row)], -1) @ np.linalg.inv(K).T
    expected = ray * (offset / (ray @ normal))[..., None]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-3)
    near, far = 10.0, 10_000.0
    ndc = (far + near) / (far - near) - 2 * far * near / (far - near) / expected[..., 2]
    np.testing.assert_allclose(raster[0, ..., 2].numpy(), ndc, atol=1e-6)


def test_gradient_to_positions_is_that_of_finite_differences(backend):
    clip, triangles = grid(columns=3, rows=3, jitter=0.3, seed=1, size=(9, 11))
    clip = torch.cat([clip, clip * 1.3]).requires_grad_()
    raster = backend.rasterize(clip, triangles, (9, 11))
    inside = (raster[..., 0] > 1e-3) & (raster[..., 1] > 1e-3) & (raster[..., 0] + raster[..., 1] < 0.999)
    weight = torch.randn(raster.shape, generator=torch.Generator().manual_seed(2)) * inside[..., None]
    found = torch.autograd.grad((raster * weight).sum(), clip)[0].double().numpy()

    image, row, column = np.nonzero(inside.numpy())
    corners = triangles[raster[image, row, column, 3].long() - 1].numpy()
    gains = weight[image, row, column, :2].double().numpy()
    at = clip.detach().double().numpy()

    def objective(positions: np.ndarray) -> float:
        return (weights_by_solving(positions[image[:, None], corners], row, column, (9, 11))[:, :2] * gains).sum()

    expected = np.zeros_like(at)
    step = 1e-6
    for index in np.ndindex(*at.shape):
        if index[2] != 2:  # z has no gradient by convention
            ahead, behind = at.copy(), at.copy()
            ahead[index] += step
            behind[index] -= step
            expected[index] = (objective(ahead) - objective(behind)) / (2 * step)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 11])
def test_interpolation_and_its_gradients_are_those_of_loops(backend, shared, channels):
    clip, triangles, size = scene("random")
    raster = backend.rasterize(clip, triangles, size).detach().requires_grad_()
    draw = torch.Generator().manual_seed(3)
    # Other triangles than those drawn, into other vertices: as for UVs with seams.
    triangles = torch.randint(0, 17, triangles.shape, generator=draw, dtype=torch.int32)
    attributes = torch.randn(1 if shared else clip.shape[0], 17, channels, generator=draw).requires_grad_()
    weight = torch.randn(*raster.shape[:3], channels, generator=draw)
    picture = backend.interpolate(attributes, raster, triangles)
    expected, to_attributes, to_raster = interpolate_loops(attributes, raster, triangles, weight)
    np.testing.assert_allclose(picture.detach(), expected, atol=1e-5)
    found = torch.autograd.grad((picture * weight).sum(), (attributes, raster))
    np.testing.assert_allclose(found[0], to_attributes, atol=2e-4)
    np.testing.assert_allclose(found[1], to_raster, atol=1e-4)


def test_texture_is_that_of_loops_also_beyond_the_border(backend):
    draw = torch.Generator().manual_seed(4)
    texture = torch.randn(2, 5, 7, 3, generator=draw)
    uv = torch.rand(2, 6, 4, 2, generator=draw) * 1.4 - 0.2
    uv[0, 0, 0], uv[0, 0, 1] = torch.tensor([0.5 / 7, 0.5 / 5]), torch.tensor([1.0, 1.0])
    np.testing.assert_allclose(backend.texture(texture, uv), texture_loops(texture, uv), atol=1e-5)
    one = backend.texture(texture[:1], uv)
    np.testing.assert_allclose(one, texture_loops(texture[:1].expand(2, -1, -1, -1), uv), atol=1e-5)
    torch.testing.assert_close(backend.texture(texture, uv)[0, 0, 0], texture[0, 0, 0])


def test_gradient_of_the_texture_is_that_of_finite_differences(backend):
    draw = torch.Generator().manual_seed(5)
    texture = torch.randn(1, 5, 7, 2, generator=draw).requires_grad_()
    uv = (torch.rand(2, 3, 4, 2, generator=draw) * 0.8 + 0.1).requires_grad_()
    weight = torch.randn(2, 3, 4, 2, generator=draw)
    to_texture, to_uv = torch.autograd.grad((backend.texture(texture, uv) * weight).sum(), (texture, uv))
    base_map, base_uv, step = texture.detach().double(), uv.detach().double(), 1e-6

    def objective(picture, coordinates):
        return (texture_loops(picture.expand(2, -1, -1, -1), coordinates) * weight.numpy()).sum()

    for tensor, found, other in ((base_map, to_texture, False), (base_uv, to_uv, True)):
        for index in np.ndindex(*tensor.shape):
            ahead, behind = tensor.clone(), tensor.clone()
            ahead[index] += step
            behind[index] -= step
            values = [objective(base_map, t) if other else objective(t, base_uv) for t in (ahead, behind)]
            assert found[index] == pytest.approx((values[0] - values[1]) / (2 * step), abs=2e-4)


def test_no_image_no_channel_and_no_triangle(backend):
    clip, triangles, size = scene("random")
    assert backend.rasterize(clip[:0], triangles, size).shape == (0, *size, 4)
    nothing = backend.rasterize(clip.requires_grad_(), triangles[:0], size)
    assert (nothing == 0).all()
    nothing.sum().backward()
    assert clip.grad is None or (clip.grad == 0).all()
    assert backend.interpolate(clip.detach(), nothing.detach(), triangles[:0]).eq(0).all()
    raster = backend.rasterize(clip.detach(), triangles, size)
    assert backend.interpolate(clip.detach()[..., :0], raster, triangles).shape == (*raster.shape[:3], 0)


def test_positions_that_are_not_finite_spoil_no_gradient(backend):
    clip, triangles, size = scene("not_finite")
    clip.requires_grad_()
    raster = backend.rasterize(clip, triangles, size)
    assert raster.isfinite().all() and (raster[..., 3] > 0).any()
    raster[..., :2].sum().backward()
    assert clip.grad.isfinite().all()


def test_draws_in_inference_mode(backend):
    clip, triangles, size = scene("random")
    expected = backend.interpolate(clip, backend.rasterize(clip, triangles, size), triangles)
    with torch.inference_mode():
        triangles = triangles.clone()  # made here, it counts no changes
        found = backend.interpolate(clip, backend.rasterize(clip, triangles, size), triangles)
    assert torch.equal(found, expected)


def test_views_that_are_not_contiguous_are_drawn_alike(backend):
    clip, triangles, size = scene("random")
    strided = clip.transpose(0, 1).contiguous().transpose(0, 1)
    turned = triangles.T.contiguous().T
    assert not strided.is_contiguous() and not turned.is_contiguous()
    expected = backend.rasterize(clip, triangles, size)
    assert torch.equal(backend.rasterize(strided, turned, size), expected)
    torch.testing.assert_close(
        backend.interpolate(strided, expected.flip(1).flip(1), turned), backend.interpolate(clip, expected, triangles)
    )


def test_what_does_not_fit_is_refused(backend):
    clip, triangles, size = scene("random")
    raster = backend.rasterize(clip, triangles, size)
    with pytest.raises(ValueError, match="expected B,V,4"):
        backend.rasterize(clip[..., :3], triangles, size)
    with pytest.raises(ValueError, match="bfloat16"):
        backend.rasterize(clip.bfloat16(), triangles, size)
    with pytest.raises(ValueError, match="int32"):
        backend.rasterize(clip, triangles.long(), size)
    with pytest.raises(ValueError, match=rf"there are {clip.shape[1]} "):
        backend.rasterize(clip, triangles + clip.shape[1], size)
    with pytest.raises(ValueError, match="size"):
        backend.rasterize(clip, triangles, (0, 5))
    with pytest.raises(ValueError, match="raster of 2"):
        backend.interpolate(clip[:1].expand(3, -1, -1), raster[:2], triangles)
    with pytest.raises(ValueError, match="have to agree"):
        backend.interpolate(clip, raster.double(), triangles)
    changed = triangles.clone()
    backend.rasterize(clip, changed, size)
    changed[0, 0] = 10_000  # a tensor that was checked before and changed since
    with pytest.raises(ValueError, match="10000"):
        backend.rasterize(clip, changed, size)
