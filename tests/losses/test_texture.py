"""Distance of the decoded texture to the unwrapped picture."""

from __future__ import annotations

import fixtures as fx
import pytest
import torch

from avatarzoo.batch import Prediction
from avatarzoo.errors import ConfigError
from avatarzoo.geometry.uv import rasterize_charts
from avatarzoo.losses.texture import TextureLoss

SIZE = 32


def term(**options: object) -> TextureLoss:
    made = TextureLoss(**options)
    made.bind(fx.summary())
    return made


def flat(colour: tuple[float, float, float], images: int = 2) -> Prediction:
    texture = torch.tensor(colour)[None, :, None, None].expand(images, 3, SIZE, SIZE)
    return Prediction(extras={"texture": texture.clone()})


def test_it_is_the_mean_over_all_texels_of_the_squared_error_where_seen() -> None:
    made, batch = term(), fx.batch()
    torch.manual_seed(0)
    prediction = flat((0.5, 0.4, 0.3))
    prediction.extras["texture"] += 0.1 * torch.randn(2, 3, SIZE, SIZE)
    found = made(prediction, batch)
    summary = fx.summary()
    charts = rasterize_charts(summary.topology, SIZE, made.rasterizer)
    rows, columns = charts.covered.nonzero(as_tuple=True)
    colours, seen = made.target(batch, charts.points, torch.arange(len(rows)).expand(2, -1))
    for i in range(2):
        total = 0.0
        for n in range(len(rows)):
            if seen[i, n]:
                error = prediction.extras["texture"][i, :, rows[n], columns[n]].double() - colours[i, n].double()
                total += float((error / summary.texture_std).square().sum())
        assert float(found[i]) == pytest.approx(total / (3 * SIZE**2), rel=1e-4)


def test_row_0_of_the_texture_is_v_0() -> None:
    """The right texture by the surface's closed form costs little, upside down it costs much."""
    made, batch, summary = term(), fx.batch(), fx.summary()
    charts = rasterize_charts(summary.topology, SIZE, made.rasterizer)
    colour = 0.5 + 0.4 * torch.sin(batch.mesh.vertices / 40)  # what the fixtures' pictures show
    texture = charts.to_map(colour, summary.topology.triangles)
    right = made(Prediction(extras={"texture": texture}), batch)
    wrong = made(Prediction(extras={"texture": texture.flip(2)}), batch)
    assert (right < 0.1 * wrong).all()


def test_drawing_texels_estimates_the_same() -> None:
    batch, prediction = fx.batch(), flat((0.2, 0.5, 0.4))
    whole, some = term()(prediction, batch), term(texels=100)
    estimates = []
    for _ in range(150):
        batch.meta.noise_key = batch.meta.noise_key + 17
        estimates.append(some(prediction, batch))
    spread = torch.stack(estimates).std(0) / 150**0.5
    assert ((torch.stack(estimates).mean(0) - whole).abs() < 4 * spread).all()
    assert (spread > 0).all()
    again = some(prediction, batch)
    torch.testing.assert_close(again, estimates[-1], rtol=0, atol=0)  # a function of the key


def test_the_gradient_reaches_seen_texels_only() -> None:
    made, batch, prediction = term(), fx.batch(), flat((0.9, 0.9, 0.9))
    texture = prediction.extras["texture"].requires_grad_()
    made(prediction, batch).sum().backward()
    covered = rasterize_charts(fx.summary().topology, SIZE, made.rasterizer).covered
    assert (texture.grad[:, :, ~covered] == 0).all()
    assert 0.1 < (texture.grad[:, 0] != 0).float().mean() < 0.5


def test_units() -> None:
    batch, prediction, summary = fx.batch(), flat((0.5, 0.5, 0.5)), fx.summary()
    spread = float(summary.colour_axes.square().sum() / 3) ** 0.5
    ratio = term(unit="colour_std")(prediction, batch) / term()(prediction, batch)
    torch.testing.assert_close(ratio, torch.full((2,), (summary.texture_std / spread) ** 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"unit": "std"}, "'texture_std' or 'colour_std', not 'std'"), ({"texels": 0}, r"texels is 0; give 1 or more")],
)
def test_what_it_does_not_know_is_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TextureLoss(**options)
