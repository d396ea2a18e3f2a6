"""A penalty on the size of anything a model hands out."""

from __future__ import annotations

from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.errors import ConfigError, did_you_mean
from avatarzoo.losses.base import LossTerm
from avatarzoo.registry import register

#: Extras that models leave out where there is nothing to penalise: one expression only, no warp, or a step without it.
OPTIONAL = ("blend_weights", "warp_offset", "warp_latent")


@register("loss", "magnitude")
class Magnitude(LossTerm):
    """Mean square of one of the prediction's extras, per image; 0 where an optional one is absent in this step.

    Extras that hold one number per image are taken as squares already (``warp_offset``: mean squared shift of samples,
    ``warp_latent``: mean square of the frame's code).
    """

    def __init__(self, *, of: str = "blend_weights") -> None:
        """Choose the extra.

        Args:
            of: its name, e.g. "blend_weights".
        """
        self.of = of

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``).

        Raises:
            ConfigError: the model does not give the extra, and it is none that models may leave out.
        """
        value = prediction.extras.get(self.of)
        if value is None:
            if self.of not in OPTIONAL:
                known = sorted({*OPTIONAL, *prediction.extras})
                raise ConfigError(
                    f"The term magnitude is of {self.of!r}, which the model does not give.{did_you_mean(self.of, known)} "
                    f"It may be of: {', '.join(known)}."
                )
            image = prediction.image
            return image.new_zeros(batch.size)  # type: ignore[union-attr]
        return value if value.ndim == 1 else value.square().flatten(1).mean(1)
