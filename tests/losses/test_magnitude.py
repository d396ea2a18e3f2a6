"""Magnitudes of extras: their mean squares; 0 where an optional one is absent; a misspelt name is no silent 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures import sample

from avatarzoo import registry
from avatarzoo.batch import Prediction
from avatarzoo.errors import ConfigError


def value(of: str, **extras: torch.Tensor) -> torch.Tensor:
    prediction = Prediction(image=torch.zeros(1, 3, 4, 4), extras=extras)
    return registry.build("loss", {"name": "magnitude", "of": of})(prediction, sample(0))


def test_it_is_the_mean_square_per_image() -> None:
    weights = np.random.default_rng(0).normal(size=(1, 5, 3))
    found = value("anything", anything=torch.from_numpy(weights))
    np.testing.assert_allclose(found.numpy(), [(weights[0] ** 2).mean()])
    assert value("warp_offset", warp_offset=torch.tensor([0.25])).tolist() == [0.25]  # a mean square already


def test_an_optional_extra_may_be_absent_and_a_misspelt_one_may_not() -> None:
    for name in ("blend_weights", "warp_offset", "warp_latent"):
        assert value(name).tolist() == [0.0]
    with pytest.raises(ConfigError, match=r"'warp_ofset', which.*Did you mean 'warp_offset'.*texture"):
        value("warp_ofset", texture=torch.zeros(1))
