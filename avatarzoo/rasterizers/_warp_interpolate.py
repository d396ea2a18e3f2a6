"""Warp kernels that interpolate vertex attributes over a raster, and carry gradients back: one source for CPU and CUDA."""

# ruff: noqa: UP018 (int(0), float(0.0): a variable that a loop of a kernel changes, to Warp)
import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})


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
