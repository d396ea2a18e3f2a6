"""Warp kernels from the triangle that owns a pixel to its u, v and z/w, and back: one source for CPU and CUDA.

Barycentrics are computed in float64 from float32 positions: thin and distant triangles lose too many digits otherwise, and
the torch rasterizer reaches the same bits. On the CPU one serial thread does an image, which keeps sums in order.
"""

import warp as wp

from avatarzoo.rasterizers import _conventions as conventions
from avatarzoo.rasterizers._warp_clip import to_depth, widen

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

EMPTY = wp.constant(wp.int64(conventions.EMPTY))
ID_MASK = wp.constant(wp.int64((1 << conventions.ID_BITS) - 1))
DEGENERATE = wp.constant(wp.float64(conventions.DEGENERATE))


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
