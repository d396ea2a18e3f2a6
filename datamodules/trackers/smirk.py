"""SMIRK's parameters by the names its encoder gives them. FLAME 2020.

Read off ``src/smirk_encoder.py`` and ``src/FLAME/FLAME.py`` of georgeretsi/smirk: pose_params 3 and jaw_params 3
(axis-angle), expression_params 50, shape_params 300, eyelid_params 2 (left, right in 0..1), cam 3 (weak perspective, left
out). SMIRK's demos write pictures only: an .npz of these names comes from AvatarZoo or from somebody's own script.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatarzoo.datamodules.trackers.arrays import expressions, load_npz, person, rows, vector
from avatarzoo.errors import DataError
from avatarzoo.rigs.flame import FlameParameters

EDITION = "2020"
WIDTHS = {"expression_params": (50, 100), "pose_params": (3,), "jaw_params": (3,), "eyelid_params": (2,)}


def read_smirk(path: Path) -> FlameParameters:
    """Read a take.

    Args:
        path: an .npz of N rows per name; shape_params may be one row or N, of which the mean is taken.
    """
    content = load_npz(path)
    counts = {key: len(np.atleast_2d(content[key])) for key in WIDTHS if key in content}
    if "expression_params" not in counts or len(set(counts.values())) != 1:
        raise DataError(f"{path}: expected expression_params and others with one row per frame, got rows {counts}.")
    count = counts["expression_params"]
    found = {
        key: [vector({key: row}, key, WIDTHS[key], str(path)) for row in np.atleast_2d(content[key])] for key in counts
    }
    made = FlameParameters.neutral(count, EDITION)
    made.expression = expressions(found["expression_params"])
    if "pose_params" in found:
        made.rotation = rows(found["pose_params"])
    if "jaw_params" in found:
        made.jaw = rows(found["jaw_params"])
    if "eyelid_params" in found:
        made.eyelids = rows(found["eyelid_params"])
    if "shape_params" in content:
        made.shape = person(
            vector(
                {"shape_params": np.atleast_2d(content["shape_params"]).mean(0)},
                "shape_params",
                tuple(range(1, 301)),
                str(path),
            )
        )
    return made
