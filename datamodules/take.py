"""Takes: a performance without pictures, as a phone or a tracker records it, to drive an avatar with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarzoo.datamodules.arkit import arkit_rows
from avatarzoo.datamodules.trackers.read import KNOWN, read_track
from avatarzoo.errors import ConfigError, DataError, did_you_mean

_TIMECODE = re.compile(r"(\d+):(\d+):(\d+):(\d+(?:\.\d+)?)")
EXAMPLE = "example"  #: value of driver.source that asks for the take that comes with AvatarZoo (``example_take``)
SUFFIXES = (".csv", ".npz", ".json")  # of files that hold a take
COUNTER = 60.0  # frames of Live Link Face's timecode per second


@dataclass
class Take:
    """A performance.

    Attributes:
        name: of its file.
        seconds: N float64, from the first row on; None where the file has no time.
        arkit: N,52 float32 weights, or None.
        flame: N,... float32 by name, as in ``batch.Driving.flame``, or None.
        edition: of FLAME, "" where it is not said.
    """

    name: str
    seconds: np.ndarray | None = None
    arkit: Tensor | None = None
    flame: dict[str, Tensor] | None = None
    edition: str = ""

    @property
    def signals(self) -> dict[str, Tensor]:
        """The signals there are by dotted path of HeadBatch."""
        found = {} if self.arkit is None else {"driving.arkit": self.arkit}
        return found | {f"driving.flame.{name}": value for name, value in (self.flame or {}).items()}

    def at(self, count: int | None, fps: float) -> Take:
        """Resample to a film by linear interpolation.

        Args:
            count: number of pictures; None follows the take's own time at ``fps``, or takes one picture per row.
            fps: pictures per second.

        Returns:
            A take with one row per picture and no time.
        """
        rows = len(next(iter(self.signals.values())))
        time = np.arange(rows) / fps if self.seconds is None else self.seconds
        if count is None:
            count = rows if self.seconds is None else int(time[-1] * fps + 1e-6) + 1
            wanted = np.arange(count) / fps
        else:
            wanted = np.linspace(0, time[-1], count)
        place = np.interp(wanted, time, np.arange(rows))
        first = np.clip(place.astype(int), 0, max(rows - 2, 0))
        second = np.minimum(first + 1, rows - 1)
        share = torch.from_numpy((place - first).astype(np.float32))[:, None]

        def mix(values: Tensor) -> Tensor:
            return values[first] * (1 - share) + values[second] * share

        flame = None if self.flame is None else {name: mix(value) for name, value in self.flame.items()}
        return Take(self.name, None, None if self.arkit is None else mix(self.arkit), flame, self.edition)


def read_take(path: str | Path) -> Take:
    """Read a performance.

    Args:
        path: a CSV of ARKit weights (Live Link Face's, or a capture's arkit_weights.csv), or a tracker's output that
            ``trackers.read_track`` knows.

    Raises:
        ConfigError: no such file, or of no known kind.
        DataError: a file that does not hold what its kind says.
    """
    path = Path(path).expanduser()
    if not path.exists():
        near = [p.name for p in path.parent.iterdir() if p.is_dir() or p.suffix in SUFFIXES] if path.parent.is_dir() else []
        raise ConfigError(f"driver.source={path} does not exist.{did_you_mean(path.name, [EXAMPLE, *near])}")
    if path.suffix.lower() == ".csv":
        return read_arkit_take(path)
    if path.is_dir() or path.suffix.lower() in (".npz", ".json"):
        track = read_track(path)
        return Take(path.name, None, None, track.driving(), track.edition)
    raise ConfigError(f"driver.source={path} is of no known kind; give a .csv of ARKit weights, or the output of {KNOWN}.")


def read_arkit_take(path: Path) -> Take:
    """Read ARKit weights as a phone records them.

    Columns are found by name in any order and case; what else there is (BlendshapeCount, head and eye angles) is left out:
    the units of head angles are documented nowhere, and all-zero ones mean "not recorded".

    Args:
        path: a CSV with the 52 weights and, if there is one, Timecode HH:MM:SS:FF.sss counting 60 a second.

    Raises:
        DataError: a weight is missing, twice there, or no number in 0..1.
    """
    rows = list(arkit_rows(path))
    if not rows:
        raise DataError(f"{path} holds no row of weights; expected a header and one row per frame.")
    times = [_seconds(row.cells.get("timecode", "")) for row in rows]
    return Take(path.name, _clock(times), torch.tensor([row.weights for row in rows], dtype=torch.float32))


def _seconds(text: str) -> float | None:
    match = _TIMECODE.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds, frames = (float(x) for x in match.groups())
    return 3600 * hours + 60 * minutes + seconds + frames / COUNTER


def _clock(times: list[float | None]) -> np.ndarray | None:
    """Return seconds from the first row on, or None unless every row has a time later than the one before."""
    if any(t is None for t in times):
        return None
    found = np.array(times, dtype=np.float64)
    found = found - found[0]
    return found if len(found) > 1 and (np.diff(found) > 0).all() else None
