"""Warp kernels that find the nearest anchors of points: all anchors, or those listed for the nearest cluster.

On the CPU a thread takes many points, because a kernel runs serially there. Distances are kept sorted by insertion; k is
small. Anchors of image b stand at rows b * count .. (b + 1) * count - 1.
"""

# ruff: noqa: RUF046, UP018 (int(0): a variable that a loop of a kernel changes, to Warp)
import functools
from types import SimpleNamespace
from typing import Any

import warp as wp

FAR = wp.constant(1.0e30)


@functools.cache
def make(k: int) -> SimpleNamespace:
    """Make the kernels for a number of neighbours.

    Args:
        k: how many.

    Returns:
        ``brute`` and ``clustered``, and ``module``, the Warp module that holds them.
    """
    module = wp.get_module(f"avatarzoo.nearest_anchors.{k}")
    module.options |= {"enable_backward": False, "fuse_fp": False}
    distances: Any = wp.types.vector(length=k, dtype=wp.float32)
    indices: Any = wp.types.vector(length=k, dtype=wp.int32)

    @wp.struct
    class Nearest:
        distance: distances
        index: indices

    @wp.func
    def start() -> Nearest:
        found = Nearest()
        for place in range(k):
            found.distance[place] = FAR
            found.index[place] = 0
        return found

    @wp.func
    def insert(found: Nearest, distance: float, index: int) -> Nearest:
        """Put an anchor in its place; the caller knows that it is nearer than the last."""
        moving = distance
        item = index
        for place in range(k):
            if moving < found.distance[place]:
                d = found.distance[place]
                i = found.index[place]
                found.distance[place] = moving
                found.index[place] = item
                moving = d
                item = i
        return found

    @wp.kernel(module=module)
    def brute(
        points: wp.array[wp.vec3], image: wp.array[wp.int64], anchors: wp.array[wp.vec3], count: int, first: int,
        per_thread: int, index: wp.array2d[wp.int64], square: wp.array2d[float],
    ):  # fmt: skip
        block = first + wp.tid()
        for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
            base = int(image[n]) * count
            p = points[n]
            found = start()
            for a in range(count):
                offset = p - anchors[base + a]
                d = wp.dot(offset, offset)
                if d < found.distance[k - 1]:
                    found = insert(found, d, a)
            for place in range(k):
                index[n, place] = wp.int64(base + found.index[place])
                square[n, place] = found.distance[place]

    @wp.kernel(module=module)
    def clustered(
        points: wp.array[wp.vec3], image: wp.array[wp.int64], anchors: wp.array[wp.vec3], count: int, clusters: int,
        starts: wp.array[wp.int32], members: wp.array[wp.int32], first: int, per_thread: int,
        index: wp.array2d[wp.int64], square: wp.array2d[float],
    ):  # fmt: skip
        block = first + wp.tid()
        for n in range(block * per_thread, wp.min((block + 1) * per_thread, points.shape[0])):
            base = int(image[n]) * count
            p = points[n]
            nearest = float(FAR)
            cluster = int(0)
            for c in range(clusters):
                offset = p - anchors[base + c]
                d = wp.dot(offset, offset)
                if d < nearest:
                    nearest = d
                    cluster = c
            found = start()
            for m in range(starts[cluster], starts[cluster + 1]):
                a = members[m]
                offset = p - anchors[base + a]
                d = wp.dot(offset, offset)
                if d < found.distance[k - 1]:
                    found = insert(found, d, a)
            for place in range(k):
                index[n, place] = wp.int64(base + found.index[place])
                square[n, place] = found.distance[place]

    return SimpleNamespace(brute=brute, clustered=clustered, module=module)
