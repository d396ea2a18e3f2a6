import math

import numpy as np
import pytest
import torch
from PIL import Image

from avatarzoo import pictures


def test_error_heat_is_black_where_equal_and_brighter_where_wrong():
    target = torch.full((4, 5, 3), 0.5)
    image = target.clone()
    image[1, 2] += 0.1
    image[3, 4] += 0.25
    heat = pictures.error_heat(image, target)
    assert heat.shape == (4, 5, 3)
    assert heat[0, 0].sum() == 0
    assert 0 < heat[1, 2].sum() < heat[3, 4].sum()
    torch.testing.assert_close(heat[3, 4], torch.ones(3))


def test_colour_map_is_linear_between_its_rows():
    colours = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0]])
    values = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0, 7.0, -1.0]])
    expected = torch.tensor([[0, 0, 0], [0.5, 0, 0], [1, 0, 0], [1, 0.5, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(pictures.colour_map(values, colours)[0], expected)


def test_depth_is_light_near_dark_far_black_where_empty():
    depth = torch.tensor([[0.0, 900.0], [950.0, 1000.0]])
    shown = pictures.depth_colours(depth).sum(-1)
    assert shown[0, 0] == 0
    assert shown[0, 1] > shown[1, 0] > shown[1, 1] > 0
    assert pictures.depth_colours(torch.zeros(2, 2)).sum() == 0


def test_vertex_normals_of_a_tetrahedron_weigh_faces_by_area():
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3]])
    triangles = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    normals = pictures.vertex_normals(vertices[None], triangles)[0]
    expected = []
    for vertex in range(4):
        total = np.zeros(3)
        for face in triangles.numpy():
            if vertex in face:
                a, b, c = vertices.numpy()[face]
                total += np.cross(b - a, c - a)
        expected.append(total / np.linalg.norm(total))
    np.testing.assert_allclose(normals.numpy(), np.stack(expected), atol=1e-6)


def test_raster_normals_mix_corners_by_the_rasters_weights():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    corner = pictures.vertex_normals(vertices[None], triangles)[0]
    raster = torch.tensor([[[0.2, 0.5, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]]])
    found = pictures.raster_normals(vertices, triangles, raster)
    mixed = 0.2 * corner[0] + 0.5 * corner[2] + 0.3 * corner[3]
    torch.testing.assert_close(found[0, 0], mixed / mixed.norm())
    assert found[0, 1].abs().sum() == 0
    torch.testing.assert_close(found[0, 2], corner[0])


def sphere(height=48, width=60, radius=80.0, distance=1000.0, focal=300.0):
    """Depth and true normals of a sphere on the optical axis, by intersecting rays."""
    K = torch.tensor([[focal, 0, width / 2 - 3.0], [0, focal, height / 2 + 2.0], [0, 0, 1]])
    rows, columns = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    rays = torch.stack([(columns - K[0, 2]) / focal, (rows - K[1, 2]) / focal, torch.ones_like(rows)], -1)
    centre = torch.tensor([0.0, 0, distance]).double()
    a, b, c = (rays**2).sum(-1), rays @ centre, distance**2 - radius**2
    root = b**2 - a * c
    depth = torch.where(root > 0, (b - root.clamp(min=0).sqrt()) / a, 0)
    normals = (rays * depth[..., None] - centre) / radius
    return depth.float(), K, normals.float() * (depth > 0)[..., None]


def test_depth_normals_of_a_sphere():
    depth, K, truth = sphere()
    found = pictures.depth_normals(depth, K)
    inner = (truth[..., 2] < -0.7) & (found.norm(dim=-1) > 0)
    assert inner.sum() > 300
    angle = torch.rad2deg(torch.acos((found * truth).sum(-1)[inner].clamp(-1, 1)))
    assert angle.max() < 3
    assert found[depth == 0].abs().sum() == 0


def test_shading_lights_what_faces_the_light_on_either_side():
    light = torch.tensor(pictures.LIGHT)
    light = light / light.norm()
    normals = torch.zeros(1, 4, 3)
    normals[0, 0], normals[0, 1], normals[0, 2] = light, -light, torch.tensor([0.0, 1.0, 0.0])
    shaded = pictures.shade(normals, (1.0, 1.0, 1.0))[0]
    torch.testing.assert_close(shaded[0], torch.ones(3))
    torch.testing.assert_close(shaded[1], torch.ones(3))
    torch.testing.assert_close(shaded[2], torch.full((3,), 0.22))
    assert shaded[3].sum() == 0


def test_normal_colours_have_y_up_and_z_to_the_viewer():
    normals = torch.zeros(1, 4, 3)
    normals[0, :3] = torch.tensor([[0.0, 0, -1], [0, -1, 0], [1, 0, 0]])
    expected = torch.tensor([[0.5, 0.5, 1], [0.5, 1, 0.5], [1, 0.5, 0.5], [0, 0, 0]])
    torch.testing.assert_close(pictures.normal_colours(normals)[0], expected)


@pytest.mark.parametrize("captions", [(), ("target", "render")])
def test_a_grid_keeps_pictures_where_they_belong(captions):
    red, blue = torch.zeros(100, 120, 3), torch.zeros(100, 120, 3)
    red[..., 0], blue[..., 2] = 1, 1
    sheet = pictures.grid([[red, blue], [blue, None]], captions)
    head = 16 if captions else 0
    assert sheet.shape == (head + 204, 244, 3) and sheet.dtype == np.uint8
    assert sheet[head + 50, 60].tolist() == [255, 0, 0]
    assert sheet[head + 50, 124 + 60].tolist() == [0, 0, 255]
    assert sheet[head + 104 + 50, 60].tolist() == [0, 0, 255]
    assert sheet[head + 104 + 50, 124 + 60].max() < 40
    if captions:
        assert sheet[:16, :60].max() > 150 and sheet[:16, 124:184].max() > 150, "captions are drawn"


def test_a_title_stands_above_and_colour_bars_below_their_columns():
    black = torch.zeros(100, 120, 3)
    bars = {1: pictures.Bar(pictures.HEAT, "0", "64 / 255")}
    plain = pictures.grid([[black, black]], ("a", "b"))
    sheet = pictures.grid([[black, black]], ("a", "b"), title="step 500", bars=bars)
    assert sheet.shape[0] == plain.shape[0] + 16 + 32
    assert np.array_equal(sheet[16 : 16 + plain.shape[0]], plain)
    assert sheet[:16, :60].max() > 150 and sheet[:16, 124:].max() < 40
    below = sheet[-32:]
    assert below[:, :120].max() < 40, "the first column has no bar"
    bar = below[8, 128:240].astype(int).sum(1)  # heat runs from black to white
    assert bar[0] == 0 and bar[-1] == 765 and (np.diff(bar) >= -1).all()
    assert below[18:, 128:160].max() > 150 and below[18:, 200:240].max() > 150, "both ends are labelled"


def test_large_pictures_shrink_by_area_and_tiny_ones_grow():
    large = torch.zeros(200, 100, 3)
    large[::2] = 1
    sheet = pictures.grid([[large]], height=100)
    assert sheet.shape == (100, 50, 3)
    assert abs(sheet.mean() - 127.5) < 1
    assert pictures.grid([[torch.ones(8, 4, 3)]]).shape == (96, 48, 3)


def test_pictures_come_back_from_disk(tmp_path):
    picture = pictures.to_uint8(torch.rand(5, 7, 3))
    pictures.save(picture, tmp_path / "a" / "b.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "b.png")), picture)
    assert pictures.to_uint8(torch.tensor([[[-1.0, 0.5, 2.0]]])).tolist() == [[[0, 128, 255]]]
    grey = pictures.to_picture(torch.full((1, 2, 2), 0.25))
    assert grey.shape == (2, 2, 3) and math.isclose(float(grey.mean()), 0.25)
