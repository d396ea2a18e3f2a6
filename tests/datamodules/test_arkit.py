"""Tables of ARKit weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatarzoo.datamodules.arkit import ARKIT_NAMES, read_arkit
from avatarzoo.errors import DataError

HEADER = ["segment", "frame", *ARKIT_NAMES, "HeadYaw", "LeftEyeYaw"]
ROW = ["E001", "000135", *(f"{k / 52:.6f}" for k in range(52)), "0.5", "-0.3"]


def write(tmp_path: Path, *rows: list[str]) -> Path:
    path = tmp_path / "w.csv"
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    return path


def test_names_are_the_52_in_the_order_of_live_link_face() -> None:
    assert len(set(ARKIT_NAMES)) == 52
    assert ARKIT_NAMES[:8] == (
        *("EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft", "EyeLookUpLeft", "EyeSquintLeft"),
        *("EyeWideLeft", "EyeBlinkRight"),
    )
    assert ARKIT_NAMES[14:18] == ("JawForward", "JawRight", "JawLeft", "JawOpen")
    assert ARKIT_NAMES[21:23] == ("MouthRight", "MouthLeft") and ARKIT_NAMES[-1] == "TongueOut"


def test_columns_are_matched_by_name_in_any_order_and_case(tmp_path: Path) -> None:
    plain = read_arkit(write(tmp_path, HEADER, ROW))[("E001", "000135")]
    np.testing.assert_allclose(plain, np.arange(52) / 52, atol=1e-6)
    order = np.random.default_rng(1).permutation(len(HEADER))
    shuffled = write(tmp_path, [HEADER[i].lower() for i in order], [f" {ROW[i]} " for i in order])
    np.testing.assert_array_equal(read_arkit(shuffled)[("E001", "000135")], plain)
    assert plain[ARKIT_NAMES.index("JawRight")] == pytest.approx(15 / 52, abs=1e-6)


def test_recorded_overshoot_is_kept(tmp_path: Path) -> None:
    row = [*ROW[:2], "-1e-8", "1.03125", *ROW[4:]]
    weights = read_arkit(write(tmp_path, HEADER, row))[("E001", "000135")]
    assert weights[:2].tolist() == [np.float32(-1e-8), 1.03125]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "is empty"),
        ([[n for n in HEADER if n != "JawOpen"], ROW[:-1]], r"one column 'JawOpen'; the header lacks it\.$"),
        ([[*HEADER, "jawopen"], [*ROW, "0"]], "has it 2 times"),
        ([HEADER, ROW[:-1]], "line 2: 55 columns, but the header has 56"),
        ([HEADER, [*ROW[:2], "nan", *ROW[3:]]], "EyeBlinkLeft is 'nan'; expected a weight in 0..1"),
        ([HEADER, [*ROW[:2], "1.5", *ROW[3:]]], "EyeBlinkLeft is '1.5'"),
        ([HEADER, [*ROW[:2], "", *ROW[3:]]], "EyeBlinkLeft is ''"),
        ([HEADER, ROW, ROW], "line 3: frame E001/000135 appears twice"),
    ],
)
def test_errors(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_arkit(write(tmp_path, *rows))
