"""The whole model: what training and pictures agree on, the union grid, options."""

from __future__ import annotations

from dataclasses import replace

import fixtures as fx
import pytest
import torch
from tiny_volume import batch, build

from avatarzoo.errors import ConfigError
from avatarzoo.models.hash_blendshapes.tracing import end_of_rays, first_surface
from avatarzoo.models.hash_blendshapes.union import lost_outside


def test_rays_in_training_are_pixels_of_the_picture() -> None:
    model = build()
    with torch.no_grad():
        rays, picture = model.train().predict(batch(), "fit", {}), model.eval().render(batch())
    at = rays.coverage[:, 0] > 0
    assert at.sum(dim=(1, 2)).tolist() == [500, 500]
    assert (rays.image * ~at[:, None]).abs().max() == 0
    apart = (rays.alpha[:, 0][at] - picture.alpha[:, 0][at]).abs()  # rays that graze the rim differ most
    assert apart.mean() < 0.005 and (apart > 0.05).float().mean() < 0.01
    both = at & (picture.alpha[:, 0] > 0.9)
    error = (rays.image - picture.image).permute(0, 2, 3, 1)[both].abs()
    assert both.sum() > 200 and error.mean() < 0.01
    assert (rays.depth - picture.depth)[:, 0][both].abs().median() < 1.0


def test_pictures_do_not_depend_on_the_chunk_the_search_or_early_stop() -> None:
    model = build().eval()
    whole = model.render(batch())
    model.chunk = 77
    torch.testing.assert_close(model.render(batch()).image, whole.image, rtol=0, atol=1e-4)
    model.search.search = "torch"
    other = model.render(batch())
    assert (other.alpha - whole.alpha).abs().mean() < 1e-3
    model.early_stop = 0.0
    assert (model.render(batch()).alpha - whole.alpha).abs().max() < 2e-3


def test_the_union_grid_keeps_the_picture_and_says_what_it_loses() -> None:
    model = build(model__union_frames=2).eval()
    with torch.no_grad():  # density in a thin shell only, so that there is something to leave out
        model.field.out.weight[0], model.field.out.bias[0] = 0.0, -1.0
    model.field.surface_prior, model.field.surface_width = 12.0, 6.0
    before = model.render(batch())
    assert not bool(model.union_ready) and model.finishing_frames == 2
    model.finish([fx.sample(0, 0), fx.sample(0, 1), fx.sample(2, 0)], 3)
    assert bool(model.union_ready)
    union, shell = model.union(), model.shell(model.scene(batch()), 48)
    assert 0 < union.occupied.sum() < 0.8 * shell.occupied.any(0).sum()
    after = model.render(batch())
    assert (after.alpha - before.alpha).abs().mean() < 0.01
    lost = lost_outside(model, batch())
    assert 0 <= lost["alpha"] < 0.01 and 0 <= lost["pixels"] < 0.01 and bool(model.union_ready)
    far = batch()
    far.mesh.vertices += torch.tensor([0.0, 0.0, 25.0])  # an expression that no training frame showed
    assert lost_outside(model, far)["alpha"] > 0.05
    model.set_finish_aside()
    aside = model.render(batch())
    torch.testing.assert_close(aside.image, before.image)
    assert not torch.equal(aside.image, after.image)
    model.union_ready.fill_(True)
    model.train().predict(batch(), "fit", {})
    assert not bool(model.union_ready)  # a volume that trains on outgrows its grid


def test_the_warp_moves_training_rays_only() -> None:
    """As a head that stands elsewhere; pictures and the union grid know no warp, in training mode neither."""
    model = build(warp__name="translation", model__union_frames=2).train()
    shift = torch.tensor([0.0, 15.0, 0.0])
    elsewhere = batch()
    elsewhere.mesh.head_pose[:, :, 3] -= elsewhere.mesh.head_pose[:, :, :3] @ shift
    frames = [fx.sample(0, 0), fx.sample(2, 0)]
    with torch.no_grad():
        still, expected = (model.predict(b, "fit", {}) for b in (batch(), elsewhere))
        picture = model.render(batch())
        model.finish(frames, 2)
        union = model.union().occupied
        model.warp.shifts.weight.copy_(shift / model.warp.unit)
        moved = model.predict(batch(), "fit", {})
        assert torch.equal(model.render(batch()).image, picture.image)
        model.finish(frames, 2)
    assert torch.equal(model.union().occupied, union)
    apart = (moved.alpha - still.alpha).abs().mean()
    assert apart > 0.01 and (moved.alpha - expected.alpha).abs().mean() < 0.1 * apart
    assert moved.extras["warp_latent"].tolist() == pytest.approx([2.25 / 3] * 2)
    opaque = moved.alpha.sum(dim=(1, 2, 3))  # a mean over the rays that come near: fewer than all, more than meet anything
    assert (moved.extras["warp_offset"] >= 225 * opaque / 500).all()
    assert (moved.extras["warp_offset"] <= 225.1 * opaque / (moved.alpha > 0).sum(dim=(1, 2, 3))).all()


def test_a_warped_step_has_the_same_gradients_fused_or_step_by_step() -> None:
    found = []
    for fused in (True, False):
        model = build(warp__name="translation", model__fused=fused).train()
        seen = model.predict(batch(), "fit", {})
        (seen.image.square().sum() + seen.alpha.sum()).backward()
        found.append((model.warp.shifts.weight.grad, model.blendshapes.grid.values.grad))
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-3, atol=1e-3 * float(slow.abs().max()))


@pytest.mark.parametrize("expression", ["unet", "static"])
def test_rays_that_all_miss_leave_every_parameter_a_gradient_of_nothing(expression: str) -> None:
    """As a process's pictures may, beside another's that show the head: both step by gradients of the same parameters."""
    own = batch()
    own.view.camera.t[:, 2] -= 5000.0  # the head is behind the camera
    model = build(model__expression=expression, model__blendshapes=1 if expression == "static" else 5).train()
    prediction = model.predict(own, "fit", {})
    assert prediction.image.abs().max() == 0 == prediction.alpha.abs().max() and (prediction.depth == 0).all()
    assert prediction.coverage.sum() == 1000
    (prediction.image - own.view.image).square().mean().backward()
    seen = dict(model.named_parameters())
    assert len(seen) > 5 and all(p.grad is not None and (p.grad == 0).all() for p in seen.values())
    model.zero_grad()
    model.predict(batch(), "fit", {}).image.sum().backward()
    assert all(p.grad is not None for p in seen.values()), "the same ones that a picture of the head reaches"
    own.view.background = torch.ones(2, 3)
    assert (model.predict(own, "fit", {}).image * prediction.coverage == prediction.coverage).all()


def test_a_background_stands_behind_rays_and_pictures() -> None:
    model, own = build(), batch()
    own.view.background = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
    with torch.no_grad():
        plain, laid = (model.train().predict(b, "fit", {}) for b in (batch(), own))
    expected = plain.image + (1 - plain.alpha) * plain.coverage * own.view.background[..., None, None]
    torch.testing.assert_close(laid.image, expected)


def test_rays_may_end_behind_the_tracked_mesh() -> None:
    whole, cut = build().eval(), build(model__behind_mm=40.0).eval()
    ends = end_of_rays(cut, first_surface(cut, batch()))
    truth = batch().view.depth[:, 0]
    torch.testing.assert_close(ends[truth > 0], truth[truth > 0] + 40, rtol=0, atol=0.5)
    assert ends[truth == 0].isinf().all() and end_of_rays(whole, first_surface(whole, batch())) is None
    first, second = whole.render(batch()), cut.render(batch())
    assert (second.alpha <= first.alpha + 1e-4).all()
    torch.testing.assert_close(second.alpha[:, 0][truth == 0], first.alpha[:, 0][truth == 0], rtol=0, atol=1e-4)
    solid = second.alpha > 0.99  # the prior's shell is thick here: what it hides does not matter
    assert solid.sum() > 100 and (second.image - first.image).abs()[solid.expand(-1, 3, -1, -1)].max() < 0.02


@pytest.mark.parametrize("kept", [True, False])
def test_coarse_samples_may_count_or_not(kept: bool) -> None:
    model = build(model__keep_coarse=kept).train()
    prediction = model.predict(batch(), "fit", {})
    prediction.image.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.blendshapes.grid.values.grad.abs().sum() > 0


@pytest.mark.parametrize("fused", [True, False])
def test_view_directions_are_seen_in_the_head_s_frame_or_the_nearest_anchor_s(fused: bool) -> None:
    """Everything is turned as one: what an anchor's frame sees stays, what the head's frame sees does not."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    points = 60 * torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    directions, image = torch.nn.functional.normalize(torch.randn(200, 3), dim=1), torch.arange(200) % 2
    for frame in ("head", "anchor"):
        model = build(model__view_frame=frame, model__fused=fused, model__search="torch")
        scene, found = model.scene(batch()), []
        for R in (torch.eye(3), turn):
            turned = replace(scene, positions=scene.positions @ R.T, axes=scene.axes @ R.T)
            view = model.field.view_of_rays(directions @ R.T)
            found.append(model.field_at(turned, points @ R.T, image, view)[1])
        apart = (found[0] - found[1]).abs()
        assert (apart.max() < 1e-3) if frame == "anchor" else (apart.mean() > 1e-3), apart.max()
        assert torch.isfinite(model.eval().render(batch()).image).all()
    with pytest.raises(ConfigError, match="head or anchor"):
        build(model__view_frame="world")


def test_one_value_per_option_is_refused_where_it_cannot_work() -> None:
    for option in ({"model__coarse": 1}, {"model__union_frames": 0}):
        with pytest.raises(ConfigError, match="coarse is 2 or more"):
            build(**option)
