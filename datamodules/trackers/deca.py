"""DECA and EMOCA: per-image codes of shape 100, expression 50 and pose 6 (global and jaw rotation, axis-angle). FLAME 2020.

Read off ``decalib/utils/config.py`` and ``decalib/deca.py`` of yfeng95/DECA, ``gdl_apps/EMOCA/utils/io.py`` of
radekd91/emoca (--save_codes), and ``preprocess/DECA/demos/demo_reconstruct.py`` of zhengyuf/IMavatar (code.json). DECA's
own NAME.mat holds decoded meshes, not codes, and is not read. Cameras are weak-perspective crops and are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatarzoo.datamodules.trackers.arrays import expressions, load_json, load_npy, person, rows, vector, warn_of_repeats
from avatarzoo.errors import DataError
from avatarzoo.rigs.flame import FlameParameters

EDITION = "2020"


def read_emoca(folder: Path) -> FlameParameters:
    """Read a folder of codes.

    Args:
        folder: OUT with one folder per image, each with shape.npy, exp.npy and pose.npy.
    """
    places = sorted(p.parent for p in folder.glob("*/exp.npy"))
    if not places:
        raise DataError(f"{folder} holds no NAME/exp.npy, which EMOCA writes with --save_codes.")
    codes = [{key: load_npy(place / f"{key}.npy") for key in ("shape", "exp", "pose")} for place in places]
    return _parameters(codes, [str(place) for place in places], str(folder))


def read_code_json(path: Path) -> FlameParameters:
    """Read IMavatar's file of DECA's codes.

    Args:
        path: code.json: {"1": {shape, exp, pose, ...}, ...}.
    """
    content = load_json(path)
    if not isinstance(content, dict) or not content or not all(isinstance(c, dict) for c in content.values()):
        raise DataError(f'{path}: expected {{"1": {{"shape", "exp", "pose"}}, ...}}.')
    names = sorted(content, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    return _parameters([content[name] for name in names], [f"{path}, frame {name}" for name in names], str(path))


def _parameters(codes: list[dict], where: list[str], whole: str) -> FlameParameters:
    pairs = list(zip(codes, where, strict=True))
    pose = np.stack([vector(code, "pose", (6,), place) for code, place in pairs])
    made = FlameParameters.neutral(len(codes), EDITION)
    made.expression = expressions([vector(code, "exp", (50, 100), place) for code, place in pairs])
    made.shape = person(np.mean([vector(code, "shape", (100, 300), place) for code, place in pairs], axis=0))
    made.rotation, made.jaw = rows(list(pose[:, :3])), rows(list(pose[:, 3:]))
    warn_of_repeats(made.expression, whole)
    return made
