"""Predictions on disk."""

import hashlib
from pathlib import Path

import pillow_capture as pillow
import pytest
import torch
from PIL import Image

from avatarzoo.batch import Prediction
from avatarzoo.benchmark.predictions import (
    Timing,
    checksums,
    coverage_of,
    paths,
    read_prediction,
    write_predictions,
)
from avatarzoo.datamodules.base import ZooData
from avatarzoo.errors import DataError, NonFiniteError

SIZE = pillow.fixtures.SIZE


def stub() -> pillow.Stub:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(6, 3, *SIZE, generator=generator) * 1.4 - 0.2
    return pillow.Stub(image, torch.rand(6, 1, *SIZE, generator=generator) > 0.5)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_what_is_written_is_read_back(tmp_path: Path, batch_size: int) -> None:
    capture, model = pillow.prepared(), stub()
    timing = write_predictions(model, ZooData(capture, batch_size), tmp_path, quiet=True)
    assert sum(timing.images) == 6
    for i, sample in enumerate(capture.splits["test"]):
        image, covered = read_prediction(tmp_path, sample, SIZE)
        assert torch.equal(covered[0], model.coverage[i])
        expected = (model.image[i].clamp(0, 1) * model.coverage[i] * 255).round() / 255
        assert torch.equal(image[0], expected)
    assert (tmp_path / "predictions" / "S1" / "side" / "002.png").is_file()


def test_empty_pixels_are_stored_black_even_where_the_model_says_nan(tmp_path: Path) -> None:
    capture, model = pillow.prepared(), stub()
    model.image = torch.where(model.coverage, model.image, torch.nan)
    write_predictions(model, ZooData(capture, 2), tmp_path, quiet=True)
    image, covered = read_prediction(tmp_path, capture.splits["test"][3], SIZE)
    assert (image[~covered.expand_as(image)] == 0).all()


def test_a_covered_pixel_that_is_not_finite_stops(tmp_path: Path) -> None:
    model = stub()
    model.coverage[:] = True
    model.image[3, 1, 5, 5] = torch.inf
    with pytest.raises(NonFiniteError, match="S1/001/side"):
        write_predictions(model, ZooData(pillow.prepared(), 2), tmp_path, quiet=True)


def test_coverage_of_meshes_volumes_and_pictures() -> None:
    image = torch.zeros(1, 3, 1, 3)
    mask = torch.tensor([[[[True, False, True]]]])
    alpha = torch.tensor([[[[0.5, 0.49, 1.0]]]])
    assert torch.equal(coverage_of(Prediction(image=image, coverage=mask, alpha=1 - alpha)), mask)
    assert torch.equal(coverage_of(Prediction(image=image, alpha=alpha)), mask)
    assert coverage_of(Prediction(image=image)).all()


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.val_segments"):
        write_predictions(stub(), ZooData(pillow.prepared()), tmp_path, split="val", quiet=True)


def test_missing_damaged_and_resized_files_are_named(tmp_path: Path) -> None:
    capture = pillow.prepared()
    sample = capture.splits["test"][0]
    write_predictions(stub(), ZooData(capture, 6), tmp_path, quiet=True)
    with pytest.raises(DataError, match=r"front/000\.png is \(40, 32\) pixels, .* \(80, 64\)"):
        read_prediction(tmp_path, sample, (80, 64))
    picture, mask = paths(tmp_path, sample)
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read"):
        read_prediction(tmp_path, sample, SIZE)
    picture.unlink()
    with pytest.raises(DataError, match="is missing"):
        read_prediction(tmp_path, sample, SIZE)


def test_checksums_are_of_the_files(tmp_path: Path) -> None:
    capture = pillow.prepared()
    samples = capture.splits["test"]
    write_predictions(stub(), ZooData(capture, 6), tmp_path, quiet=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "predictions" / "stray.png")
    first = checksums(tmp_path, samples)
    lines = (tmp_path / "checksums.sha256").read_text().splitlines()
    assert len(lines) == 12
    for line in lines:
        digest, name = line.split("  ")
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert first == hashlib.sha256((tmp_path / "checksums.sha256").read_bytes()).hexdigest()
    assert checksums(tmp_path, samples) == first
    Image.new("L", SIZE[::-1]).save(paths(tmp_path, samples[2])[1])
    assert checksums(tmp_path, samples) != first


def test_timing_leaves_the_first_batch_out() -> None:
    assert Timing([9.0, 0.2, 0.1, 0.4], [2, 2, 1, 2]).ms_per_image() == pytest.approx(100)
    assert Timing([0.3], [3]).ms_per_image() == pytest.approx(100)
