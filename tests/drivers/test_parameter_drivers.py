"""Drivers by parameters: which numbers enter, and that what never moved in training moves nothing."""

from __future__ import annotations

import fixtures as fx
import pytest
import torch

from avatarzoo.batch import Driving, HeadBatch
from avatarzoo.drivers.arkit import ARKitDriver
from avatarzoo.drivers.flame import FlameDriver
from avatarzoo.drivers.frame_code import FrameCode
from avatarzoo.errors import ConfigError
from avatarzoo.rigs.arkit import ARKIT_NAMES

SHAPE = (4, 8, 8)


def arkit_batch(weights: torch.Tensor) -> HeadBatch:
    return HeadBatch(fx.batch((0, 0)).meta, driving=Driving(arkit=weights[None]))


def test_excluded_weights_do_not_enter() -> None:
    driver = ARKitDriver(SHAPE, exclude=["TongueOut", "JawOpen"])
    torch.nn.init.normal_(driver.to_code.layers[0].weight)
    rest = torch.rand(52)
    moved = rest.clone()
    moved[[ARKIT_NAMES.index("TongueOut"), ARKIT_NAMES.index("JawOpen")]] += 0.5
    assert torch.equal(driver(arkit_batch(rest)).value, driver(arkit_batch(moved)).value)
    moved[ARKIT_NAMES.index("JawLeft")] += 0.5
    assert not torch.equal(driver(arkit_batch(rest)).value, driver(arkit_batch(moved)).value)


@pytest.mark.parametrize("hidden", [[], [16]])
def test_a_weight_that_never_moved_in_training_moves_nothing(hidden: list[int]) -> None:
    torch.manual_seed(0)
    driver = ARKitDriver(SHAPE, hidden=hidden)
    optimizer = torch.optim.Adam(driver.parameters(), lr=1e-2)
    weights = torch.rand(8, 52)
    weights[:, 5] = 0
    target = torch.randn(8, *SHAPE)
    for _ in range(20):
        code = torch.cat([driver(arkit_batch(w)).value for w in weights])
        optimizer.zero_grad()
        (code - target).square().mean().backward()
        optimizer.step()
    raised, other = torch.zeros(52), torch.zeros(52)
    raised[5], other[6] = 1.0, 1.0
    rest = driver(arkit_batch(torch.zeros(52))).value
    assert torch.equal(driver(arkit_batch(raised)).value, rest)
    assert (driver(arkit_batch(other)).value - rest).abs().max() > 1e-3


def test_the_linear_map_is_a_neutral_code_and_one_direction_per_weight() -> None:
    driver = ARKitDriver(SHAPE, exclude=[])
    torch.nn.init.normal_(driver.to_code.layers[0].weight)
    layer, w = driver.to_code.layers[0], torch.rand(52)
    expected = (layer.bias + sum(w[i] * layer.weight[:, i] for i in range(52))).reshape(SHAPE)
    torch.testing.assert_close(driver(arkit_batch(w)).value[0], expected, atol=1e-4, rtol=1e-4)


def test_a_gain_is_a_rate_so_many_times_as_high_under_adam() -> None:
    found = []
    for gain, rate in ((8.0, 1e-3), (1.0, 8e-3)):
        torch.manual_seed(0)
        driver = ARKitDriver(SHAPE, gain=gain)
        torch.nn.init.zeros_(driver.to_code.layers[0].bias)
        optimizer = torch.optim.Adam(driver.parameters(), lr=rate, eps=0.0)
        for step in range(5):
            code = driver(arkit_batch(torch.rand(52, generator=torch.Generator().manual_seed(step)) + 0.1)).value
            optimizer.zero_grad()
            (code - 1.0 - step).square().sum().backward()
            optimizer.step()
        found.append(driver(arkit_batch(torch.full((52,), 0.5))).value)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="gain"):
        ARKitDriver(SHAPE, gain=0.0)


def test_flame_takes_the_leading_expressions_and_scales_rotations() -> None:
    driver = FlameDriver(SHAPE, expressions=3, parts=["jaw", "expression"])
    assert driver.requires == ("driving.flame.jaw", "driving.flame.expression")
    torch.nn.init.normal_(driver.to_code.layers[0].weight)
    flame = {"expression": torch.randn(1, 100), "jaw": torch.randn(1, 3), "eyes": torch.randn(1, 6)}
    signal = torch.cat([5 * flame["jaw"], flame["expression"][:, :3]], dim=1)
    made = HeadBatch(fx.batch((0, 0)).meta, driving=Driving(flame=flame))
    torch.testing.assert_close(driver(made).value, driver.to_code(signal))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ARKitDriver(SHAPE, exclude=["JawOpn"]), "'JawOpen'"),
        (lambda: FlameDriver(SHAPE, parts=["jaws"]), "'jaw'"),
        (lambda: FlameDriver(SHAPE, expressions=101), "1 to 100"),
        (lambda: ARKitDriver(SHAPE, hidden=[0]), "1 or more"),
    ],
)
def test_mistakes_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_too_few_expressions_are_named() -> None:
    made = HeadBatch(fx.batch((0, 0)).meta, driving=Driving(flame={"expression": torch.zeros(1, 20)}))
    with pytest.raises(ConfigError, match=r"needs 50 numbers.*has 20; lower driver.expressions"):
        FlameDriver(SHAPE)(made)


def frame_code(train: list[int]) -> FrameCode:
    summary = fx.summary()
    summary.train_frames = torch.tensor(train)
    driver = FrameCode(SHAPE)
    driver.bind(summary)
    return driver


def frames(*indices: int) -> HeadBatch:
    return HeadBatch(fx.batch((0, 0)).meta, driving=Driving(frame=torch.tensor(indices)))


def test_a_frame_has_its_own_code_and_an_unseen_one_none() -> None:
    driver = frame_code([0, 2])
    assert torch.equal(driver(frames(2, 0, 2)).value, driver.codes[[2, 0, 2]])
    with pytest.raises(ConfigError, match=r"no code for frame '001'.*fit_codes=STEPS"):
        driver(frames(0, 1))
    with pytest.raises(ConfigError, match="no code for frame '7'"):
        driver(frames(7))
    assert driver.unknown(torch.tensor([1, 1, 0, -1])).tolist() == [-1, 1]


def test_gradients_reach_the_codes_of_the_batch_alone() -> None:
    driver = frame_code([0, 2])
    driver(frames(2)).value.sum().backward()
    assert driver.codes.grad.flatten(1).abs().sum(1).tolist() == [0, 0, 256]
