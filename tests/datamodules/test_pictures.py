"""PNG files and resizing by areas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatarzoo.datamodules.pictures import overlap, png_size, read_png, resize_depth, resize_picture
from avatarzoo.errors import DataError

RNG = np.random.default_rng(0)


def supersampled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Area mean by repeating every pixel until both sizes divide: an independent, exact answer."""
    height, width = pixels.shape[:2]
    large = pixels.astype(float).repeat(size[0], axis=0).repeat(size[1], axis=1)
    return large.reshape(size[0], height, size[1], width, *pixels.shape[2:]).mean(axis=(1, 3))


@pytest.mark.parametrize("size", [(6, 4), (5, 3), (12, 7), (1, 1), (7, 8)])
def test_pictures_shrink_to_exact_area_means(size: tuple[int, int]) -> None:
    pixels = RNG.integers(0, 256, (12, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(resize_picture(pixels, size), supersampled(pixels, size), atol=0.501)
    np.testing.assert_allclose(resize_picture(pixels[..., 0], size), supersampled(pixels[..., 0], size), atol=0.501)


def test_overlap_keeps_means_and_constants() -> None:
    for old, new in ((512, 256), (334, 167), (10, 7), (5, 5)):
        weights = overlap(old, new)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(weights.sum(axis=0), new / old, atol=1e-5)


def test_a_dot_keeps_its_place_under_the_half_pixel_rule() -> None:
    """The centre of mass of a dot moves as c' = (c + 0.5) s - 0.5."""
    pixels = np.zeros((40, 60), np.uint8)
    pixels[17:21, 33:37] = 200
    small = resize_picture(pixels, (20, 24)).astype(float)
    row, column = (np.indices(small.shape) * small).sum(axis=(1, 2)) / small.sum()
    assert row == pytest.approx((18.5 + 0.5) * 0.5 - 0.5, abs=0.01)
    assert column == pytest.approx((34.5 + 0.5) * 0.4 - 0.5, abs=0.01)


def test_depth_is_the_mean_of_known_pixels() -> None:
    depth = 900 + RNG.random((8, 8)).astype(np.float32)
    np.testing.assert_allclose(resize_depth(depth, (4, 4)), supersampled(depth, (4, 4)), atol=1e-3)
    holes = depth.copy()
    holes[0, 0] = holes[2, 2] = holes[2, 3] = holes[3, 2] = 0
    holes[4:6, 4:6] = 0
    small = resize_depth(holes, (4, 4))
    assert small[0, 0] == pytest.approx(depth[:2, :2].sum() / 3 - depth[0, 0] / 3, abs=1e-3)
    assert small[1, 1] == 0, "three quarters unknown"
    assert small[2, 2] == 0, "all unknown"
    assert (small > 0).sum() == 14


def test_depth_never_lies_between_two_surfaces() -> None:
    depth = np.full((8, 8), 900, np.float32)
    depth[:, 3:] = 1000
    small = resize_depth(depth, (4, 4))
    assert sorted(np.unique(small)) == [0, 900, 1000]
    assert (small[:, 1] == 0).all()


def test_depth_at_its_own_size_is_untouched() -> None:
    depth = RNG.random((4, 5)).astype(np.float32)
    assert resize_depth(depth, (4, 5)) is depth


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_kinds_decode_to_their_arrays(tmp_path: Path) -> None:
    rgb = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    deep = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    grey = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    for kind, pixels in (("picture", rgb), ("depth", deep), ("matte", grey)):
        path = save(tmp_path / f"{kind}.png", pixels)
        decoded = read_png(path, kind)
        np.testing.assert_array_equal(decoded, pixels)
        assert decoded.dtype == pixels.dtype and png_size(path, kind) == (5, 7)


@pytest.mark.parametrize("kind", ["picture", "depth"])
def test_every_flipped_bit_is_noticed(tmp_path: Path, kind: str) -> None:
    """Check sums cover all of a PNG, also where a decoder would return wrong pixels without a word."""
    pixels = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    path = save(tmp_path / "p.png", pixels if kind == "picture" else pixels[..., 0].astype(np.uint16) * 200)
    data = path.read_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(changed))
        with pytest.raises(DataError, match=r"p\.png"):
            read_png(path, kind)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "p.png", RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        for read in (read_png, png_size):
            with pytest.raises(DataError, match=r"p\.png"):
                read(path, "picture")


def test_other_kinds_of_pictures_are_refused(tmp_path: Path) -> None:
    grey = np.zeros((4, 4), np.uint8)
    alpha = np.zeros((4, 4, 4), np.uint8)
    for pixels, kind, message in (
        (grey, "picture", "is 8-bit grey; a picture is 8-bit RGB"),
        (alpha, "picture", "is 8-bit RGB with alpha; a picture is 8-bit RGB"),
        (grey, "depth", "is 8-bit grey; a depth is 16-bit grey"),
        (alpha[..., :3], "matte", "is 8-bit RGB; a matte is 8-bit grey"),
    ):
        path = save(tmp_path / "p.png", pixels)
        for read in (read_png, png_size):
            with pytest.raises(DataError, match=message):
                read(path, kind)
    Image.fromarray(alpha[..., :3]).save(tmp_path / "p.jpg")
    (tmp_path / "p.jpg").rename(tmp_path / "p.png")
    with pytest.raises(DataError, match="does not start as a PNG does"):
        read_png(tmp_path / "p.png", "picture")
    with pytest.raises(DataError, match="cannot be read"):
        read_png(tmp_path / "absent.png", "picture")
