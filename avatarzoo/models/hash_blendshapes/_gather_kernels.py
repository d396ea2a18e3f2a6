"""Warp kernels that gather what the field reads of a point's nearest anchors, in one pass, and carry gradients back.

A row holds the blended look-ups (level by level), the nearest anchor's features, and the bands of the point in that
anchor's frame. The torch twin is ``Field.inputs``. On the CPU a thread takes many points, because a kernel runs serially
there; look-up gradients go level by level, whose entries are disjoint.
"""

# ruff: noqa: UP018, RUF046 (int(0): a variable that a loop of a kernel changes, to Warp)
import functools
from types import SimpleNamespace
from typing import Any

import warp as wp

from avatarzoo.encodings import _hash_kernels
from avatarzoo.encodings._hash_layout import PRIMES

PI = wp.constant(3.14159265358979)
PRIME_Y = wp.constant(wp.uint32(PRIMES[1]))
PRIME_Z = wp.constant(wp.uint32(PRIMES[2]))


@functools.cache
def make(channels: int, k: int) -> SimpleNamespace:
    """Make the kernels.

    Args:
        channels: of a table's entry.
        k: neighbours per point.

    Returns:
        ``gather``, ``scatter`` and ``to_points``; ``module``, the Warp module that holds them; ``entry``, an entry's type.
    """
    grid = _hash_kernels.make(3, channels, 32)
    entry_type: Any = grid.entry
    entry_of, cell_of = grid.entry_of, grid.cell_of
    module = wp.get_module(f"avatarzoo.gather_anchors.{channels}_{k}")
    module.options |= {"enable_backward": False, "fuse_fp": False}

    eight_floats: Any = wp.types.vector(length=8, dtype=wp.float32)
    eight_places: Any = wp.types.vector(length=8, dtype=wp.int32)

    @wp.func
    def place_in(local: wp.vec3, box: float, scale: float) -> wp.vec3:
        """Return where a point lies on a level, in cells; outside its box a point is looked up at the border."""
        place = wp.vec3()
        for axis in range(3):
            place[axis] = wp.clamp(local[axis] / (2.0 * box) + 0.5, 0.0, 1.0) * scale + 0.5
        return place

    @wp.func
    def rest_of(position: wp.vec3, cell: wp.vec3i) -> wp.vec3:
        """Return how far a position lies into its cell, per axis."""
        return wp.vec3(position[0] - float(cell[0]), position[1] - float(cell[1]), position[2] - float(cell[2]))

    @wp.func
    def entries_of(cell: wp.vec3i, level: wp.vec4i, start: int) -> eight_places:
        """Return the places of a cell's corners; a hashed level shares the products among them."""
        places = eight_places()
        if level[3] != 0:
            mask = wp.uint32(level[1]) - wp.uint32(1)
            y = wp.uint32(cell[1]) * PRIME_Y
            z = wp.uint32(cell[2]) * PRIME_Z
            yz0 = y ^ z
            yz1 = (y + PRIME_Y) ^ z
            yz2 = y ^ (z + PRIME_Z)
            yz3 = (y + PRIME_Y) ^ (z + PRIME_Z)
            x0 = wp.uint32(cell[0])
            x1 = x0 + wp.uint32(1)
            first = start + level[0]
            places[0] = first + int((x0 ^ yz0) & mask)
            places[1] = first + int((x1 ^ yz0) & mask)
            places[2] = first + int((x0 ^ yz1) & mask)
            places[3] = first + int((x1 ^ yz1) & mask)
            places[4] = first + int((x0 ^ yz2) & mask)
            places[5] = first + int((x1 ^ yz2) & mask)
            places[6] = first + int((x0 ^ yz3) & mask)
            places[7] = first + int((x1 ^ yz3) & mask)
        else:
            for corner in range(8):
                places[corner] = start + level[0] + entry_of(cell, corner, level)
        return places

    @wp.func
    def shares_of(after: wp.vec3) -> eight_floats:
        """Return the corners' trilinear weights."""
        shares = eight_floats()
        a = (1.0 - after[1]) * (1.0 - after[2])
        b = after[1] * (1.0 - after[2])
        c = (1.0 - after[1]) * after[2]
        d = after[1] * after[2]
        x = 1.0 - after[0]
        shares[0] = x * a
        shares[1] = after[0] * a
        shares[2] = x * b
        shares[3] = after[0] * b
        shares[4] = x * c
        shares[5] = after[0] * c
        shares[6] = x * d
        shares[7] = after[0] * d
        return shares

    @wp.kernel(module=module)
    def gather(
        points: wp.array[wp.vec3], index: wp.array[wp.int64], weights: wp.array[float], positions: wp.array[wp.vec3],
        axes: wp.array[wp.mat33], values: wp.array[entry_type], scales: wp.array[float], levels: wp.array[wp.vec4i],
        entries: int, features: wp.array[float], width: int, bands: int, box: float, first: int, per_thread: int,
        rows: wp.array2d[float], nearest: wp.array[wp.vec3],
    ):  # fmt: skip
        block = first + wp.tid()
        for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
            column = int(0)
            for number in range(levels.shape[0]):
                total = entry_type()
                for j in range(k):
                    anchor = int(index[n * k + j])
                    position = place_in(axes[anchor] * (points[n] - positions[anchor]), box, scales[number])
                    cell = cell_of(position)
                    after = rest_of(position, cell)
                    places = entries_of(cell, levels[number], anchor * entries)
                    shares = shares_of(after)
                    found = entry_type()
                    for corner in range(8):
                        found += shares[corner] * values[places[corner]]
                    total += weights[n * k + j] * found
                for c in range(channels):
                    rows[n, column + c] = total[c]
                column += channels
            anchor0 = int(index[n * k])
            for f in range(width):
                rows[n, column + f] = features[anchor0 * width + f]
            column += width
            here = axes[anchor0] * (points[n] - positions[anchor0])
            nearest[n] = here
            for axis in range(3):
                angle = PI * here[axis] / box
                sine = wp.sin(angle)
                cosine = wp.cos(angle)
                for band in range(bands):
                    rows[n, column + 6 * band + axis] = sine
                    rows[n, column + 6 * band + 3 + axis] = cosine
                    doubled = 2.0 * sine * cosine
                    cosine = 1.0 - 2.0 * sine * sine
                    sine = doubled

    @wp.kernel(module=module)
    def scatter(
        points: wp.array[wp.vec3], index: wp.array[wp.int64], weights: wp.array[float], positions: wp.array[wp.vec3],
        axes: wp.array[wp.mat33], grad_rows: wp.array2d[float], scales: wp.array[float], levels: wp.array[wp.vec4i],
        entries: int, box: float, first_level: int, per_thread: int, grad_values: wp.array[entry_type],
    ):  # fmt: skip
        """Add each point's gradient to the entries around it."""
        thread_level, block = wp.tid()
        number = first_level + thread_level
        level = levels[number]
        scale = scales[number]
        for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
            grad = entry_type()
            for c in range(channels):
                grad[c] = grad_rows[n, number * channels + c]
            for j in range(k):
                anchor = int(index[n * k + j])
                position = place_in(axes[anchor] * (points[n] - positions[anchor]), box, scale)
                cell = cell_of(position)
                after = rest_of(position, cell)
                places = entries_of(cell, level, anchor * entries)
                shares = shares_of(after)
                own = weights[n * k + j] * grad
                for corner in range(8):
                    wp.atomic_add(grad_values, places[corner], shares[corner] * own)

    @wp.kernel(module=module)
    def to_points(
        points: wp.array[wp.vec3], index: wp.array[wp.int64], weights: wp.array[float], positions: wp.array[wp.vec3],
        axes: wp.array[wp.mat33], values: wp.array[entry_type], scales: wp.array[float], levels: wp.array[wp.vec4i],
        entries: int, width: int, bands: int, box: float, rows: wp.array2d[float], grad_rows: wp.array2d[float],
        grad_nearest: wp.array[wp.vec3], first: int, per_thread: int, grad_points: wp.array[wp.vec3],
        grad_weights: wp.array[float],
    ):  # fmt: skip
        """Carry gradients to the points, where the blend's weights do not change, and to those weights."""
        block = first + wp.tid()
        for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
            total = wp.vec3()
            for j in range(k):
                anchor = int(index[n * k + j])
                local = axes[anchor] * (points[n] - positions[anchor])
                along_local = wp.vec3()
                by_weight = float(0.0)
                for number in range(levels.shape[0]):
                    position = place_in(local, box, scales[number])
                    cell = cell_of(position)
                    after = rest_of(position, cell)
                    places = entries_of(cell, levels[number], anchor * entries)
                    shares = shares_of(after)
                    for corner in range(8):
                        value = values[places[corner]]
                        along = float(0.0)
                        for c in range(channels):
                            along += value[c] * grad_rows[n, number * channels + c]
                        by_weight += shares[corner] * along
                        along = along * weights[n * k + j] * scales[number] / (2.0 * box)
                        for axis in range(3):
                            slope = float(-1.0)
                            if ((corner >> axis) & 1) == 1:
                                slope = 1.0
                            for other in range(3):
                                if other != axis:
                                    if ((corner >> other) & 1) == 1:
                                        slope = slope * after[other]
                                    else:
                                        slope = slope * (1.0 - after[other])
                            if wp.abs(local[axis]) < box:
                                along_local[axis] = along_local[axis] + slope * along
                if j == 0:
                    column = levels.shape[0] * channels + width
                    along_local = along_local + grad_nearest[n]
                    for axis in range(3):
                        rate = PI / box
                        slope = float(0.0)
                        for band in range(bands):
                            at = column + 6 * band + axis
                            slope += rate * (rows[n, at + 3] * grad_rows[n, at] - rows[n, at] * grad_rows[n, at + 3])
                            rate = rate * 2.0
                        along_local[axis] = along_local[axis] + slope
                grad_weights[n * k + j] = by_weight
                total += wp.transpose(axes[anchor]) * along_local
            grad_points[n] = total

    return SimpleNamespace(gather=gather, scatter=scatter, to_points=to_points, module=module, entry=entry_type)
