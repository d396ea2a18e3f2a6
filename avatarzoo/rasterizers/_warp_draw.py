"""Warp kernels that decide which triangle owns each pixel: one source for CPU and CUDA.

On the CPU one serial thread draws an image, so that its key buffer needs no atomics; on CUDA there is one thread per
triangle, and large triangles are queued for groups of threads. Nothing is fused into multiply-adds, so that the torch
rasterizer reaches the same bits.
"""

# ruff: noqa: UP018, RUF046 (int(0), float(0.0): a variable that a loop of a kernel changes, to Warp)
import warp as wp

from avatarzoo.rasterizers import _conventions as conventions
from avatarzoo.rasterizers._warp_clip import GUARD, clip_triangle, off_screen, to_depth, to_subpixel, widen

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

OUTSIDE = wp.constant(-(1 << 30))  # in place of a snapped column: this vertex needs clipping
ID_STEP = wp.constant(wp.int64(1 << conventions.ID_BITS))
DEPTH_STEPS = wp.constant(wp.float64(conventions.DEPTH_STEPS))


@wp.kernel
def snap(
    clip: wp.array[wp.vec4], first: int, per_thread: int, height: int, width: int,
    snapped: wp.array[wp.vec2i], depth: wp.array[wp.float64],
):  # fmt: skip
    """Snap vertices to the subpixel grid; those outside near, far or guard planes are marked OUTSIDE."""
    start = first + wp.tid() * per_thread
    for i in range(start, start + per_thread):
        v = widen(clip[i])
        x, y, z, w = v[0], v[1], v[2], v[3]
        plain = (
            w > wp.float64(0.0)
            and wp.abs(z) <= w
            and wp.abs(x) <= GUARD / wp.float64(8 * width) * w
            and wp.abs(y) <= GUARD / wp.float64(8 * height) * w
        )
        if plain:
            snapped[i] = wp.vec2i(to_subpixel(x, w, width), to_subpixel(y, w, height))
            depth[i] = to_depth(z, w)
        else:
            snapped[i] = wp.vec2i(OUTSIDE, OUTSIDE)


@wp.func
def lowest(a: int, b: int, c: int, size: int) -> int:
    """First pixel whose centre is not before any corner."""
    return wp.max((wp.min(wp.min(a, b), c) + 8 * size + 7) >> 4, 0)


@wp.func
def highest(a: int, b: int, c: int, size: int) -> int:
    return wp.min((wp.max(wp.max(a, b), c) + 8 * size - 8) >> 4, size - 1)


@wp.func
def inclusive(dx: wp.int64, dy: wp.int64) -> wp.int64:
    """Return 0 for a top or left edge, which owns the centres that lie on it, and -1 for the others."""
    if dy < wp.int64(0) or (dy == wp.int64(0) and dx > wp.int64(0)):
        return wp.int64(0)
    return wp.int64(-1)


@wp.func
def draw(
    a: wp.vec2i, b: wp.vec2i, c: wp.vec2i, za: wp.float64, zb: wp.float64, zc: wp.float64, triangle: int,
    offset: int, height: int, width: int, keys: wp.array[wp.int64], lane: int, lanes: int,
):  # fmt: skip
    """Draw one snapped triangle; of lanes x lanes threads, each takes every lanes-th row and column."""
    left = lowest(a[0], b[0], c[0], width)
    right = highest(a[0], b[0], c[0], width)
    top = lowest(a[1], b[1], c[1], height)
    bottom = highest(a[1], b[1], c[1], height)
    if left > right or top > bottom:
        return
    ax, ay = wp.int64(a[0]), wp.int64(a[1])
    bx, by = wp.int64(b[0]), wp.int64(b[1])
    cx, cy = wp.int64(c[0]), wp.int64(c[1])
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == wp.int64(0):
        return
    if area < wp.int64(0):  # seen from behind: swap two corners
        area = -area
        tx = bx
        ty = by
        tz = zb
        bx = cx
        by = cy
        zb = zc
        cx = tx
        cy = ty
        zc = tz
    column0 = left + lane % lanes
    row0 = top + lane // lanes
    px = wp.int64(16 * column0 + 8 - 8 * width)
    py = wp.int64(16 * row0 + 8 - 8 * height)
    step = wp.int64(16 * lanes)
    # The weight of each corner is the doubled area opposite to it.
    row_a = (cx - bx) * (py - by) - (cy - by) * (px - bx)
    row_b = (ax - cx) * (py - cy) - (ay - cy) * (px - cx)
    row_c = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    own_a = inclusive(cx - bx, cy - by)
    own_b = inclusive(ax - cx, ay - cy)
    own_c = inclusive(bx - ax, by - ay)
    inverse = wp.float64(1.0) / wp.float64(area)
    row = int(row0)
    while row <= bottom:
        wa = row_a
        wb = row_b
        wc = row_c
        column = int(column0)
        while column <= right:
            if ((wa + own_a) | (wb + own_b) | (wc + own_c)) >= wp.int64(0):
                z = (wp.float64(wa) * za + wp.float64(wb) * zb + wp.float64(wc) * zc) * inverse
                z = wp.clamp(z, wp.float64(-1.0), wp.float64(1.0))
                steps = wp.int64((z * wp.float64(0.5) + wp.float64(0.5)) * DEPTH_STEPS + wp.float64(0.5))
                wp.atomic_min(keys, offset + row * width + column, steps * ID_STEP + wp.int64(triangle))
            wa -= (cy - by) * step
            wb -= (ay - cy) * step
            wc -= (by - ay) * step
            column += lanes
        row_a += (cx - bx) * step
        row_b += (ax - cx) * step
        row_c += (bx - ax) * step
        row += lanes


@wp.func
def draw_clipped(
    v0: wp.vec4d, v1: wp.vec4d, v2: wp.vec4d, triangle: int,
    offset: int, height: int, width: int, keys: wp.array[wp.int64], lane: int, lanes: int,
):  # fmt: skip
    """Clip a triangle to the near, far and guard planes and draw the fan of what is left."""
    polygon, count = clip_triangle(v0, v1, v2, height, width)
    if count < 3:
        return
    a = wp.vec2i(to_subpixel(polygon[0, 0], polygon[0, 3], width), to_subpixel(polygon[0, 1], polygon[0, 3], height))
    za = to_depth(polygon[0, 2], polygon[0, 3])
    for i in range(1, count - 1):
        j = i + 1
        b = wp.vec2i(to_subpixel(polygon[i, 0], polygon[i, 3], width), to_subpixel(polygon[i, 1], polygon[i, 3], height))
        c = wp.vec2i(to_subpixel(polygon[j, 0], polygon[j, 3], width), to_subpixel(polygon[j, 1], polygon[j, 3], height))
        zb = to_depth(polygon[i, 2], polygon[i, 3])
        zc = to_depth(polygon[j, 2], polygon[j, 3])
        draw(a, b, c, za, zb, zc, triangle, offset, height, width, keys, lane, lanes)


@wp.kernel
def draw_triangles(
    clip: wp.array[wp.vec4], snapped: wp.array[wp.vec2i], depth: wp.array[wp.float64], triangles: wp.array[wp.vec3i],
    first_image: int, vertices: int, per_thread: int, height: int, width: int, limit: int, capacity: int,
    keys: wp.array[wp.int64], queued: wp.array[int], queue: wp.array[int],
):  # fmt: skip
    """Draw every triangle into the key buffer; boxes above ``limit`` pixels (0: none) are queued by size instead."""
    thread_image, block = wp.tid()
    image = first_image + thread_image
    base = image * vertices
    offset = image * height * width
    for t in range(block * per_thread, wp.min((block + 1) * per_thread, triangles.shape[0])):
        ids = triangles[t]
        i0, i1, i2 = base + ids[0], base + ids[1], base + ids[2]
        a, b, c = snapped[i0], snapped[i1], snapped[i2]
        slot = int(-1)
        plain = a[0] != OUTSIDE and b[0] != OUTSIDE and c[0] != OUTSIDE
        if plain:
            if limit > 0:
                columns = highest(a[0], b[0], c[0], width) - lowest(a[0], b[0], c[0], width) + 1
                rows = highest(a[1], b[1], c[1], height) - lowest(a[1], b[1], c[1], height) + 1
                if columns > 0 and rows > 0 and columns * rows > limit:
                    slot = 2 * image
                    if columns * rows > 64 * limit:
                        slot += 1
            if slot < 0:
                draw(a, b, c, depth[i0], depth[i1], depth[i2], t, offset, height, width, keys, 0, 1)
        else:
            v0, v1, v2 = widen(clip[i0]), widen(clip[i1]), widen(clip[i2])
            if not off_screen(v0, v1, v2):
                if limit > 0:
                    slot = 2 * image + 1
                else:
                    draw_clipped(v0, v1, v2, t, offset, height, width, keys, 0, 1)
        if slot >= 0:
            place = wp.atomic_add(queued, slot, 1)
            queue[slot * capacity + place] = t


@wp.kernel
def draw_queued(
    clip: wp.array[wp.vec4], snapped: wp.array[wp.vec2i], depth: wp.array[wp.float64], triangles: wp.array[wp.vec3i],
    vertices: int, height: int, width: int, which: int, groups: int, lanes: int, capacity: int,
    keys: wp.array[wp.int64], queued: wp.array[int], queue: wp.array[int],
):  # fmt: skip
    """Draw queued triangles, each by a group of lanes x lanes threads."""
    image, group, lane = wp.tid()
    base = image * vertices
    offset = image * height * width
    slot = 2 * image + which
    place = int(group)
    while place < queued[slot]:
        t = queue[slot * capacity + place]
        ids = triangles[t]
        i0, i1, i2 = base + ids[0], base + ids[1], base + ids[2]
        a, b, c = snapped[i0], snapped[i1], snapped[i2]
        if a[0] != OUTSIDE and b[0] != OUTSIDE and c[0] != OUTSIDE:
            draw(a, b, c, depth[i0], depth[i1], depth[i2], t, offset, height, width, keys, lane, lanes)
        else:
            draw_clipped(widen(clip[i0]), widen(clip[i1]), widen(clip[i2]), t, offset, height, width, keys, lane, lanes)
        place += groups
