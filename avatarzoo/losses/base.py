"""The contract of a loss term."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary


class LossTerm(ABC):
    """One term of an objective; weight and schedule belong to the recipe and are applied by ZooModule.

    In a recipe: ``loss: {image: {weight: 2, start: 0, ramp: 0, ...options}}``. A term whose key is not its registered name
    says ``term: NAME``.

    Attributes:
        requires: dotted paths into HeadBatch the term reads; a trailing "?" marks what may be absent: the term is then 0.
    """

    requires: tuple[str, ...] = ()
    #: options that do nothing on the capture bound to, since it names no regions; set in ``bind``, announced and recorded
    without_effect: tuple[str, ...] = ()

    def bind(self, summary: CaptureSummary) -> None:  # noqa: B027 - most terms need nothing
        """Take units and masks from the capture; called once before training."""

    def move_to(self, device: torch.device) -> None:  # noqa: B027
        """Move what ``bind`` kept to the device of the batches; called once, when training starts."""

    @abstractmethod
    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Compute the term.

        Args:
            prediction: from ``Model.predict``.
            batch: the batch.

        Returns:
            B float32: one value per image, 0 for an image the term says nothing about. ZooModule takes the mean over
            images, so that two processes with half a batch each equal one with the whole.
        """
