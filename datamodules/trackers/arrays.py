"""What the readers of trackers share: arrays without pickles, checked lengths, zero padding."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avatarzoo.errors import DataError
from avatarzoo.geometry.skinning import rotation_from_6d, rotation_vector
from avatarzoo.rigs.flame import EXPRESSIONS
from avatarzoo.rigs.flame_file import SHAPES

log = logging.getLogger(__name__)


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz of numbers; pickled objects in it are refused.

    Args:
        path: the file.

    Raises:
        DataError: absent, damaged, or holding objects.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return {key: np.asarray(content[key]) for key in content.files}
    except Exception as error:  # a zip can be broken in many ways
        raise DataError(f"{path} cannot be read as .npz of numbers ({type(error).__name__}: {error}).") from error


def load_npy(path: Path) -> np.ndarray:
    """Read an .npy of numbers; pickled objects are refused.

    Args:
        path: the file.
    """
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except Exception as error:
        raise DataError(f"{path} cannot be read as .npy of numbers ({type(error).__name__}: {error}).") from error


def load_json(path: Path) -> Any:
    """Read JSON.

    Args:
        path: the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}).") from error


def vector(source: Mapping[str, Any], key: str, lengths: Sequence[int], where: str) -> np.ndarray:
    """Return one frame's vector, whatever batch axis it was stored with.

    Args:
        source: of one frame.
        key: in it.
        lengths: that are allowed; another one means another encoding, which is not guessed.
        where: the file, for the message.

    Raises:
        DataError: absent, of another length, or not finite.
    """
    if key not in source:
        raise DataError(f"{where} lacks {key!r}; it has {', '.join(map(str, source)) or 'nothing'}.")
    try:
        found = np.asarray(source[key], dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {key} holds no numbers.") from error
    if len(found) not in lengths or not np.isfinite(found).all():
        expected = " or ".join(map(str, lengths))
        raise DataError(f"{where}: {key} has {len(found)} numbers (or one is not finite); expected {expected}.")
    return found


def rows(vectors: Sequence[np.ndarray], width: int | None = None) -> Tensor:
    """Stack frames' vectors, padded with zeros.

    Args:
        vectors: N of them.
        width: to pad to.

    Returns:
        N,width float32.
    """
    stacked = torch.from_numpy(np.stack(vectors)).float()
    if width is not None and stacked.shape[1] < width:
        stacked = torch.cat([stacked, stacked.new_zeros(len(stacked), width - stacked.shape[1])], dim=1)
    return stacked


def expressions(vectors: Sequence[np.ndarray]) -> Tensor:
    """Stack expression codes to N,100."""
    return rows(vectors, EXPRESSIONS)


def person(vector: np.ndarray) -> Tensor:
    """Pad one shape code to 300."""
    return rows([vector], SHAPES)[0]


def axis_angle(vector: np.ndarray) -> np.ndarray:
    """Return rotation vectors from rotation vectors (3 each) or, where 6 stand for one rotation, from 6D.

    Args:
        vector: 3 or 6 numbers of one rotation.
    """
    if len(vector) == 3:
        return vector
    return rotation_vector(rotation_from_6d(torch.from_numpy(vector)[None]))[0].numpy()


def warn_of_repeats(codes: Tensor, where: str, least: int = 8) -> None:
    """Warn when many frames in a row carry the same code: some exporters write a batch's first code for all of it.

    Args:
        codes: N,E.
        where: for the message.
        least: frames in a row.
    """
    run = longest = 1
    for a, b in pairwise(codes):
        run = run + 1 if torch.equal(a, b) else 1
        longest = max(longest, run)
    if longest >= least:
        log.warning(
            "%s: %d frames in a row have the same expression code; the exporter may have repeated it.", where, longest
        )
