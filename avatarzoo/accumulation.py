"""Cut a batch into the slices of a step whose gradients are accumulated, and join what they gave."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from avatarzoo.batch import Group, HeadBatch, Prediction


def slices(batch: HeadBatch, count: int) -> list[HeadBatch]:
    """Cut a batch into consecutive slices of equal size (the last may be smaller).

    Args:
        batch: of B images.
        count: at most this many slices.
    """
    if count == 1:
        return [batch]
    size = -(-batch.size // count)
    starts = range(0, batch.size, size)
    return [batch._map(lambda t, start=start: t[start : start + size]) for start in starts]


def detach(group: Group) -> Any:
    """Return a copy of a group whose tensors carry no gradient."""
    return group._map(lambda t: t.detach())


def join(predictions: list[Prediction], sizes: list[int]) -> Prediction:
    """Join the predictions of a step's slices: per-image tensors are concatenated, of the rest the first is kept.

    Args:
        predictions: one per slice.
        sizes: number of images of each slice.
    """
    if len(predictions) == 1:
        return predictions[0]

    def cat(column: list[Any]) -> Any:
        per_image = all(isinstance(v, Tensor) and v.ndim and v.shape[0] == n for v, n in zip(column, sizes, strict=True))
        return torch.cat(column) if per_image else column[0]

    values = {f.name: cat([getattr(p, f.name) for p in predictions]) for f in fields(Prediction) if f.name != "extras"}
    extras = {key: cat([p.extras.get(key) for p in predictions]) for key in predictions[0].extras}
    return Prediction(**values, extras=extras)
