"""Make things visible: depth as colour, meshes as shaded relief, errors as heat, and grids of pictures with captions.

Pictures are H,W,3 float32 in 0..1 on the CPU or the GPU, row 0 on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

HEAT = torch.tensor([[0.0, 0.0, 0.0], [0.45, 0.0, 0.35], [0.95, 0.35, 0.1], [1.0, 0.85, 0.3], [1.0, 1.0, 1.0]])
DEPTH = torch.tensor([[0.99, 0.95, 0.75], [0.95, 0.6, 0.4], [0.7, 0.3, 0.5], [0.35, 0.15, 0.5], [0.05, 0.05, 0.2]])
MIN_HEIGHT = 96  #: pixels; below it captions cover the picture
LINE = 16  #: pixels of a line of captions
ERROR_GAIN = 4.0  #: a difference of 1 / ERROR_GAIN of the full range is as bright as heat gets
LIGHT = (-0.35, -0.45, -0.85)  # from above the viewer's left shoulder, in the camera's frame


def to_picture(image: Tensor) -> Tensor:
    """Turn 3,H,W or 1,H,W of any float type into H,W,3 float32, clamped to 0..1."""
    return image.detach().float().expand(3, -1, -1).permute(1, 2, 0).clamp(0, 1)


def colour_map(values: Tensor, colours: Tensor) -> Tensor:
    """Map numbers to colours, linearly between the rows of a table.

    Args:
        values: H,W float in 0..1, clamped.
        colours: K,3 float.

    Returns:
        H,W,3 float32.
    """
    colours = colours.to(values.device)
    place = values.clamp(0, 1) * (len(colours) - 1)
    low = place.floor().long().clamp(max=len(colours) - 2)
    share = (place - low)[..., None]
    return colours[low] * (1 - share) + colours[low + 1] * share


def error_heat(image: Tensor, target: Tensor, gain: float = ERROR_GAIN) -> Tensor:
    """Show the mean absolute difference over channels, times a gain, as heat (black is equal).

    Args:
        image, target: H,W,3 in 0..1.
        gain: what the difference is multiplied by.
    """
    return colour_map((image - target).abs().mean(dim=-1) * gain, HEAT)


def depth_colours(depth: Tensor, near: float | None = None, far: float | None = None) -> Tensor:
    """Show depth: near is light, far is dark, empty is black.

    Args:
        depth: H,W mm, 0 = empty.
        near, far: mm at the ends of the scale; by default the nearest and farthest of the picture.
    """
    seen = depth > 0
    if not bool(seen.any()):
        return depth.new_zeros((*depth.shape, 3))
    near = float(depth[seen].min()) if near is None else near
    far = float(depth[seen].max()) if far is None else far
    return colour_map((depth - near) / max(far - near, 1e-6), DEPTH) * seen[..., None]


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Average triangle normals at vertices, weighted by area.

    Args:
        vertices: B,V,3.
        triangles: F,3 integer ids.

    Returns:
        B,V,3 unit vectors, along the right-hand rule of the triangles' corners; 0 at a vertex of no triangle.
    """
    triangles = triangles.long()
    a, b, c = (vertices[:, triangles[:, i]] for i in range(3))
    face = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(1, triangles[:, corner], face)
    return F.normalize(total, dim=-1)


def raster_normals(vertices: Tensor, triangles: Tensor, raster: Tensor) -> Tensor:
    """Interpolate vertex normals over a raster.

    Args:
        vertices: V,3 mm in the frame the normals are wanted in.
        triangles: F,3 ids, those that were drawn.
        raster: H,W,4 (u, v, z/w, triangle id + 1).

    Returns:
        H,W,3 unit vectors, 0 where empty.
    """
    normals = vertex_normals(vertices[None], triangles)[0]
    ids = raster[..., 3].long() - 1
    corners = normals[triangles.long()[ids.clamp(min=0)]]
    u, v = raster[..., 0:1], raster[..., 1:2]
    mixed = u * corners[..., 0, :] + v * corners[..., 1, :] + (1 - u - v) * corners[..., 2, :]
    return F.normalize(mixed, dim=-1) * (ids >= 0)[..., None]


def depth_normals(depth: Tensor, K: Tensor) -> Tensor:
    """Compute normals of a depth picture from central differences of its points.

    Args:
        depth: H,W mm, 0 = empty.
        K: 3,3 intrinsics in pixels, centres at integers.

    Returns:
        H,W,3 unit vectors in the camera's frame, towards the camera; 0 where a neighbour is empty.
    """
    height, width = depth.shape
    rows, columns = torch.meshgrid(
        torch.arange(height, device=depth.device), torch.arange(width, device=depth.device), indexing="ij"
    )
    rays = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).float() @ torch.linalg.inv(K).T
    points = rays * depth[..., None]
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    normals = F.normalize(torch.linalg.cross(down, across), dim=-1)
    seen = depth > 0
    whole = seen[1:-1, 1:-1] & seen[1:-1, 2:] & seen[1:-1, :-2] & seen[2:, 1:-1] & seen[:-2, 1:-1]
    return F.pad(normals * whole[..., None], (0, 0, 1, 1, 1, 1))


def shade(normals: Tensor, colour: tuple[float, float, float] = (0.78, 0.78, 0.8)) -> Tensor:
    """Light a surface of one colour.

    Args:
        normals: H,W,3 in the camera's frame, 0 where empty; both sides are lit.
        colour: of the surface.

    Returns:
        H,W,3, black where empty.
    """
    seen = normals.norm(dim=-1, keepdim=True) > 0.5
    facing = torch.where(normals[..., 2:] > 0, -normals, normals)
    light = F.normalize(normals.new_tensor(LIGHT), dim=0)
    lit = 0.22 + 0.78 * (facing @ light).clamp(min=0)[..., None]
    return lit * normals.new_tensor(colour) * seen


def normal_colours(normals: Tensor) -> Tensor:
    """Show normals as (n + 1) / 2 with y up and z towards the viewer, black where empty.

    Args:
        normals: H,W,3 in the camera's frame (x right, y down, z forward).
    """
    seen = normals.norm(dim=-1, keepdim=True) > 0.5
    return (normals * normals.new_tensor([1.0, -1.0, -1.0]) * 0.5 + 0.5) * seen


def to_uint8(picture: Tensor) -> np.ndarray:
    """Round H,W,3 in 0..1 to uint8."""
    return (picture.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


@dataclass(frozen=True)
class Bar:
    """A colour bar below a column of pictures.

    Attributes:
        colours: K,3, of the scale from left to right.
        low, high: what stands at its ends.
    """

    colours: Tensor
    low: str
    high: str


def grid(
    rows: Sequence[Sequence[Tensor | None]],
    captions: Sequence[str] = (),
    row_captions: Sequence[str] = (),
    height: int = 256,
    title: str = "",
    bars: Mapping[int, Bar] | None = None,
) -> np.ndarray:
    """Lay pictures out in rows and columns with small captions.

    Args:
        rows: of pictures H,W,3; None leaves a cell dark.
        captions: of the columns.
        row_captions: drawn into the first picture of each row.
        height: of a cell in pixels; larger pictures are shrunk to it, tiny ones enlarged.
        title: above everything.
        bars: colour bars below columns, by the column's number.

    Returns:
        H,W,3 uint8.
    """
    bars = bars or {}
    cells = [[None if p is None else _fit(to_uint8(p), height) for p in row] for row in rows]
    cell_h = max((c.shape[0] for row in cells for c in row if c is not None), default=16)
    cell_w = max((c.shape[1] for row in cells for c in row if c is not None), default=16)
    columns, gap, top = max(len(r) for r in cells), 4, LINE if title else 0
    head, body = top + (LINE if captions else 0), len(cells) * (cell_h + gap) - gap
    size = (columns * (cell_w + gap) - gap, head + body + (2 * LINE if bars else 0))
    sheet = Image.new("RGB", size, (24, 24, 28))
    draw = ImageDraw.Draw(sheet)
    draw.text((4, 2), title, fill=(255, 255, 255))
    for column, caption in enumerate(captions):
        draw.text((column * (cell_w + gap) + 4, top + 2), caption, fill=(230, 230, 230))
    for column, bar in bars.items():
        left, low = column * (cell_w + gap), head + body + 4
        scale = colour_map(torch.linspace(0, 1, cell_w - 8)[None].expand(LINE - 6, -1), bar.colours)
        sheet.paste(Image.fromarray(to_uint8(scale)), (left + 4, low))
        draw.text((left + 4, low + LINE - 4), bar.low, fill=(230, 230, 230))
        draw.text((left + cell_w - 4, low + LINE - 4), bar.high, fill=(230, 230, 230), anchor="ra")
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            if cell is not None:
                sheet.paste(Image.fromarray(cell), (j * (cell_w + gap), head + i * (cell_h + gap)))
        if i < len(row_captions):
            draw.text((4, head + i * (cell_h + gap) + 2), row_captions[i], fill=(255, 255, 255))
    return np.asarray(sheet)


def _fit(picture: np.ndarray, height: int) -> np.ndarray:
    if picture.shape[0] <= height:
        times = max(1, min(height, MIN_HEIGHT) // picture.shape[0])
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def save(picture: np.ndarray, path: Path) -> None:
    """Write H,W,3 uint8 as a PNG, making its folder.

    Args:
        picture: row 0 on top.
        path: of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
