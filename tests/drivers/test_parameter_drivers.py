"""Drivers by parameters: which numbers enter, and that what never moved in training moves nothing."""

from __future__ import annotations

import fixtures as fx
import pytest
import torch

from avatarzoo.batch import Driving, HeadBatch
from avatarzoo.drivers.arkit import ARKitDriver
from avatarzoo.drivers.flame import FlameDriver
from avatarzoo.drivers.frame_code import FrameCode
from avatarzoo.drivers.signal_to_code import SignalToCode
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
    torch.testing.assert_close(driver(made).value, driver.to_code.layers(signal).reshape(1, *SHAPE))


def test_in_the_unit_of_motion_numbers_count_by_what_they_move() -> None:
    summary = fx.summary()
    motion = {"flame.expression": torch.linspace(4, 0, 100), "flame.jaw": torch.tensor([40.0, 0.5, 12.0])}
    motion |= {"flame.eyes": torch.zeros(6), "arkit": torch.linspace(0, 8, 52)}
    summary.motion_per_unit, summary.vertex_std = motion, 2.0
    driver = FlameDriver(SHAPE, parts=["eyes", "expression", "jaw"], expressions=2)
    driver.bind(summary)
    # gaze counts although no vertex of this mesh turns with it; the jaw at least as in the unit "value"
    expected = torch.cat([torch.full((6,), 3.0), motion["flame.expression"][:2] / 2, torch.tensor([20.0, 5.0, 6.0])])
    torch.testing.assert_close(driver.to_code.factor, expected)
    arkit = ARKitDriver(SHAPE, unit="motion", exclude=["TongueOut", "JawOpen"])
    arkit.bind(summary)
    kept = [name for name in ARKIT_NAMES if name not in ("TongueOut", "JawOpen")]
    for name, factor in zip(kept, arkit.to_code.factor.tolist(), strict=True):
        moved = float(motion["arkit"][ARKIT_NAMES.index(name)]) / 2
        assert factor == pytest.approx(max(moved, 1.0) if name.startswith("Eye") else moved), name
    for made in (FlameDriver(SHAPE, unit="value"), ARKitDriver(SHAPE)):
        before = made.to_code.factor.clone()
        made.bind(summary)
        assert torch.equal(made.to_code.factor, before)


def test_numbers_that_move_little_no_longer_hide_those_that_move_much() -> None:
    """A code linear in 40 numbers, of which two count, is learned from 12 frames and asked for on frames not seen."""
    generator = torch.Generator().manual_seed(0)
    seen, unseen = torch.randn(12, 40, generator=generator), torch.randn(50, 40, generator=generator)
    strength = torch.full((40,), 0.01)
    strength[[3, 30]] = 1.0
    directions = strength[:, None] * torch.randn(40, 256, generator=generator)
    errors = {}
    for name, factor in (("value", torch.ones(40)), ("motion", strength)):
        to_code = SignalToCode(40, SHAPE, [])
        to_code.factor = factor
        optimizer = torch.optim.SGD(to_code.parameters(), lr=1.0)
        for _ in range(400):
            optimizer.zero_grad()
            (to_code(seen).flatten(1) - seen @ directions).square().mean().backward()
            optimizer.step()
        error = to_code(unseen).flatten(1).detach() - unseen @ directions
        errors[name] = float(error.square().sum() / (unseen @ directions).square().sum())
    assert errors["value"] > 0.4 and errors["motion"] < 0.1


@pytest.mark.parametrize("make", [lambda: FlameDriver(SHAPE), lambda: ARKitDriver(SHAPE, unit="motion")])
def test_a_capture_that_does_not_say_what_moves_is_named(make) -> None:
    with pytest.raises(ConfigError, match=r"Say driver.unit=value"):
        make().bind(fx.summary())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ARKitDriver(SHAPE, exclude=["JawOpn"]), "'JawOpen'"),
        (lambda: FlameDriver(SHAPE, parts=["jaws"]), "'jaw'"),
        (lambda: FlameDriver(SHAPE, expressions=101), "1 to 100"),
        (lambda: FlameDriver(SHAPE, unit="motions"), "'motion'"),
        (lambda: ARKitDriver(SHAPE, unit="mm"), "motion, value"),
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
