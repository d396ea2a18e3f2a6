"""The photometric term against NumPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.losses.image import ImageLoss


def case(seed: int = 0) -> tuple[Prediction, HeadBatch]:
    """A random picture with a random mask, whose pixels lie all over the atlas."""
    generator = torch.Generator().manual_seed(seed)
    batch = fx.batch()
    height, width = fx.SIZE
    image = torch.rand(2, 3, height, width, generator=generator)
    coverage = torch.rand(2, 1, height, width, generator=generator) < 0.6
    uv = torch.rand(2, height, width, 2, generator=generator) * coverage[:, 0, :, :, None]
    return Prediction(image=image, coverage=coverage, extras={"uv": uv}), batch


def term(**options: Any) -> ImageLoss:
    loss = ImageLoss(**options)
    loss.bind(fx.summary())
    return loss


def reference(prediction: Prediction, batch: HeadBatch, weights: dict[str, float], chroma: float, std: float) -> np.ndarray:
    """Pixel by pixel, in float64."""
    summary = fx.summary()
    values = []
    for i in range(batch.size):
        squares = []
        for row, column in np.argwhere(prediction.coverage[i, 0].numpy()):
            error = (prediction.image[i, :, row, column] - batch.view.image[i, :, row, column]).double().numpy() / std
            grey = error.sum() / 3
            error = grey + chroma * (error - grey)
            factor = 1.0
            for name, weight in weights.items():
                u, v = prediction.extras["uv"][i, row, column].tolist()
                mask = summary.regions[name]
                factor *= weight if mask[min(int(v * 64), 63), min(int(u * 64), 63)] else 1.0
            squares.append(factor * error**2)
        values.append(np.mean(squares))
    return np.array(values)


def test_it_is_the_mean_square_over_covered_pixels_in_texture_std() -> None:
    prediction, batch = case()
    np.testing.assert_allclose(term()(prediction, batch), reference(prediction, batch, {}, 1, 0.05), rtol=1e-5)


def test_the_unit_can_be_the_spread_of_the_colours() -> None:
    prediction, batch = case()
    summary = fx.summary()
    axes = summary.colour_axes.double().numpy()
    spread = np.sqrt(np.trace(axes @ axes.T) / 3)  # the mean variance of r, g and b
    found = term(unit="colour_std")(prediction, batch)
    np.testing.assert_allclose(found, reference(prediction, batch, {}, 1, spread), rtol=1e-5)
    seen = summary.neutral_average[:, summary.neutral_coverage[0] > 0]
    assert spread == pytest.approx(float(seen.var(1).mean().sqrt()), rel=1e-3)


def test_unsquared_is_the_root_per_image() -> None:
    prediction, batch = case()
    expected = np.sqrt(reference(prediction, batch, {}, 1, 0.05))
    np.testing.assert_allclose(term(squared=False)(prediction, batch), expected, rtol=1e-5)


def test_regions_and_chroma_weigh_the_error() -> None:
    prediction, batch = case()
    weights = {"mouth": 4.0, "eyes": 9.0}
    found = term(region_weights=weights, chroma_weight=2.5)(prediction, batch)
    np.testing.assert_allclose(found, reference(prediction, batch, weights, 2.5, 0.05), rtol=1e-5)
    assert (found > term()(prediction, batch)).all()


def test_a_grey_error_has_no_chroma() -> None:
    prediction, batch = case()
    prediction.image = batch.view.image + 0.1
    torch.testing.assert_close(term(chroma_weight=5.0)(prediction, batch), term()(prediction, batch))


def test_a_model_without_uvs_has_no_regions() -> None:
    prediction, batch = case()
    bare = dataclasses.replace(prediction, extras={})
    torch.testing.assert_close(term(region_weights={"mouth": 4.0})(bare, batch), term()(bare, batch))


def test_pixels_off_the_mask_neither_count_nor_pull() -> None:
    prediction, batch = case()
    expected = term(region_weights={"eyes": 3.0})(prediction, batch)
    prediction.image = torch.where(prediction.coverage, prediction.image, torch.tensor(7.0)).requires_grad_()
    found = term(region_weights={"eyes": 3.0})(prediction, batch)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert (prediction.image.grad[~prediction.coverage.expand(-1, 3, -1, -1)] == 0).all()


def test_an_image_that_covers_nothing_counts_zero() -> None:
    prediction, batch = case()
    prediction.coverage[1] = False
    found = term()(prediction, batch)
    assert found[0] > 0 and found[1] == 0


def test_the_gradient_is_the_derivative() -> None:
    prediction, batch = case()
    prediction.image = prediction.image.double().requires_grad_()
    loss = term(chroma_weight=2.0, region_weights={"mouth": 4.0})
    loss(prediction, batch).sum().backward()
    image, step = prediction.image.detach(), 0.5  # the term is quadratic: central differences are exact
    for place in ((0, 1, 7, 9), (1, 2, 30, 11), (0, 0, 22, 25)):
        shift = torch.zeros_like(image)
        shift[place] = step
        up, down = (loss(dataclasses.replace(prediction, image=image + s), batch).sum() for s in (shift, -shift))
        assert float(prediction.image.grad[place]) == pytest.approx(float(up - down) / (2 * step), rel=1e-3, abs=1e-4)


def test_unknown_units_and_regions_are_refused() -> None:
    with pytest.raises(ConfigError, match="'texture_std' or 'colour_std', not 'pixels'"):
        ImageLoss(unit="pixels")
    with pytest.raises(ConfigError, match="names 'nose', but the capture has mouth, eyes"):
        term(region_weights={"nose": 2.0})
    bare = dataclasses.replace(fx.summary(), regions={})
    ImageLoss(region_weights={"nose": 2.0}).bind(bare)  # a capture that names no regions takes any recipe


def test_a_capture_of_one_frame_has_no_texture_std_but_colours() -> None:
    summary = fx.summary()
    summary.texture_std = 0.0
    with pytest.raises(DataError, match=r"loss term 'image' divides by the texture_std .* unit .* colour_std"):
        ImageLoss().bind(summary)
    ImageLoss(unit="colour_std").bind(summary)


def test_masks_move_once_and_only_those_that_count() -> None:
    loss = ImageLoss(region_weights={"eyes": 4.0})
    loss.bind(fx.summary())
    assert list(loss.masks) == ["eyes"]
    loss.move_to(torch.device("meta"))
    assert loss.masks["eyes"].device.type == "meta"
