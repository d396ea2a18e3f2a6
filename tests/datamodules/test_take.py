"""Takes: recorded weights to drive an avatar with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avatarzoo.datamodules.take import Take, read_take
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.rigs.arkit import ARKIT_NAMES

EXTRA = ["HeadYaw", "HeadPitch", "HeadRoll"]


def row(n: int) -> list[str]:
    return [f"{((k + 3 * n) % 52) / 52:.6f}" for k in range(52)]


def expected(n: int) -> torch.Tensor:
    return torch.tensor([((k + 3 * n) % 52) / 52 for k in range(52)], dtype=torch.float32)


def write(path: Path, times: list[str], names: list[str] | None = None) -> Path:
    """Live Link Face's columns; ``names`` gives another order."""
    names = names or list(ARKIT_NAMES)
    lines = [",".join(["Timecode", "BlendShapeCount", *names, *EXTRA])]
    for n, time in enumerate(times):
        cells = dict(zip(ARKIT_NAMES, row(n), strict=True))
        lines.append(",".join([time, "61", *(cells[name] for name in names), "0", "0", "0"]))
    path.write_text("\n".join(lines) + "\n")
    return path


TIMES = ["18:32:05:10.000", "18:32:05:12.000", "18:32:06:10.000"]


def test_weights_and_time(tmp_path: Path) -> None:
    take = read_take(write(tmp_path / "take.csv", TIMES))
    torch.testing.assert_close(take.arkit, torch.stack([expected(n) for n in range(3)]), atol=1e-6, rtol=0)
    np.testing.assert_allclose(take.seconds, [0, 2 / 60, 1.0], atol=1e-9)
    assert set(take.signals) == {"driving.arkit"}


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    first = read_take(write(tmp_path / "a.csv", TIMES)).arkit
    shuffled = list(np.random.default_rng(0).permutation(list(ARKIT_NAMES)))
    path = write(tmp_path / "b.csv", TIMES, shuffled)
    path.write_text(path.read_text().replace("JawLeft", "jawleft").replace("Timecode", "timecode"))
    assert torch.equal(read_take(path).arkit, first)


@pytest.mark.parametrize("times", [["a", "b", "c"], ["18:32:05:10", "18:32:05:09", "18:32:06:00"]])
def test_a_clock_that_does_not_run_is_no_clock(tmp_path: Path, times: list[str]) -> None:
    assert read_take(write(tmp_path / "take.csv", times)).seconds is None


def test_resampling_interpolates_in_time(tmp_path: Path) -> None:
    take = read_take(write(tmp_path / "take.csv", TIMES))
    film = take.at(None, 4)
    assert len(film.arkit) == 5  # 0, 0.25, 0.5, 0.75 and 1 second
    share = (0.25 - 2 / 60) / (1 - 2 / 60)
    torch.testing.assert_close(film.arkit[1], expected(1) * (1 - share) + expected(2) * share, atol=1e-5, rtol=0)
    torch.testing.assert_close(film.arkit[4], expected(2), atol=1e-5, rtol=0)
    three = take.at(3, 4).arkit  # evenly over the take: 0, 0.5 and 1 second
    torch.testing.assert_close(three[1], take.at(None, 4).arkit[2], atol=1e-5, rtol=0)
    untimed = Take("x", None, take.arkit).at(None, 4)
    assert torch.equal(untimed.arkit, take.arkit), "without a clock a row is a picture"
    single = Take("x", None, take.arkit[:1]).at(3, 4)
    assert torch.equal(single.arkit, take.arkit[:1].expand(3, -1))


def test_mistakes_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "take.csv", TIMES)
    with pytest.raises(ConfigError, match=r"does not exist\. Did you mean 'take.csv'"):
        read_take(tmp_path / "tak.csv")
    (tmp_path / "x.mp4").write_bytes(b"")
    with pytest.raises(ConfigError, match="no known kind"):
        read_take(tmp_path / "x.mp4")
    text = path.read_text()
    for change, message in (
        (text.replace("JawOpen", "JawOpne"), "'JawOpen'.*lacks it.*'jawopne'"),
        (text.replace("Brow", "Frown").replace("Eye", "Sight"), r"lacks 1\d of the 52 weights: EyeBlinkLeft, .*, \.\.\."),
        (
            text.replace("JawOpen", "JawOpne").replace("MouthClose", "Shut"),
            "lacks 2 .* Did you mean 'jawopne' for 'JawOpen'\\?",
        ),
        (text.replace(row(1)[0], "1.5", 1), "expected a weight in 0..1"),
        (text.split("\n")[0], "no row"),
        (text.replace(",61,", ",", 1), "64 columns|columns, but the header"),
    ):
        path.write_text(change)
        with pytest.raises(DataError, match=message):
            read_take(path)
