"""Tell which tracker a file or folder comes from, and read it."""

from __future__ import annotations

import math
from pathlib import Path

from avatarzoo.datamodules.trackers.arrays import load_npz
from avatarzoo.datamodules.trackers.deca import read_code_json, read_emoca
from avatarzoo.datamodules.trackers.metrical_tracker import read_metrical_tracker
from avatarzoo.datamodules.trackers.smirk import read_smirk
from avatarzoo.datamodules.trackers.vhap import read_vhap_files, read_vhap_track
from avatarzoo.errors import DataError
from avatarzoo.rigs.flame import FlameParameters

KNOWN = (
    "metrical-tracker (a folder with checkpoint/*.frame), VHAP (a folder with flame_param/*.npz, or "
    "tracked_flame_params_*.npz), EMOCA (a folder with NAME/exp.npy), DECA (code.json) and SMIRK (an .npz with "
    "expression_params)"
)


def read_track(path: str | Path) -> FlameParameters:
    """Read what a tracker wrote.

    Args:
        path: a file or folder of one of ``KNOWN``.

    Raises:
        DataError: none of them, a file that does not hold what its tracker writes, or rotations that are no radians.
    """
    path = Path(path).expanduser()
    found = _read(path)
    for part in ("rotation", "neck", "jaw", "eyes"):
        turn = float(getattr(found, part).reshape(-1, 3).norm(dim=1).max())
        if turn > 2 * math.pi:
            raise DataError(
                f"{path}: {part} turns by {turn:.1f} radians, at most 6.3 are expected of an axis-angle. Are these degrees?"
            )
    return found


def _read(path: Path) -> FlameParameters:
    if path.is_dir():
        if any(path.glob("*.frame")) or (path / "checkpoint").is_dir():
            return read_metrical_tracker(path)
        for folder in (path / "flame_param", path):
            if any(folder.glob("*.npz")):
                return read_vhap_files(sorted(folder.glob("*.npz")))
        if any(path.glob("*/exp.npy")):
            return read_emoca(path)
    elif path.suffix.lower() == ".json":
        return read_code_json(path)
    elif path.suffix.lower() == ".npz":
        names = load_npz(path)
        if "expression_params" in names:
            return read_smirk(path)
        if "expr" in names:
            return read_vhap_files([path]) if names["expr"].size == 100 else read_vhap_track(path)
        raise DataError(f"{path} has {', '.join(names) or 'nothing'}; read are {KNOWN}.")
    raise DataError(f"{path} comes from no known tracker; read are {KNOWN}.")
