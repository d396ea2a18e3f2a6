"""Where tensors lie: noise is drawn from keys on the CPU, whatever device the model is on."""

from __future__ import annotations

from dataclasses import replace

import fixtures as fx
import pytest
import torch
from tiny_volume import batch, build

from avatarzoo.batch import HeadBatch
from avatarzoo.models.hash_blendshapes.ray_draws import draw_rays
from avatarzoo.volume.occupancy import box_grid


def test_what_keys_on_the_cpu_draw_lies_where_the_model_is() -> None:
    """As the trainer hands batches over: everything on the device but the keys of the noise."""
    keys = torch.tensor([3, 4])
    drawn = draw_rays(keys, 50, 10, 4, 6, torch.device("meta"))
    assert [tuple(t.shape) for t in drawn] == [(2, 10), (20, 4), (20, 6)]
    assert all(t.device.type == "meta" for t in drawn)
    here = draw_rays(keys, 50, 10, 4, 6, torch.device("cpu"))
    assert torch.equal(here[0][1], draw_rays(keys[1:], 50, 10, 4, 6, torch.device("cpu"))[0][0])


def test_a_grid_lies_where_it_is_asked_for() -> None:
    grid = box_grid(torch.zeros(3), torch.tensor([4.0, 2.0, 1.0]), 4, 2, device="meta")
    assert grid.shape == (4, 2, 1)
    assert {t.device.type for t in (grid.occupied, grid.low, grid.cell)} == {"meta"}


@pytest.mark.cuda
def test_a_gpu_trains_and_draws_what_the_cpu_does() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")

    def run(device: str) -> list[torch.Tensor]:
        model = build(warp__name="se3", warp__width=8, warp__depth=1, warp__start=0, warp__init_scale=0.05)
        model.to(device).train()
        moved: HeadBatch = batch().to(device)
        moved.meta = replace(moved.meta, noise_key=batch().meta.noise_key)  # as ``ZooModule`` leaves it
        seen = model.predict(moved, "fit", {})
        (seen.image.square().mean() + seen.alpha.mean()).backward()
        trained = (model.blendshapes.grid.values, model.field.first.weight, model.warp.branches[2][-1].bias)
        model.eval().finish([fx.sample(0, 0), fx.sample(2, 0)], 2)
        picture = model.render(moved)
        found = (seen.image, seen.alpha, picture.image, picture.alpha, *(p.grad for p in trained))
        return [t.detach().float().cpu() for t in found]

    for a, b in zip(run("cpu"), run("cuda"), strict=True):  # means: rounding may move a sample over a border
        assert (a - b).abs().mean() <= 2e-3 * float(a.abs().mean()) + 1e-5
