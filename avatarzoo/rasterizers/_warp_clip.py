"""Warp functions that cut triangles to the clipping volume, and put points on the subpixel grid."""

# ruff: noqa: UP018, RUF046 (int(0), float(0.0): a variable that a loop of a kernel changes, to Warp)
import warp as wp

from avatarzoo.rasterizers import _conventions as conventions

GUARD = wp.constant(wp.float64(conventions.GUARD))
POLYGON = wp.constant(9)  # a triangle cut by six planes has at most nine corners

Polygon = wp.types.matrix(shape=(9, 4), dtype=wp.float64)


@wp.func
def widen(v: wp.vec4) -> wp.vec4d:
    return wp.vec4d(wp.float64(v[0]), wp.float64(v[1]), wp.float64(v[2]), wp.float64(v[3]))


@wp.func
def to_subpixel(x: wp.float64, w: wp.float64, size: int) -> int:
    """Columns or rows in 1/16 pixel from the picture's centre; the clamp only keeps near-zero w out of integer overflow."""
    return int(wp.clamp(wp.rint(x / w * wp.float64(8 * size)), -GUARD - GUARD, GUARD + GUARD))


@wp.func
def to_depth(z: wp.float64, w: wp.float64) -> wp.float64:
    return wp.clamp(z / w, wp.float64(-1.0), wp.float64(1.0))


@wp.func
def beyond(v: wp.vec4d, plane: int, guard_x: wp.float64, guard_y: wp.float64) -> wp.float64:
    """Signed distance to a plane of the clipping volume, positive inside."""
    if plane == 0:
        return v[3] + v[2]
    if plane == 1:
        return v[3] - v[2]
    if plane == 2:
        return guard_x * v[3] - v[0]
    if plane == 3:
        return guard_x * v[3] + v[0]
    if plane == 4:
        return guard_y * v[3] - v[1]
    return guard_y * v[3] + v[1]


@wp.func
def corner(polygon: Polygon, i: int) -> wp.vec4d:
    return wp.vec4d(polygon[i, 0], polygon[i, 1], polygon[i, 2], polygon[i, 3])


@wp.func
def cut(polygon: Polygon, count: int, plane: int, guard_x: wp.float64, guard_y: wp.float64):
    """Keep the part of a convex polygon inside a plane; a cut edge is always walked from its inner end."""
    kept = Polygon()
    kept_count = int(0)
    for i in range(count):
        here = corner(polygon, i)
        there = corner(polygon, (i + 1) % count)
        d_here = beyond(here, plane, guard_x, guard_y)
        d_there = beyond(there, plane, guard_x, guard_y)
        if d_here >= wp.float64(0.0) and kept_count < POLYGON:
            for k in range(4):
                kept[kept_count, k] = here[k]
            kept_count += 1
        if (d_here >= wp.float64(0.0)) != (d_there >= wp.float64(0.0)) and kept_count < POLYGON:
            inner = here
            outer = there
            d_inner = d_here
            d_outer = d_there
            if d_here < wp.float64(0.0):
                inner = there
                outer = here
                d_inner = d_there
                d_outer = d_here
            t = d_inner / (d_inner - d_outer)
            for k in range(4):
                kept[kept_count, k] = inner[k] + t * (outer[k] - inner[k])
            kept_count += 1
    return kept, kept_count


@wp.func
def clip_triangle(v0: wp.vec4d, v1: wp.vec4d, v2: wp.vec4d, height: int, width: int):
    """Clip a triangle to the near, far and guard planes; nothing is left of one that is not finite."""
    guard_x = GUARD / wp.float64(8 * width)
    guard_y = GUARD / wp.float64(8 * height)
    polygon = Polygon()
    total = wp.float64(0.0)
    for k in range(4):
        total += wp.abs(v0[k]) + wp.abs(v1[k]) + wp.abs(v2[k])
        polygon[0, k] = v0[k]
        polygon[1, k] = v1[k]
        polygon[2, k] = v2[k]
    count = int(0)
    if wp.isfinite(total):
        count = int(3)
    for plane in range(6):
        if count > 0:
            polygon, count = cut(polygon, count, plane, guard_x, guard_y)
    for i in range(count):
        if polygon[i, 3] <= wp.float64(0.0):
            count = int(0)
    return polygon, count


@wp.func
def off_screen(a: wp.vec4d, b: wp.vec4d, c: wp.vec4d) -> bool:
    """Whether all three corners lie beyond one side of the picture, or before the near or behind the far plane."""
    return (
        (a[0] > a[3] and b[0] > b[3] and c[0] > c[3])
        or (-a[0] > a[3] and -b[0] > b[3] and -c[0] > c[3])
        or (a[1] > a[3] and b[1] > b[3] and c[1] > c[3])
        or (-a[1] > a[3] and -b[1] > b[3] and -c[1] > c[3])
        or (a[2] > a[3] and b[2] > b[3] and c[2] > c[3])
        or (-a[2] > a[3] and -b[2] > b[3] and -c[2] > c[3])
    )
