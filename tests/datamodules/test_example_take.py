"""The take that comes with the package."""

from __future__ import annotations

import torch

from avatarzoo.datamodules.example_take import ARKIT_KEYS, SECONDS, example_take
from avatarzoo.rigs.arkit import ARKIT_NAMES


def test_it_starts_and_ends_neutral_and_peaks_as_written() -> None:
    arkit, flame = (
        torch.full((52,), 0.1),
        {"expression": torch.full((100,), 0.2), "jaw": torch.zeros(3), "eyes": torch.zeros(6)},
    )
    take = example_take(arkit, flame, "2020")
    assert take.edition == "2020" and set(take.signals) == {"driving.arkit", *(f"driving.flame.{n}" for n in flame)}
    rest = {"driving.arkit": arkit, **{f"driving.flame.{n}": v for n, v in flame.items()}}
    for path, values in take.signals.items():
        assert len(values) == 1 + 25 * SECONDS == len(take.seconds)
        torch.testing.assert_close(values[[0, -1]], rest[path].expand(2, -1))
        assert (values.diff(dim=0).abs().sum(0) > 0).sum() >= 1, "something moves"
    assert take.arkit.min() >= 0 and take.arkit.max() <= 1
    jaw = take.arkit[:, ARKIT_NAMES.index("JawOpen")]
    peak = next(time for names, time, _, _ in ARKIT_KEYS if "JawOpen" in names)
    assert int(jaw.argmax()) == round(25 * peak) and abs(float(jaw.max()) - 0.8) < 1e-6
    assert float(take.flame["jaw"][25, 0]) == float(take.flame["jaw"][:, 0].max()) > 0.29


def test_a_capture_without_signals_gives_none() -> None:
    assert example_take(None, None).signals == {}
