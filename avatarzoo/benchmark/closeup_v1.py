"""closeup-v1: nearer than any training camera, as Fig. 7 of the Pixel Codec Avatars paper looks at."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.benchmark.regions import finest_footprint
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import DataError
from avatarzoo.registry import register

MARGIN = 0.75  #: of the finest footprint in training; heads move, so a pixel just under it was nearly trained on


@register("protocol", "closeup-v1")
class CloseUp(Protocol):
    """The tracked pixels that see the surface more finely than any training picture did: nearer, or with more pixels."""

    pixels_from = (
        "raster of the capture's tracked mesh, where a pixel spans less than 0.75 of the surface (mm) that it spans in the "
        "finest training camera at the nearest vertex of the neutral face (given as finest); the same for models that were "
        "trained from cameras as fine"
    )

    nothing = (
        "no scored picture sees the face more finely than training did; score nearer cameras, or more pixels "
        "(data.image_height twice that of the training)."
    )

    def __init__(self) -> None:
        """Know nothing of the training yet."""
        self.finest: float | None = None
        self.finest_of = ""

    def prepare(self, trained: CaptureSummary) -> None:
        """Measure how finely training saw the face.

        Args:
            trained: the summary in the checkpoint.
        """
        self.finest = finest_footprint(trained)
        named = trained.train_cameras is not None
        self.finest_of = "training cameras" if named else "all cameras: the checkpoint does not name those of training"

    def describe(self) -> dict[str, str]:
        """Return the rules in words, with the finest footprint of training, which they depend on."""
        if self.finest is None:
            return super().describe()
        return super().describe() | {"finest": f"{self.finest:.4g} mm per pixel, of {self.finest_of}"}

    def pixels(self, tracked: Tensor, covered: Tensor) -> Tensor:
        """Refuse: pixels alone do not say how near they are.

        Raises:
            DataError: always; see ``choose``.
        """
        raise DataError("closeup-v1 chooses by footprint; score with `avatarzoo test`, which gives it.")

    def choose(self, tracked: Tensor, covered: Tensor, footprint: Callable[[], Tensor]) -> Tensor:
        """Return the tracked pixels that are finer than training was.

        Args:
            tracked, covered: see ``pixels``.
            footprint: gives mm per pixel.

        Raises:
            DataError: the protocol was not told what the model was trained on.
        """
        if self.finest is None:
            raise DataError("closeup-v1 has to be told what the model was trained on: call prepare(summary) first.")
        return tracked & (footprint() < MARGIN * self.finest)
