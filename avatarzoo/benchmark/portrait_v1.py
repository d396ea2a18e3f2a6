"""portrait-v1: the whole frame, head on black, as papers on portraits and whole-image models score."""

from __future__ import annotations

from collections.abc import Iterable

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
        "counted, and black on both sides: the truth is laid on black by the capture's matte, unless all of its "
        "pictures lie on black already (see truth); the prediction is black where the model covers nothing"
    )
    requires = ("view.foreground",)
    otherwise = WITHOUT_MATTES

    def __init__(self) -> None:
        """Know nothing of the capture yet."""
        self.on_black: bool | None = None

    def inspect(self, views: Iterable[View]) -> None:
        """Decide, once for all pictures, whether the capture's lie on black already: most of those that can tell do.

        Args:
            views: see ``Protocol.inspect``.

        Raises:
            DataError: see ``truth``.
        """
        votes: list[bool] = []
        for view in views:
            matte = matte_of(view, "portrait-v1")
            if laid_on_black(view):
                self.on_black = True
                return
            told = (matte == 0).flatten(1).any(1)
            votes += lies_on_black(view.image, matte).flatten()[told].tolist()  # type: ignore[arg-type]
        self.on_black = 2 * sum(votes) > len(votes)

    def describe(self) -> dict[str, str]:
        """Return the rules in words, with how the truth came onto black."""
        if self.on_black is None:
            return super().describe()
        how = "as read: the capture's pictures lie on black" if self.on_black else "the picture times its matte"
        return super().describe() | {"truth": how}

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
            DataError: no matte; ``inspect`` was not called; or the capture lays its pictures over another colour than
                black: soft rims of a model that renders over that colour would hold it, and the stored prediction cannot
                be brought onto black.
        """
        image, matte = view.image, matte_of(view, "portrait-v1")
        on_black = laid_on_black(view) or self.on_black
        if on_black is None:
            raise DataError("portrait-v1 has to be shown some of the capture's pictures first: call inspect(views).")
        return torch.where(matte > 0, image, 0.0) if on_black else image * matte  # type: ignore[arg-type, operator]


def laid_on_black(view: View) -> bool:
    """Return whether the capture says that it laid the picture on black when it read it.

    Args:
        view: with image.

    Raises:
        DataError: it laid the picture over another colour.
    """
    if view.background is None:
        return False
    if (view.background != 0).any():
        colour = ", ".join(f"{value:g}" for value in view.background[0].tolist())
        raise DataError(
            f"portrait-v1 compares pictures on black, and this capture lays them over the colour ({colour}). "
            "Score with data.background=black."
        )
    return True


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
