"""Photometric term."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary, look_up
from avatarzoo.errors import ConfigError
from avatarzoo.losses.base import LossTerm
from avatarzoo.losses.reduce import masked_mean, power
from avatarzoo.registry import register


@register("loss", "image")
class ImageLoss(LossTerm):
    """Squared colour error over the pixels the model covers, in units of the capture.

    Dividing by the texture std keeps lambda_i in the relation it has to Multiface's normalised textures: the factor on
    errors of 0..1 pictures is 1 / texture_std (255 / std of 0..255 textures). A capture with few, similar frames has a tiny
    texture std; the spread of its colours ("colour_std") is the steadier unit there.

    Source: PiCA equation 4, L_I; the text prints a norm without saying whether it is squared or averaged.
    """

    requires = ("view.image",)

    def __init__(
        self,
        *,
        unit: str = "texture_std",
        squared: bool = True,
        region_weights: dict[str, float] | None = None,
        chroma_weight: float = 1.0,
    ) -> None:
        """Choose the norm and what counts more.

        Args:
            unit: "texture_std", or "colour_std": of the mean texture's colours around their mean.
            squared: mean of squares; False: the root of it, per image.
            region_weights: factors on the error of regions of the surface, e.g. {eyes: 4} (not in the paper).
            chroma_weight: factor on the part of the error that is orthogonal to grey (not in the paper).
        """
        if unit not in ("texture_std", "colour_std"):
            raise ConfigError(f"loss.image.unit is 'texture_std' or 'colour_std', not {unit!r}.")
        self.unit = unit
        self.squared, self.region_weights, self.chroma_weight = squared, region_weights or {}, chroma_weight
        self.std = 1.0
        self.masks: dict[str, Tensor] = {}

    def bind(self, summary: CaptureSummary) -> None:
        """Take the unit and the regions."""
        self.std = summary.spread(self.unit, "loss term 'image'")
        self.masks = {name: mask for name, mask in summary.regions.items() if name in self.region_weights}
        unknown = [name for name in self.region_weights if name not in summary.regions]
        self.without_effect = ("region_weights",) if unknown and not summary.regions else ()
        if unknown and summary.regions:
            raise ConfigError(
                f"loss.image.region_weights names {unknown[0]!r}, but the capture has {', '.join(summary.regions)}."
            )

    def move_to(self, device: torch.device) -> None:
        """Move the region masks (see ``LossTerm``)."""
        self.masks = {name: mask.to(device) for name, mask in self.masks.items()}

    def __call__(self, prediction: Prediction, batch: HeadBatch) -> Tensor:
        """Return B values (see ``LossTerm``)."""
        error = (prediction.image.float() - batch.view.image) / self.std
        weight = prediction.coverage.float()
        if self.chroma_weight != 1:
            grey = error.mean(1, keepdim=True)
            error = grey + (error - grey) * self.chroma_weight
        if self.region_weights and "uv" in prediction.extras:
            uv = prediction.extras["uv"].detach()
            for name, mask in self.masks.items():
                inside = look_up(mask.to(uv.device), uv)[:, None]
                error = torch.where(inside & (weight > 0), error * self.region_weights[name] ** 0.5, error)
        return power(masked_mean(error.square(), weight), self.squared)
