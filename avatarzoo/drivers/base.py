"""The contract of a driver: a signal in the batch becomes a latent code of the shape the model asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from avatarzoo.batch import HeadBatch
from avatarzoo.capture import CaptureSummary


@dataclass
class Code:
    """A latent code.

    Attributes:
        value: B,*shape, what the decoders read.
        mean, log_std: B,*shape of the posterior it was drawn from; None for drivers without one.
    """

    value: Tensor
    mean: Tensor | None = None
    log_std: Tensor | None = None


class Driver(nn.Module, ABC):
    """Turn a signal into a code. Constructors take ``shape``, the shape of the code, before ``*``.

    Attributes:
        requires: dotted paths into HeadBatch; a trailing "?" marks what may be absent.
        test_inputs: what of a test frame the driver sees: "pictures" or "parameters".
    """

    requires: tuple[str, ...] = ()
    test_inputs: str = "parameters"
    #: whether it knows codes of training frames alone (then pictures during training show those).
    only_training_frames: bool = False

    def bind(self, summary: CaptureSummary) -> None:
        """Make what depends on the capture; called once, before weights are loaded."""

    @abstractmethod
    def forward(self, batch: HeadBatch) -> Code:
        """Compute the code: a sample while training, the mean in evaluation.

        Args:
            batch: needs ``requires``.
        """
