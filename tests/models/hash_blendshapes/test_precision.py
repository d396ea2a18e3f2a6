"""Under ``precision=bf16-mixed`` the networks alone are rounded: rays, warp, anchors and tables are float32."""

from __future__ import annotations

from typing import Any

import fixtures as fx
import pytest
import torch
from tiny_volume import batch, build

from avatarzoo.volume.rays import pixel_grid, pixel_rays


@pytest.mark.parametrize("fused", [True, False])
def test_networks_run_in_bf16_and_everything_around_them_in_float32(fused: bool) -> None:
    model = build(
        warp__name="se3", warp__width=8, warp__depth=1, warp__start=0, warp__init_scale=0.05,
        model__behind_mm=40.0, model__union_frames=2, model__fused=fused,
    ).train()  # fmt: skip
    seen: dict[str, list[torch.Tensor]] = {}

    def keep(name: str) -> Any:
        return lambda module, given, out: seen.setdefault(name, []).append(out)

    model.warp.register_forward_hook(keep("warp"))
    model.field.second.register_forward_hook(keep("field"))
    model.blendshapes.unet.register_forward_hook(keep("unet"))
    found = []
    for mixed in (False, True):
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            scene = model.scene(batch())
            pixels = pixel_grid(fx.SIZE).expand(2, -1, -1)
            rays = pixel_rays(batch().view.camera, batch().mesh.head_pose, pixels)
            prediction = model.predict(batch(), "fit", {})
            warped = seen["warp"][0]
            model.finish([fx.sample(0, 0), fx.sample(2, 0)], 2)
            union = model.union().occupied
        network = torch.bfloat16 if mixed else torch.float32
        assert {t.dtype for t in (*seen["field"], *seen["unet"])} == {network}
        assert {t.dtype for t in (*seen["warp"], scene.tables, scene.features, scene.positions)} == {torch.float32}
        found.append((scene, prediction, warped, union, rays))
    exact, rounded = found
    assert torch.equal(exact[0].positions, rounded[0].positions) and torch.equal(exact[0].axes, rounded[0].axes)
    for name, value in vars(exact[4]).items():
        assert torch.equal(value, getattr(rounded[4], name)), f"{name} of the rays"
    assert torch.equal(exact[2], rounded[2]), "the same samples, the same warp"
    drawn = [found.alpha >= 0.5 for found in (exact[1], rounded[1])]  # few of a picture's pixels, none of them background
    assert overlap(*drawn, least=200) > 0.99
    apart = (exact[1].image - rounded[1].image).abs().mean(1, keepdim=True)
    assert 0 < apart[drawn[0]].mean() < 0.001
    assert overlap(exact[3], rounded[3], least=5000) > 0.99


def overlap(first: torch.Tensor, second: torch.Tensor, least: int) -> float:
    """Return intersection over union of two masks, neither of them nearly empty."""
    assert min(first.sum(), second.sum()) > least
    return float((first & second).sum() / (first | second).sum())
