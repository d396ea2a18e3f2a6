"""Warp kernels that walk rays through occupancy grids, cell by cell: one source for CPU and CUDA.

On the CPU a thread takes many rays, because a kernel runs serially there.
"""

# ruff: noqa: RUF046, UP018 (int(0): a variable that a loop of a kernel changes, to Warp)
import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

FAR = wp.constant(1.0e30)


@wp.struct
class Walk:
    """Where a ray stands in the grid: cell, next border per axis, distances of entry and exit."""

    cell: wp.vec3i
    border: wp.vec3
    stride: wp.vec3
    step: wp.vec3i
    at: float
    end: float


@wp.func
def enter(origin: wp.vec3, direction: wp.vec3, low: wp.vec3, cell: float, shape: wp.vec3i) -> Walk:
    """Place a ray at the near border of the box; ``end`` lies before ``at`` where it misses."""
    w = Walk()
    at = float(0.0)
    end = float(FAR)
    inverse = wp.vec3()
    for axis in range(3):
        d = direction[axis]
        inverse[axis] = wp.where(wp.abs(d) > 1.0e-12, 1.0 / d, FAR)
        a = (low[axis] - origin[axis]) * inverse[axis]
        b = (low[axis] + cell * float(shape[axis]) - origin[axis]) * inverse[axis]
        at = wp.max(at, wp.min(a, b))
        end = wp.min(end, wp.max(a, b))
    for axis in range(3):
        place = (origin[axis] + at * direction[axis] - low[axis]) / cell
        index = wp.clamp(int(wp.floor(place)), 0, shape[axis] - 1)
        forward = int(0)
        if direction[axis] > 0.0:
            forward = 1
        w.cell[axis] = index
        w.step[axis] = 2 * forward - 1
        w.stride[axis] = cell * wp.abs(inverse[axis])
        w.border[axis] = (low[axis] + float(index + forward) * cell - origin[axis]) * inverse[axis]
        if wp.abs(direction[axis]) <= 1.0e-12:
            w.border[axis] = FAR
    w.at = at
    w.end = end
    return w


@wp.func
def leave(w: Walk) -> int:
    """Return the axis of the next border."""
    axis = int(0)
    if w.border[1] < w.border[0]:
        axis = 1
    if w.border[2] < w.border[axis]:
        axis = 2
    return axis


@wp.kernel
def occupied_length(
    origins: wp.array[wp.vec3], directions: wp.array[wp.vec3], image: wp.array[wp.int64], occupied: wp.array[wp.uint8],
    shape: wp.vec3i, images: int, low: wp.array[float], side: wp.array[float], block_first: int, per_thread: int,
    limit: wp.array[float], total: wp.array[float],
):  # fmt: skip
    """Write how much of each ray lies in occupied cells, up to its limit where there are limits."""
    block = block_first + wp.tid()
    cells = shape[0] * shape[1] * shape[2]
    corner = wp.vec3(low[0], low[1], low[2])
    for n in range(block * per_thread, wp.min((block + 1) * per_thread, origins.shape[0])):
        base = int(0)
        if images > 1:
            base = int(image[n]) * cells
        w = enter(origins[n], directions[n], corner, side[0], shape)
        if limit.shape[0] > 0:
            w.end = wp.min(w.end, limit[n])
        length = float(0.0)
        inside = w.at < w.end
        while inside:
            axis = leave(w)
            after = wp.min(w.border[axis], w.end)
            if occupied[base + (w.cell[0] * shape[1] + w.cell[1]) * shape[2] + w.cell[2]] != wp.uint8(0):
                length += wp.max(after - w.at, 0.0)
            w.at = after
            w.cell[axis] = w.cell[axis] + w.step[axis]
            w.border[axis] = w.border[axis] + w.stride[axis]
            inside = w.at < w.end and w.cell[axis] >= 0 and w.cell[axis] < shape[axis]
        total[n] = length


@wp.kernel
def place_samples(
    origins: wp.array[wp.vec3], directions: wp.array[wp.vec3], image: wp.array[wp.int64], occupied: wp.array[wp.uint8],
    shape: wp.vec3i, images: int, low: wp.array[float], side: wp.array[float], block_first: int, per_thread: int,
    places: wp.array2d[float], distance: wp.array2d[float],
):  # fmt: skip
    """Turn ascending lengths in occupied space into distances along the ray."""
    block = block_first + wp.tid()
    cells = shape[0] * shape[1] * shape[2]
    corner = wp.vec3(low[0], low[1], low[2])
    samples = places.shape[1]
    for n in range(block * per_thread, wp.min((block + 1) * per_thread, origins.shape[0])):
        base = int(0)
        if images > 1:
            base = int(image[n]) * cells
        w = enter(origins[n], directions[n], corner, side[0], shape)
        length = float(0.0)
        last = w.at
        sample = int(0)
        inside = w.at < w.end and samples > 0
        while inside:
            axis = leave(w)
            after = wp.min(w.border[axis], w.end)
            if occupied[base + (w.cell[0] * shape[1] + w.cell[1]) * shape[2] + w.cell[2]] != wp.uint8(0):
                more = wp.max(after - w.at, 0.0)
                going = bool(True)
                while going:
                    here = places[n, sample] - length
                    if here <= more:
                        distance[n, sample] = w.at + here
                        sample += 1
                        going = sample < samples
                    else:
                        going = bool(False)
                length += more
                last = after
            w.at = after
            w.cell[axis] = w.cell[axis] + w.step[axis]
            w.border[axis] = w.border[axis] + w.stride[axis]
            inside = sample < samples and w.at < w.end and w.cell[axis] >= 0 and w.cell[axis] < shape[axis]
        for rest in range(sample, samples):
            distance[n, rest] = last


@wp.kernel
def mark_near(
    points: wp.array[wp.vec3], per_image: int, reach: float, shape: wp.vec3i, low: wp.array[float], side: wp.array[float],
    first: int, per_thread: int, occupied: wp.array[wp.uint8],
):  # fmt: skip
    """Mark the cells that come within a reach of points."""
    block = first + wp.tid()
    cells = shape[0] * shape[1] * shape[2]
    size = side[0]
    for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
        base = (n // per_image) * cells
        p = points[n] - wp.vec3(low[0], low[1], low[2])
        i0 = wp.max(int(wp.floor((p[0] - reach) / size)), 0)
        i1 = wp.min(int(wp.floor((p[0] + reach) / size)), shape[0] - 1)
        j0 = wp.max(int(wp.floor((p[1] - reach) / size)), 0)
        j1 = wp.min(int(wp.floor((p[1] + reach) / size)), shape[1] - 1)
        k0 = wp.max(int(wp.floor((p[2] - reach) / size)), 0)
        k1 = wp.min(int(wp.floor((p[2] + reach) / size)), shape[2] - 1)
        for i in range(i0, i1 + 1):
            x = p[0] - wp.clamp(p[0], float(i) * size, float(i + 1) * size)
            for j in range(j0, j1 + 1):
                y = p[1] - wp.clamp(p[1], float(j) * size, float(j + 1) * size)
                for k in range(k0, k1 + 1):
                    z = p[2] - wp.clamp(p[2], float(k) * size, float(k + 1) * size)
                    if x * x + y * y + z * z <= reach * reach:
                        occupied[base + (i * shape[1] + j) * shape[2] + k] = wp.uint8(1)
