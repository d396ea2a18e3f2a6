"""PiCA's options, and the ones that do not fit together."""

from __future__ import annotations

from typing import Any

import fixtures as fx
import numpy as np
import pytest
import torch

from avatarzoo.batch import HeadBatch
from avatarzoo.build import build_model
from avatarzoo.errors import ConfigError


@pytest.fixture
def batch() -> HeadBatch:
    return fx.batch()


@pytest.mark.parametrize(
    "changes",
    [
        {"model__colour_space": "decorrelated", "model__colour_base": "mean_texture", "model__colour_gain": 2.0},
        {"model__upsample": "nearest", "model__weight_norm": True},
        {"model__code_dim": 6, "model__hidden": 12},
        {"model__latent_channels": 8},
        {"model__geometry_residual": "none"},
        {"model__mesh": "tracked"},
        {"model__antialias": 2},
        {"model__code_limit": 2.0},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_options_build_predict_and_learn(changes: dict[str, Any], batch: HeadBatch) -> None:
    model = fx.lively_pica(**changes)
    prediction = model.predict(batch, "fit", {})
    assert torch.isfinite(prediction.image).all()
    if model.mesh.residual == "mean":  # else the first mesh is a point, as said in the docs
        assert prediction.coverage.any()
    total = prediction.image.sum() + prediction.vertices.sum()
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_channels_last_changes_the_order_in_memory_only(batch: HeadBatch) -> None:
    plain, ordered = fx.lively_pica().eval(), fx.lively_pica(model__channels_last=True).eval()
    ordered.load_state_dict(plain.state_dict())
    torch.testing.assert_close(ordered.render(batch).image, plain.render(batch).image, atol=1e-4, rtol=0)
    assert ordered.geometry.last.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_expression_codes_are_squashed_to_their_limit(batch: HeadBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    free, limited = fx.lively_pica().eval(), fx.lively_pica(model__code_limit=0.25).eval()
    limited.load_state_dict(free.state_dict())
    codes: list[torch.Tensor] = []
    for model in (free, limited):
        shade = model.shade
        monkeypatch.setattr(model, "shade", lambda z, *rest, shade=shade: (codes.append(z), shade(z, *rest))[1])
        model.render(batch)
    raw, squashed = (z.double().numpy() for z in codes)
    assert abs(raw).max() > 0.25 >= abs(squashed).max()
    e = np.exp(2 * raw / 0.25)  # tanh x = 1 - 2 / (exp(2 x) + 1)
    np.testing.assert_allclose(squashed, 0.25 * (1 - 2 / (e + 1)), atol=1e-7)
    with pytest.raises(ConfigError, match="code_limit is the largest expression code"):
        fx.lively_pica(model__code_limit=0.0)


def test_antialiasing_weighs_pixels_by_their_covered_share(batch: HeadBatch) -> None:
    plain, smooth = fx.lively_pica().eval(), fx.lively_pica(model__antialias=3).eval()
    smooth.load_state_dict(plain.state_dict())
    hard, soft = plain.render(batch), smooth.render(batch)
    assert hard.alpha is None and soft.alpha.shape == soft.coverage.shape
    assert torch.equal(soft.coverage, soft.alpha > 0)
    assert (hard.coverage <= soft.coverage).all() and (soft.coverage != hard.coverage).any()
    both = hard.coverage.expand(-1, 3, -1, -1)
    torch.testing.assert_close(soft.image[both], (hard.image * soft.alpha)[both], atol=1e-5, rtol=1e-4)
    assert (soft.image * ~soft.coverage == 0).all()
    assert ((soft.depth > 0) == soft.coverage).all()
    with pytest.raises(ConfigError, match="1 or more, not 0"):
        fx.lively_pica(model__antialias=0)


def test_other_rasterizers_draw_the_same_picture(batch: HeadBatch) -> None:
    model = fx.lively_pica()
    other = fx.lively_pica(rasterizer__name="torch").eval()
    other.load_state_dict(model.state_dict())
    model.eval()
    mine, theirs = model.render(batch), other.render(batch)
    model.train()
    assert torch.equal(mine.coverage, theirs.coverage)
    torch.testing.assert_close(mine.image, theirs.image, atol=1e-3, rtol=0)


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match=r"position_size=64 needs log2\(64/8\) - 1 entries .* got 1 and 1"):
        build_model(fx.pica_config(model__position_size=64))
    with pytest.raises(ConfigError, match=r"got 1 and 2"):
        build_model(fx.pica_config(model__expression_channels=[8, 8]))
    with pytest.raises(ConfigError, match=r"side 128, but the capture gives 256"):
        build_model(fx.pica_config(), fx.summary(texture_size=256))
    with pytest.raises(ConfigError, match=r"geometry_residual is 'mean' or 'none', not 'neutral'"):
        build_model(fx.pica_config(model__geometry_residual="neutral"))
