"""Averages of pictures, by hand."""

import math

import pytest

from avatarzoo.benchmark.aggregate import aggregate, summarise, summarise_region
from avatarzoo.benchmark.scoring import ImageScore, RegionScore
from avatarzoo.datamodules.base import Sample


def decibel(mse: float) -> float:
    return 10 * math.log10(255**2 / mse)


def image(frame: str, camera: str, pixels: int, mse: float, ssim: float = 0.5, segment: str = "S", **kw) -> ImageScore:
    return ImageScore(Sample(segment, frame, camera), pixels, pixels // 2, 3 * pixels * mse, ssim, **kw)


SCORES = [
    image("1", "a", 100, 10.0, lpips={"lpips_alex": 0.25}),
    image("1", "b", 300, 40.0, ssim=math.nan, lpips={"lpips_alex": 0.75}),
    image("2", "a", 0, math.nan, ssim=math.nan, lpips={"lpips_alex": math.nan}),
    image("2", "b", 200, 20.0, segment="T", ssim=0.9),
]


def test_means_over_images_and_over_pixels() -> None:
    found = summarise(SCORES)
    assert (found["images"], found["pixels"], found["coverage"]) == (3, 600, 0.5)
    assert found["mse"] == pytest.approx((10 + 40 + 20) / 3)
    assert found["psnr"] == pytest.approx((decibel(10) + decibel(40) + decibel(20)) / 3)
    pooled = (100 * 10 + 300 * 40 + 200 * 20) / 600
    assert found["mse_pooled"] == pytest.approx(pooled)
    assert found["psnr_pooled"] == pytest.approx(decibel(pooled))
    assert found["ssim"] == pytest.approx(0.7)
    assert found["lpips_alex"] == pytest.approx(0.5) and found["lpips_vgg"] is None


def test_groups_take_their_own_pictures() -> None:
    found = aggregate(SCORES, {"Front": "a", "Up": "b", "Absent": "c"})
    assert list(found["views"]) == ["Front", "Up"]
    assert found["views"]["Front"]["psnr"] == pytest.approx(decibel(10))
    assert found["cameras"]["b"]["mse"] == pytest.approx(30)
    assert found["segments"]["T"]["mse"] == pytest.approx(20)
    assert set(found["frames"]) == {"S/1", "S/2", "T/2"}
    assert found["frames"]["S/2"]["psnr"] is None and found["frames"]["S/2"]["images"] == 0


def test_regions_leave_out_pictures_without_them() -> None:
    one = RegionScore(10, 3 * 10 * 5.0, (10.0, 20.0, 140.0), (10.0, 0.0, 160.0))
    two = RegionScore(30, 3 * 30 * 25.0, (30.0, 60.0, 420.0), (30.0, 0.0, 480.0))
    none = RegionScore(0, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    found = summarise_region("eyes", [one, two, none], 400)
    assert (found["images"], found["pixels"], found["share"]) == (2, 40, 0.1)
    assert found["mse"] == pytest.approx(15) and found["mse_pooled"] == pytest.approx(20)
    assert found["psnr"] == pytest.approx((decibel(5) + decibel(25)) / 2)
    # predicted: mean 2, mean square 14, so variance 10; truth: mean 0, mean square 16
    assert found["spread"]["predicted"] == pytest.approx(math.sqrt(10))
    assert found["spread"]["truth"] == pytest.approx(4)
    assert found["spread"]["ratio"] == pytest.approx(math.sqrt(10) / 4)
    assert "spread" not in summarise_region("rest", [one], 400)
    assert summarise_region("eyes", [none], 400)["spread"]["ratio"] is None
