"""The readable rasterizer in plain PyTorch: what every other backend is tested against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from avatarzoo.rasterizers._conventions import (
    DEGENERATE,
    DEPTH_STEPS,
    EMPTY,
    GUARD,
    ID_BITS,
    SUBPIXELS,
    check_interpolate,
    check_rasterize,
)
from avatarzoo.rasterizers.base import Rasterizer
from avatarzoo.registry import register

PAIRS_AT_ONCE = 1 << 21  # triangle-pixel pairs tested together; bounds the memory
Point = tuple[float, float, float, float]


@register("rasterizer", "torch")
class TorchRasterizer(Rasterizer):
    """Plain PyTorch, slow, in float32 or float64: the oracle of the others."""

    def rasterize(self, clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
        """Draw triangles; see ``Rasterizer.rasterize``.

        Args:
            clip: B,V,4 float32 or float64.
            triangles: F,3 int32.
            size: (H, W).

        Returns:
            B,H,W,4 in the dtype of ``clip``.

        Raises:
            ValueError: shapes, dtypes, devices or vertex ids that do not fit.
        """
        check_rasterize(clip, triangles, size, (torch.float32, torch.float64))
        height, width = int(size[0]), int(size[1])
        owners = find_owners(clip.detach().double(), triangles.long(), height, width)
        raster = clip.new_zeros(clip.shape[0], height, width, 4)
        return raster.masked_scatter((owners >= 0)[..., None], shade(clip, triangles.long(), owners).to(clip.dtype))

    def interpolate(self, attributes: Tensor, raster: Tensor, triangles: Tensor) -> Tensor:
        """Interpolate vertex attributes; see ``Rasterizer.interpolate``.

        Args:
            attributes: B,V,C or 1,V,C float32 or float64.
            raster: B,H,W,4 of the same dtype.
            triangles: F,3 int32.

        Returns:
            B,H,W,C.

        Raises:
            ValueError: shapes, dtypes, devices or ids that do not fit.
        """
        check_interpolate(attributes, raster, triangles, (torch.float32, torch.float64))
        image, row, column = (raster[..., 3] > 0).nonzero(as_tuple=True)
        u, v, _, number = raster[image, row, column].unbind(-1)
        corners = triangles.long()[number.long() - 1]  # N,3
        weights = torch.stack([u, v, 1 - u - v], dim=-1)
        attributes = attributes.expand(raster.shape[0], -1, -1)
        values = (weights[..., None] * attributes[image[:, None], corners]).sum(1)
        return attributes.new_zeros(*raster.shape[:3], attributes.shape[2]).index_put((image, row, column), values)


def find_owners(clip: Tensor, triangles: Tensor, height: int, width: int) -> Tensor:
    """Decide which triangle owns each pixel.

    Args:
        clip: B,V,4 float64.
        triangles: F,3 int64.
        height, width: of the pictures.

    Returns:
        B,H,W int64 triangle ids, -1 without triangle.
    """
    x, y, z, w = clip.unbind(-1)
    inside = (w > 0) & (z.abs() <= w) & (x.abs() <= GUARD / (8 * width) * w) & (y.abs() <= GUARD / (8 * height) * w)
    safe_w = torch.where(inside, w, 1.0)
    snapped = torch.stack([_to_subpixel(x, safe_w, width), _to_subpixel(y, safe_w, height)], dim=-1)
    depth = (z / safe_w).clamp(-1, 1)

    keys = torch.full((clip.shape[0] * height * width,), EMPTY, dtype=torch.int64, device=clip.device)
    whole = inside[:, triangles].all(-1)  # B,F: the others are clipped first
    image, triangle = whole.nonzero(as_tuple=True)
    corners = triangles[triangle]
    _draw(snapped[image[:, None], corners], depth[image[:, None], corners], image, triangle, height, width, keys)

    pieces = _clip_triangles(clip, triangles, whole, height, width)
    if pieces is not None:
        points, image, triangle = pieces
        x, y, z, w = points.unbind(-1)
        snapped = torch.stack([_to_subpixel(x, w, width), _to_subpixel(y, w, height)], dim=-1)
        _draw(snapped, (z / w).clamp(-1, 1), image, triangle, height, width, keys)
    owners = torch.where(keys == EMPTY, -1, keys & ((1 << ID_BITS) - 1))
    return owners.view(clip.shape[0], height, width)


def shade(clip: Tensor, triangles: Tensor, owners: Tensor) -> Tensor:
    """Compute (u, v, z/w, id + 1) where a triangle is drawn.

    Args:
        clip: B,V,4; gradients reach it through u and v. The arithmetic is float64.
        triangles: F,3 int64.
        owners: B,H,W int64, -1 without triangle.

    Returns:
        N,4 float64, the drawn pixels in order.
    """
    height, width = owners.shape[1:]
    image, row, column = (owners >= 0).nonzero(as_tuple=True)
    triangle = owners[image, row, column]
    corners = clip.double()[image[:, None], triangles[triangle]]  # N,3,4
    x = (2 * column + 1).double() / width - 1
    y = (2 * row + 1).double() / height - 1

    # Each corner as the pixel sees it; a_i is the doubled clip-space area opposite to corner i.
    px = corners[..., 0] - x[:, None] * corners[..., 3]
    py = corners[..., 1] - y[:, None] * corners[..., 3]
    products = [(px[:, i] * py[:, j], py[:, i] * px[:, j]) for i, j in ((1, 2), (2, 0), (0, 1))]
    a0, a1, a2 = (p - q for p, q in products)
    total = a0 + a1 + a2
    scale = sum(p.abs() + q.abs() for p, q in products)
    degenerate = total.abs() <= DEGENERATE * scale
    total = torch.where(degenerate, 1.0, total)
    u = torch.where(degenerate, 1 / 3, a0 / total)
    v = torch.where(degenerate, 1 / 3, a1 / total)

    # Snapping lets a pixel lie a little outside its triangle; clamping moves the value, not the gradient.
    with torch.no_grad():
        u_in, v_in = u.clamp(0, 1), v.clamp(0, 1)
        both = (u_in + v_in).clamp_min(1)
        u_in, v_in = u_in / both, v_in / both
        weights = torch.stack([u_in, v_in, 1 - u_in - v_in], dim=-1)
        z, w = ((corners[:, 0, k] * weights[:, 0] + corners[:, 1, k] * weights[:, 1]) + corners[:, 2, k] * weights[:, 2]
                for k in (2, 3))  # fmt: skip
        depth = (z / w).clamp(-1, 1)
    return torch.stack([u + (u_in - u).detach(), v + (v_in - v).detach(), depth, (triangle + 1).double()], dim=-1)


def _to_subpixel(x: Tensor, w: Tensor, size: int) -> Tensor:
    """Return columns or rows in 1/16 pixel from the picture's centre, to the nearest (half to even)."""
    return (x / w * (SUBPIXELS // 2 * size)).round().clamp(-2 * GUARD, 2 * GUARD).long()


def _draw(corners: Tensor, depth: Tensor, image: Tensor, triangle: Tensor, height: int, width: int, keys: Tensor) -> None:
    """Draw snapped triangles into the key buffer.

    Args:
        corners: N,3,2 int64 subpixels.
        depth: N,3 float64.
        image: N int64.
        triangle: N int64 ids.
        height, width: of the pictures.
        keys: B*H*W int64; the least key of each pixel is kept.
    """
    # The pixels whose centres (at 16 i + 8 from the picture's border) can lie in the box.
    a, b, c = corners.unbind(1)
    half = SUBPIXELS // 2 * torch.tensor([width, height], device=keys.device)
    first = ((a.minimum(b).minimum(c) + half + 7) >> 4).clamp_min(0)
    last = ((a.maximum(b).maximum(c) + half - 8) >> 4).minimum(half // 8 - 1)
    extent = (last - first + 1).clamp_min(0)
    area = _edge(a, b, c)
    keep = (extent.prod(-1) > 0) & (area != 0)
    corners, depth, image, triangle = corners[keep], depth[keep], image[keep], triangle[keep]
    first, extent, area = first[keep], extent[keep], area[keep]

    # From behind, two corners are swapped, so that all triangles turn the same way.
    front = torch.tensor([0, 1, 2], device=keys.device)
    order = torch.where(area[:, None] < 0, front[[0, 2, 1]], front)
    corners = corners.gather(1, order[..., None].expand(-1, -1, 2))
    depth = depth.gather(1, order)
    inverse = 1 / area.abs().double()

    pixels = extent.prod(-1)
    ends = pixels.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, PAIRS_AT_ONCE):
        pair = torch.arange(start, min(start + PAIRS_AT_ONCE, total), device=keys.device)
        n = torch.searchsorted(ends, pair, right=True)
        within = pair - (ends[n] - pixels[n])
        column = first[n, 0] + within % extent[n, 0]
        row = first[n, 1] + within // extent[n, 0]
        point = torch.stack([column, row], dim=-1) * SUBPIXELS + SUBPIXELS // 2 - half
        a, b, c = corners[n].unbind(1)
        # The weight of each corner is the doubled area opposite to it.
        weights = torch.stack([_edge(b, c, point), _edge(c, a, point), _edge(a, b, point)], dim=-1)
        owned = torch.stack([_inclusive(b, c), _inclusive(c, a), _inclusive(a, b)], dim=-1)
        hit = torch.where(owned, weights >= 0, weights > 0).all(-1)
        n, row, column, weights = n[hit], row[hit], column[hit], weights[hit].double()
        z = (weights[:, 0] * depth[n, 0] + weights[:, 1] * depth[n, 1] + weights[:, 2] * depth[n, 2]) * inverse[n]
        steps = ((z.clamp(-1, 1) * 0.5 + 0.5) * DEPTH_STEPS + 0.5).long()
        place = (image[n] * height + row) * width + column
        keys.scatter_reduce_(0, place, (steps << ID_BITS) + triangle[n], "amin")


def _edge(a: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """Return the doubled signed area of a, b, p (each ...,2)."""
    return (b[..., 0] - a[..., 0]) * (p[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (p[..., 0] - a[..., 0])


def _inclusive(a: Tensor, b: Tensor) -> Tensor:
    """Return whether edge a-b is a left or a top one: those own the pixel centres that lie on them."""
    dx, dy = (b - a).unbind(-1)
    return (dy < 0) | ((dy == 0) & (dx > 0))


def _clip_triangles(
    clip: Tensor, triangles: Tensor, whole: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Cut the triangles that reach out of the clipping volume.

    Args:
        clip: B,V,4 float64.
        triangles: F,3 int64.
        whole: B,F bool, those that need no cutting.
        height, width: of the pictures.

    Returns:
        N,3,4 float64 corners, N image and N triangle ids; None when nothing is left.
    """
    image, triangle = (~whole).nonzero(as_tuple=True)
    corners = clip[image[:, None], triangles[triangle]]  # N,3,4
    x, y, z, w = corners.unbind(-1)
    away = torch.stack([(p > w).all(-1) for p in (x, -x, y, -y, z, -z)]).any(0)
    near = ~away & corners.isfinite().flatten(1).all(-1)
    candidates = zip(corners[near].tolist(), image[near].tolist(), triangle[near].tolist(), strict=True)
    planes = _planes(GUARD / (8 * width), GUARD / (8 * height))
    pieces, images, ids = [], [], []
    for polygon, of_image, number in candidates:
        for plane in planes:
            polygon = _cut(polygon, plane)
        if polygon and min(point[3] for point in polygon) > 0:
            for i in range(1, len(polygon) - 1):
                pieces.append([polygon[0], polygon[i], polygon[i + 1]])
                images.append(of_image)
                ids.append(number)
    if not pieces:
        return None
    to = {"device": clip.device}
    return torch.tensor(pieces, dtype=torch.float64, **to), torch.tensor(images, **to), torch.tensor(ids, **to)


def _planes(guard_x: float, guard_y: float) -> list[Point]:
    """Return near, far and the four guard planes as (x, y, z, w) factors; a point inside has a sum of 0 or more."""
    return [(0, 0, 1, 1), (0, 0, -1, 1), (-1, 0, 0, guard_x), (1, 0, 0, guard_x), (0, -1, 0, guard_y), (0, 1, 0, guard_y)]


def _cut(polygon: Sequence[Sequence[float]], plane: Point) -> list[Sequence[float]]:
    """Keep the part of a convex polygon inside a plane; a cut edge is always walked from its inner end."""
    kept = []
    distance = [_distance(point, plane) for point in polygon]
    for i, here in enumerate(polygon):
        j = (i + 1) % len(polygon)
        if distance[i] >= 0:
            kept.append(here)
        if (distance[i] >= 0) != (distance[j] >= 0):
            inner, outer = (i, j) if distance[i] >= 0 else (j, i)
            t = distance[inner] / (distance[inner] - distance[outer])
            kept.append([p + t * (q - p) for p, q in zip(polygon[inner], polygon[outer], strict=True)])
    return kept


def _distance(point: Sequence[float], plane: Point) -> float:
    return sum(p * q for p, q in zip(point, plane, strict=True) if q != 0)
