"""Warp kernels of the rasterizer: one source for CPU and CUDA.

On the CPU a launch is one serial thread per image, so the depth buffer needs no atomics and sums are always added in the
same order; on CUDA there is one thread per triangle or pixel. Nothing here is fused into multiply-adds, so that the
torch rasterizer reaches the same bits.
"""

# ruff: noqa: UP018, RUF046 (int(0), float(0.0): a variable that a loop of a kernel changes, to Warp)
import warp as wp

from avatarzoo.rasterizers import _conventions as conventions

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

OUTSIDE = wp.constant(-(1 << 30))  # in place of a snapped column: this vertex needs clipping
EMPTY = wp.constant(wp.int64(conventions.EMPTY))
ID_MASK = wp.constant(wp.int64((1 << conventions.ID_BITS) - 1))
ID_STEP = wp.constant(wp.int64(1 << conventions.ID_BITS))
DEPTH_STEPS = wp.constant(wp.float64(conventions.DEPTH_STEPS))
GUARD = wp.constant(wp.float64(conventions.GUARD))
DEGENERATE = wp.constant(wp.float64(conventions.DEGENERATE))
POLYGON = wp.constant(9)  # a triangle cut by six planes has at most nine corners

Polygon = wp.types.matrix(shape=(9, 4), dtype=wp.float64)


@wp.func
def widen(v: wp.vec4) -> wp.vec4d:
    return wp.vec4d(wp.float64(v[0]), wp.float64(v[1]), wp.float64(v[2]), wp.float64(v[3]))


@wp.func
def to_subpixel(x: wp.float64, w: wp.float64, size: int) -> int:
    return int(wp.rint(x / w * wp.float64(8 * size)))


@wp.func
def to_depth(z: wp.float64, w: wp.float64) -> wp.float64:
    return wp.clamp(z / w, wp.float64(-1.0), wp.float64(1.0))


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
                steps = wp.int64((z * wp.float64(0.5) + wp.float64(0.5)) * DEPTH_STEPS)
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
def draw_clipped(
    v0: wp.vec4d, v1: wp.vec4d, v2: wp.vec4d, triangle: int,
    offset: int, height: int, width: int, keys: wp.array[wp.int64], lane: int, lanes: int,
):  # fmt: skip
    """Clip a triangle to the near, far and guard planes and draw the fan of what is left."""
    total = wp.float64(0.0)
    for k in range(4):
        total += wp.abs(v0[k]) + wp.abs(v1[k]) + wp.abs(v2[k])
    if not wp.isfinite(total):
        return
    guard_x = GUARD / wp.float64(8 * width)
    guard_y = GUARD / wp.float64(8 * height)
    polygon = Polygon()
    for k in range(4):
        polygon[0, k] = v0[k]
        polygon[1, k] = v1[k]
        polygon[2, k] = v2[k]
    count = int(3)
    for plane in range(6):
        if count > 0:
            polygon, count = cut(polygon, count, plane, guard_x, guard_y)
    for i in range(count):
        if polygon[i, 3] <= wp.float64(0.0):
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


@wp.func
def centre(index: int, size: int) -> wp.float64:
    return wp.float64(2 * index + 1) / wp.float64(size) - wp.float64(1.0)


@wp.struct
class Corners:
    """A triangle seen from a pixel: offsets p of its corners, doubled clip-space areas a opposite to them."""

    p0x: wp.float64
    p0y: wp.float64
    p1x: wp.float64
    p1y: wp.float64
    p2x: wp.float64
    p2y: wp.float64
    a0: wp.float64
    a1: wp.float64
    total: wp.float64
    degenerate: bool


@wp.func
def see(v0: wp.vec4d, v1: wp.vec4d, v2: wp.vec4d, x: wp.float64, y: wp.float64) -> Corners:
    s = Corners()
    s.p0x = v0[0] - x * v0[3]
    s.p0y = v0[1] - y * v0[3]
    s.p1x = v1[0] - x * v1[3]
    s.p1y = v1[1] - y * v1[3]
    s.p2x = v2[0] - x * v2[3]
    s.p2y = v2[1] - y * v2[3]
    s.a0 = s.p1x * s.p2y - s.p1y * s.p2x
    s.a1 = s.p2x * s.p0y - s.p2y * s.p0x
    a2 = s.p0x * s.p1y - s.p0y * s.p1x
    s.total = s.a0 + s.a1 + a2
    scale = (
        wp.abs(s.p1x * s.p2y) + wp.abs(s.p1y * s.p2x) + wp.abs(s.p2x * s.p0y)
        + wp.abs(s.p2y * s.p0x) + wp.abs(s.p0x * s.p1y) + wp.abs(s.p0y * s.p1x)
    )  # fmt: skip
    s.degenerate = wp.abs(s.total) <= DEGENERATE * scale
    return s


@wp.kernel
def shade(
    clip: wp.array[wp.vec4], triangles: wp.array[wp.vec3i], keys: wp.array[wp.int64], first_image: int, vertices: int,
    per_thread: int, height: int, width: int, raster: wp.array[wp.vec4],
):  # fmt: skip
    """Write (u, v, z/w, id + 1) of the triangle that owns each pixel, and zeros elsewhere."""
    thread_image, block = wp.tid()
    image = first_image + thread_image
    base = image * vertices
    offset = image * height * width
    for pixel in range(block * per_thread, wp.min((block + 1) * per_thread, height * width)):
        key = keys[offset + pixel]
        if key == EMPTY:
            raster[offset + pixel] = wp.vec4(0.0, 0.0, 0.0, 0.0)
        else:
            t = int(key & ID_MASK)
            ids = triangles[t]
            v0, v1, v2 = widen(clip[base + ids[0]]), widen(clip[base + ids[1]]), widen(clip[base + ids[2]])
            row = pixel // width
            s = see(v0, v1, v2, centre(pixel - row * width, width), centre(row, height))
            u = wp.float64(1.0) / wp.float64(3.0)
            v = wp.float64(1.0) / wp.float64(3.0)
            if not s.degenerate:
                u = wp.clamp(s.a0 / s.total, wp.float64(0.0), wp.float64(1.0))
                v = wp.clamp(s.a1 / s.total, wp.float64(0.0), wp.float64(1.0))
                both = wp.max(u + v, wp.float64(1.0))
                u = u / both
                v = v / both
            r = wp.float64(1.0) - u - v
            z = to_depth(v0[2] * u + v1[2] * v + v2[2] * r, v0[3] * u + v1[3] * v + v2[3] * r)
            raster[offset + pixel] = wp.vec4(wp.float32(u), wp.float32(v), wp.float32(z), wp.float32(t + 1))


@wp.kernel
def shade_backward(
    clip: wp.array[wp.vec4], triangles: wp.array[wp.vec3i], raster: wp.array[wp.vec4], grad_raster: wp.array[wp.vec4],
    first_image: int, vertices: int, per_thread: int, height: int, width: int, damping: wp.float64,
    grad_clip: wp.array[wp.float32],
):  # fmt: skip
    """Carry the gradient of u and v to x, y and w of the three corners."""
    thread_image, block = wp.tid()
    image = first_image + thread_image
    base = image * vertices
    offset = image * height * width
    for pixel in range(block * per_thread, wp.min((block + 1) * per_thread, height * width)):
        t = int(raster[offset + pixel][3]) - 1
        gu = wp.float64(grad_raster[offset + pixel][0])
        gv = wp.float64(grad_raster[offset + pixel][1])
        if t >= 0 and (gu != wp.float64(0.0) or gv != wp.float64(0.0)):
            ids = triangles[t]
            i0, i1, i2 = base + ids[0], base + ids[1], base + ids[2]
            v0, v1, v2 = widen(clip[i0]), widen(clip[i1]), widen(clip[i2])
            row = pixel // width
            x = centre(pixel - row * width, width)
            y = centre(row, height)
            s = see(v0, v1, v2, x, y)
            if not s.degenerate:
                total = s.total
                if total >= wp.float64(0.0):
                    total += damping
                else:
                    total -= damping
                # u = a0 / total, v = a1 / total, and the total grows with each of a0, a1, a2.
                mean = (gu * s.a0 + gv * s.a1) / total
                g0 = (gu - mean) / total
                g1 = (gv - mean) / total
                g2 = -mean / total
                spread(grad_clip, i0, g2 * s.p1y - g1 * s.p2y, g1 * s.p2x - g2 * s.p1x, x, y)
                spread(grad_clip, i1, g0 * s.p2y - g2 * s.p0y, g2 * s.p0x - g0 * s.p2x, x, y)
                spread(grad_clip, i2, g1 * s.p0y - g0 * s.p1y, g0 * s.p1x - g1 * s.p0x, x, y)


@wp.func
def spread(grad: wp.array[wp.float32], vertex: int, gx: wp.float64, gy: wp.float64, x: wp.float64, y: wp.float64):
    wp.atomic_add(grad, 4 * vertex, wp.float32(gx))
    wp.atomic_add(grad, 4 * vertex + 1, wp.float32(gy))
    wp.atomic_add(grad, 4 * vertex + 3, wp.float32(-x * gx - y * gy))


@wp.kernel
def interpolate(
    attributes: wp.array[wp.float32], raster: wp.array[wp.vec4], triangles: wp.array[wp.vec3i],
    first_image: int, image_stride: int, channels: int, per_thread: int, pixels: int, picture: wp.array[wp.float32],
):  # fmt: skip
    """Weigh the attributes of the three corners, per pixel."""
    thread_image, block = wp.tid()
    image = first_image + thread_image
    base = image * image_stride
    for pixel in range(block * per_thread, wp.min((block + 1) * per_thread, pixels)):
        place = image * pixels + pixel
        r = raster[place]
        t = int(r[3]) - 1
        out = place * channels
        if t < 0:
            for c in range(channels):
                picture[out + c] = 0.0
        elif t >= triangles.shape[0]:
            for c in range(channels):
                picture[out + c] = wp.nan
        else:
            ids = triangles[t]
            i0, i1, i2 = base + ids[0] * channels, base + ids[1] * channels, base + ids[2] * channels
            u, v = r[0], r[1]
            w = 1.0 - u - v
            for c in range(channels):
                picture[out + c] = u * attributes[i0 + c] + v * attributes[i1 + c] + w * attributes[i2 + c]


@wp.kernel
def interpolate_backward(
    attributes: wp.array[wp.float32], raster: wp.array[wp.vec4], triangles: wp.array[wp.vec3i],
    grad_picture: wp.array[wp.float32], first_image: int, image_stride: int, channels: int, per_thread: int, pixels: int,
    to_attributes: bool, to_raster: bool, grad_attributes: wp.array[wp.float32], grad_raster: wp.array[wp.vec4],
):  # fmt: skip
    """Carry a picture's gradient to the attributes, the raster's u and v, or both."""
    thread_image, block = wp.tid()
    image = first_image + thread_image
    base = image * image_stride
    for pixel in range(block * per_thread, wp.min((block + 1) * per_thread, pixels)):
        place = image * pixels + pixel
        r = raster[place]
        t = int(r[3]) - 1
        gu = float(0.0)
        gv = float(0.0)
        if t >= 0 and t < triangles.shape[0]:
            ids = triangles[t]
            i0, i1, i2 = base + ids[0] * channels, base + ids[1] * channels, base + ids[2] * channels
            out = place * channels
            if to_raster:
                for c in range(channels):
                    last = attributes[i2 + c]
                    gu += grad_picture[out + c] * (attributes[i0 + c] - last)
                    gv += grad_picture[out + c] * (attributes[i1 + c] - last)
            if to_attributes:
                u, v = r[0], r[1]
                w = 1.0 - u - v
                for c in range(channels):
                    g = grad_picture[out + c]
                    wp.atomic_add(grad_attributes, i0 + c, u * g)
                    wp.atomic_add(grad_attributes, i1 + c, v * g)
                    wp.atomic_add(grad_attributes, i2 + c, w * g)
        if to_raster:
            grad_raster[place] = wp.vec4(gu, gv, 0.0, 0.0)
