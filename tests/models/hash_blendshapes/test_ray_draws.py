"""Which pixels a step looks at."""

from __future__ import annotations

import fixtures as fx
import pytest
import torch
from tiny_volume import batch, build

from avatarzoo.errors import ConfigError
from avatarzoo.models.hash_blendshapes.ray_draws import RayFocus, draw_rays
from avatarzoo.models.hash_blendshapes.tracing import first_surface

CPU = torch.device("cpu")


@pytest.mark.parametrize("weighted", [False, True])
def test_pixels_come_once_in_reading_order_and_follow_their_keys(weighted: bool) -> None:
    keys, factors = torch.tensor([3, 4, 3]), torch.ones(3, 40) if weighted else None
    pixels, first, second = draw_rays(keys, 40, 25, 5, 7, CPU, factors)
    assert pixels.shape == (3, 25) and first.shape == (75, 5) and second.shape == (75, 7)
    assert (pixels.diff(dim=1) > 0).all() and pixels.min() >= 0 and pixels.max() < 40
    assert torch.equal(pixels[0], pixels[2]) and not torch.equal(pixels[0], pixels[1])


def test_a_pixel_is_drawn_as_often_as_its_factor_says() -> None:
    factors = torch.tensor([1.0, 1.0, 8.0, 2.0]).expand(3000, 4)
    pixels = draw_rays(torch.arange(3000), 4, 1, 1, 1, CPU, factors)[0]
    share = torch.bincount(pixels[:, 0], minlength=4) / 3000
    torch.testing.assert_close(share, torch.tensor([1, 1, 8, 2]) / 12, rtol=0, atol=0.03)  # 3.3 standard deviations


def test_regions_of_the_surface_are_looked_at_more() -> None:
    summary = fx.summary()
    name = next(iter(summary.regions))
    model = build(model__ray_focus={name: 20.0}, model__rays=300).train()
    seen = first_surface(model, batch())
    factor = model.ray_focus(seen.triangle)
    assert set(factor.unique().tolist()) == {1.0, 20.0} and bool((factor[seen.triangle < 0] == 1).all())
    inside = factor == 20
    with torch.no_grad():
        shares = [
            float((m.predict(batch(), "fit", {}).coverage[:, 0].bool() & inside).sum() / inside.sum())
            for m in (model, build(model__rays=300).train())
        ]
    assert shares[0] > 3 * shares[1] > 0


def test_a_region_the_capture_does_not_name_or_a_factor_of_0_is_refused() -> None:
    with pytest.raises(ConfigError, match="'beard'"):
        RayFocus({"beard": 2.0}).bind(fx.summary())
    with pytest.raises(ConfigError, match="above 0"):
        RayFocus({"mouth": 0.0})
