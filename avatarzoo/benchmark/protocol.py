"""The contract of a protocol: which pixels count. The rest of scoring is the same for all of them, and stated here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from torch import Tensor

from avatarzoo.batch import View
from avatarzoo.capture import CaptureSummary
from avatarzoo.datamodules.base import Capture
from avatarzoo.errors import DataError
from avatarzoo.requirements import check_requirements


class Protocol(ABC):
    """A named, versioned rule that says which pixels of a picture are compared.

    A protocol has no options: another rule is another name. Any change that can change a number makes a new version.

    Attributes:
        registered_name: the id with its version, e.g. "tracked-v1".
        pixels_from: which pixels count and where they come from, in words.
        background: what happens to the rest of the picture.
        empty: how a counted pixel that the model leaves empty is scored.
        nothing: what to say where no pixel counts at all.
        requires: dotted paths of HeadBatch that the capture has to provide, beside its pictures and tracked mesh.
        otherwise: what to do where it does not.
    """

    registered_name: str
    pixels_from: str
    background: str = "excluded"
    empty: str = "scored as black"
    size: str = "the height the capture is read at (data.image_height); nothing is resized for scoring"
    storage: str = "8-bit sRGB PNG; numbers come from the files"
    averaging: str = "mean over images of per-image values; mse_pooled and psnr_pooled pool all pixels"
    nothing: str = "no pixel of the scored pictures counts."
    requires: tuple[str, ...] = ()
    otherwise: str = ""
    perceptual: str = "lpips 0.1, alex and vgg, inputs in -1..1, spatial map averaged over the counted pixels"

    @abstractmethod
    def pixels(self, tracked: Tensor, covered: Tensor) -> Tensor:
        """Choose the pixels that count.

        Args:
            tracked: B,1,H,W bool, raster of the capture's tracked mesh.
            covered: B,1,H,W bool, where the model put something.

        Returns:
            B,1,H,W bool.
        """

    def prepare(self, trained: CaptureSummary) -> None:
        """Take notice of what the model was trained on; most protocols need not.

        Args:
            trained: the summary in the checkpoint.
        """
        return

    def inspect(self, views: Iterable[View]) -> None:
        """Take notice of some pictures that will be scored, once and before anything is rendered.

        By default a protocol with a ``truth`` of its own is asked for that of the first, so that a capture it cannot use is
        refused in time.

        Args:
            views: spread over the split, each with its image; read only as far as they are iterated.

        Raises:
            DataError: the capture's pictures are not such that the protocol can use them.
        """
        if type(self).truth is not Protocol.truth:
            for view in views:
                self.truth(view)
                return

    def choose(self, tracked: Tensor, covered: Tensor, footprint: Callable[[], Tensor]) -> Tensor:
        """Choose the pixels that count, by how finely they see the surface if need be.

        Args:
            tracked, covered: see ``pixels``.
            footprint: gives B,1,H,W float32, mm of the tracked surface per pixel, infinite where it is not seen.

        Returns:
            B,1,H,W bool.
        """
        return self.pixels(tracked, covered)

    def select(self, view: View, tracked: Tensor, covered: Tensor, footprint: Callable[[], Tensor]) -> Tensor:
        """Choose the pixels that count, by what else the capture says of the picture if need be, such as its matte.

        Args:
            view: of the capture, with whatever ``requires`` names.
            tracked, covered, footprint: see ``choose``.

        Returns:
            B,1,H,W bool.
        """
        return self.choose(tracked, covered, footprint)

    def truth(self, view: View) -> Tensor:
        """Return the picture to compare with; the capture's own for most protocols.

        Args:
            view: of the capture, with its image.

        Returns:
            B,3,H,W float32 in 0..1; what is compared with it is black wherever the model covers nothing.

        Raises:
            DataError: the capture's pictures are not such that the protocol can use them.
        """
        return view.image  # type: ignore[return-value]

    def describe(self) -> dict[str, str]:
        """Return the rules in words, for records and docs."""
        words = ("pixels_from", "background", "empty", "size", "storage", "averaging", "perceptual")
        return {"id": self.registered_name} | {word: getattr(self, word) for word in words}


def check_capture(protocol: type[Protocol] | Protocol, capture: Capture, data_name: str) -> None:
    """Check that a capture gives what a protocol reads.

    Args:
        protocol: or its class; ``requires`` and ``otherwise`` are looked at.
        capture: prepared or not.
        data_name: of the capture in the recipe.

    Raises:
        DataError: something is missing; names the protocol and what to do.
    """
    try:
        check_requirements(f"protocol {protocol.registered_name!r}", protocol.requires, capture, data_name)
    except DataError as error:
        raise DataError(f"{error} {protocol.otherwise}".strip()) from error
