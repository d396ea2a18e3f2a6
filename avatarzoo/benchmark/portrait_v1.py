"""portrait-v1: the whole frame, head on black, as papers on portraits and whole-image models score."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarzoo.batch import View
from avatarzoo.benchmark.foreground_v1 import WITHOUT_MATTES, matte_of
from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.errors import DataError
from avatarzoo.registry import register

DARK = 2.5 / 255  #: brightest that noise and resizing leave of black
STRAY = 0.05  #: share of the pixels off the matte that may be brighter, such as hairs that it missed


@register("protocol", "portrait-v1")
class Portrait(Protocol):
    """Every pixel of the frame: the truth on black by its matte, the prediction on black by the model's coverage."""

    pixels_from = "the full frame, the same for every model"
    background = (
        "counted, and black on both sides: the truth is laid on black by the capture's matte, unless it lies on black "
        "already; the prediction is black where the model covers nothing"
    )
    requires = ("view.foreground",)
    otherwise = WITHOUT_MATTES

    def pixels(self, tracked: Tensor, covered: Tensor) -> Tensor:
        """Return all pixels."""
        return torch.ones_like(tracked)

    def truth(self, view: View) -> Tensor:
        """Return the picture on black.

        Args:
            view: with image and foreground.

        Returns:
            B,3,H,W float32.

        Raises:
            DataError: no matte, or the capture lays its pictures over another colour than black: soft rims of a model
                that renders over that colour would hold it, and the stored prediction cannot be brought onto black.
        """
        image, matte = view.image, matte_of(view, "portrait-v1")
        if view.background is not None:
            if (view.background != 0).any():
                colour = ", ".join(f"{value:g}" for value in view.background[0].tolist())
                raise DataError(
                    f"portrait-v1 compares pictures on black, and this capture lays them over the colour ({colour}). "
                    "Score with data.background=black."
                )
            alone = torch.ones_like(matte[:, :, :1, :1], dtype=torch.bool)
        else:
            alone = lies_on_black(image, matte)  # type: ignore[arg-type]
        return torch.where(alone, torch.where(matte > 0, image, 0.0), image * matte)  # type: ignore[arg-type, operator]


def lies_on_black(image: Tensor, matte: Tensor) -> Tensor:
    """Return which pictures lie on black already: multiplying those by their matte once more would darken their rims.

    Args:
        image: B,3,H,W in 0..1.
        matte: B,1,H,W in 0..1.

    Returns:
        B,1,1,1 bool: of the pixels with a matte of 0, and there are some, at most 5 % are brighter than 2 of 255.
    """
    outside = matte == 0
    bright = outside & (image.amax(dim=1, keepdim=True) > DARK)
    count = outside.sum(dim=(1, 2, 3), keepdim=True)
    return (count > 0) & (bright.sum(dim=(1, 2, 3), keepdim=True) <= STRAY * count)
