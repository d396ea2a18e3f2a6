"""Every registered driver passes the same checks, alone and inside a model that takes a code."""

from __future__ import annotations

import copy
from typing import Any

import fixtures as fx
import pytest
import torch

from avatarzoo import registry
from avatarzoo.batch import Driving, HeadBatch, lookup
from avatarzoo.build import build_model
from avatarzoo.capture import CaptureSummary
from avatarzoo.drivers.base import Code, Driver
from avatarzoo.errors import ConfigError

SHAPE = (4, 8, 8)
#: options that fit ``fixtures.summary()``; the defaults otherwise
SMALL: dict[str, dict[str, Any]] = {
    "capture_vae": {k: v for k, v in fx.PICA["driver"].items() if k != "name"},
    "deep_appearance_vae": {"texture_channels": [4, 4, 8, 8, 8], "hidden": 8},
}
DRIVERS = fx.built_in("driver")
TEST_INPUTS = {"none", "tracked mesh", "pictures", "parameters"}


def summary() -> CaptureSummary:
    made = fx.summary()
    made.train_frames = torch.arange(3)
    widths = {"arkit": 52, "flame.expression": 100, "flame.jaw": 3, "flame.eyes": 6, "flame.eyelids": 2}
    made.motion_per_unit = {signal: torch.linspace(0.5, 2, width) for signal, width in widths.items()}
    return made


def batch(*places: tuple[int, int]) -> HeadBatch:
    """The fixture's batch with every driving signal: each frame's own, whatever the camera."""
    made = fx.batch(*places)
    made.driving = driving(made.meta.frame)
    return made


def driving(frames: torch.Tensor) -> Driving:
    def noise(width: int) -> torch.Tensor:
        rows = [torch.rand(width, generator=torch.Generator().manual_seed(10 + int(f))) for f in frames]
        return torch.stack(rows)

    flame = {"expression": noise(100), "jaw": noise(3) / 5, "eyes": noise(6) / 3, "eyelids": noise(2)}
    return Driving(frame=frames, arkit=noise(52), flame=flame)


def build(name: str, bound: CaptureSummary | None = None) -> Driver:
    torch.manual_seed(0)
    driver = registry.build("driver", {"name": name, **SMALL.get(name, {})}, SHAPE, "warp")
    driver.bind(bound or summary())
    return driver


def lively(driver: Driver) -> Driver:
    """Move every parameter off its start, where some maps are 0."""
    with torch.no_grad():
        for parameter in driver.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return driver


@pytest.fixture(params=DRIVERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_code_of_the_shape_that_was_asked_for(name: str) -> None:
    driver = build(name)
    assert driver.test_inputs in TEST_INPUTS
    for path in driver.requires:
        assert path.endswith("?") or lookup(batch(), path) is not None, path
    for training in (True, False):
        code = driver.train(training)(batch())
        assert isinstance(code, Code) and (code.mean is None) == (code.log_std is None)
        for value in (code.value, code.mean, code.log_std):
            assert value is None or (value.shape == (2, *SHAPE) and value.dtype == torch.float32)
            assert value is None or torch.isfinite(value).all()


def test_a_function_of_its_signal(name: str) -> None:
    """The same frame from two cameras has one code, another frame another, whatever else is in the batch."""
    driver = lively(build(name)).eval()
    code = driver(batch((0, 0), (2, 1))).value
    torch.testing.assert_close(driver(batch((0, 1))).value[0], code[0], atol=1e-5, rtol=1e-5)
    assert (code[0] - code[1]).abs().max() > 1e-3


def test_it_reads_what_it_says_and_nothing_else(name: str) -> None:
    driver, full = lively(build(name)).eval(), batch()
    bare = HeadBatch(full.meta)
    for path in driver.requires:
        group, _, rest = path.rstrip("?").partition(".")
        if getattr(bare, group) is None:
            setattr(bare, group, Driving() if group == "driving" else getattr(full, group))
        if group == "driving":
            key = rest.split(".")[0]
            setattr(bare.driving, key, getattr(full.driving, key))
    torch.testing.assert_close(driver(bare).value, driver(full).value, rtol=0, atol=0)


def test_a_missing_signal_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        build(name)(HeadBatch(fx.batch().meta))


def test_gradients_reach_every_parameter(name: str) -> None:
    driver = lively(build(name))
    driver(batch()).value.square().sum().backward()
    for key, parameter in driver.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


def test_the_state_returns(name: str) -> None:
    first, again = lively(build(name)), build(name)
    again.load_state_dict(first.state_dict())
    first.eval(), again.eval()
    torch.testing.assert_close(again(batch()).value, first(batch()).value, rtol=0, atol=0)


#: the smallest config of each model that takes a code, without its driver
MODELS: dict[str, dict[str, Any]] = {
    "deep_appearance": {
        "model": {"name": "deep_appearance", "latent_shape": [8], "hidden": 8, "texture_channels": [8, 8, 4, 4]},
        "rasterizer": {"name": "warp"},
    },
    "pica": fx.PICA,
}


def test_each_model_that_takes_a_code_is_here() -> None:
    assert set(MODELS) == {n for n in fx.built_in("model") if "driver" in registry.get("model", n).uses}


@pytest.mark.parametrize("model_name", MODELS)
def test_a_model_that_takes_a_code_trains_and_renders_with_it(name: str, model_name: str) -> None:
    if (model_name, name) == ("deep_appearance", "capture_vae"):
        with pytest.raises((ConfigError, ValueError)):  # its code is a map, this model's a vector
            build_model(copy.deepcopy(MODELS[model_name]) | {"driver": {"name": name, **SMALL[name]}}, summary())
        return
    config = copy.deepcopy(MODELS[model_name]) | {"driver": {"name": name, **SMALL.get(name, {})}}
    torch.manual_seed(0)
    model, data = build_model(config, summary()), batch()
    assert model.test_inputs == model.driver.test_inputs
    assert set(model.driver.requires) <= set(model.requires)
    parameters = [p for p in model.driver.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = [p.detach().clone() for p in parameters]
    for _ in range(2):
        optimizer.zero_grad()
        prediction = model.predict(data, "fit", {})
        (prediction.image - data.view.image).square().mean().backward()
        optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, parameters, strict=True))
    assert model.eval().render(data).image.shape == data.view.image.shape
