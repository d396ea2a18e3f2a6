"""foreground-v1: the pixels that the data set's mattes call the head, hair and shoulders included."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from avatarzoo.batch import View
from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.errors import DataError
from avatarzoo.registry import register

OPAQUE = 0.5  #: least matte of a pixel that counts
WITHOUT_MATTES = (
    "Score with protocol=tracked-v1, which needs no mattes, or add them to the capture (mattes/SEGMENT/CAMERA/FRAME.png in "
    "Multiface's layout)."
)


@register("protocol", "foreground-v1")
class Foreground(Protocol):
    """The pixels of the capture's mattes, the same for every model; an empty one is scored as black."""

    pixels_from = "the capture's mattes of at least 0.5 at the picture's size, the same for every model"
    nothing = "the mattes of the scored pictures are empty."
    requires = ("view.foreground",)
    otherwise = WITHOUT_MATTES

    def pixels(self, tracked: Tensor, covered: Tensor) -> Tensor:
        """Refuse: the tracked mesh does not say what the matte is.

        Raises:
            DataError: always; see ``select``.
        """
        raise DataError("foreground-v1 chooses by the matte; score with `avatarzoo test`, which gives it.")

    def select(self, view: View, tracked: Tensor, covered: Tensor, footprint: Callable[[], Tensor]) -> Tensor:
        """Return the pixels whose matte is at least one half.

        Args:
            view: with foreground.
            tracked, covered, footprint: without influence.

        Returns:
            B,1,H,W bool.

        Raises:
            DataError: the picture has no matte.
        """
        return matte_of(view, "foreground-v1") >= OPAQUE


def matte_of(view: View, who: str) -> Tensor:
    """Return the matte of a picture.

    Args:
        view: of the capture.
        who: reads it, for the message.

    Returns:
        B,1,H,W float32 in 0..1.

    Raises:
        DataError: there is none.
    """
    if view.foreground is None:
        raise DataError(f"{who} reads the matte (view.foreground), and this picture has none. {WITHOUT_MATTES}")
    return view.foreground
