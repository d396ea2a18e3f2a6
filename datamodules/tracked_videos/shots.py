"""Pictures of tracked videos: decoded with their mattes, brought onto black, and laid over another background."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avatarzoo.datamodules.base import Sample
from avatarzoo.datamodules.picture_store import PictureStore
from avatarzoo.datamodules.pictures import ADVICE, check_size, resize_picture
from avatarzoo.datamodules.tracked_videos.video import Shot, Video
from avatarzoo.errors import DataError

BACKGROUNDS: dict[str, tuple[float, float, float]] = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}


def picture_size(path: Path) -> tuple[int, int]:
    """Return a picture's (height, width) from its header.

    Args:
        path: of any picture.

    Raises:
        DataError: absent, or no picture.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a picture ({error}). {ADVICE}") from error


def _pixels(path: Path) -> np.ndarray:
    """Decode an 8-bit picture whole; check sums are checked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.verify()
            with Image.open(path) as image:
                mode = image.mode
                if mode == "P":
                    image = image.convert("RGBA" if "transparency" in image.info else "RGB")  # type: ignore[assignment]
                found = np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path} cannot be decoded ({error}). {ADVICE}") from error
    if found.dtype == bool:
        found = found.astype(np.uint8) * 255
    if found.dtype != np.uint8:
        raise DataError(f"{path} is a picture of mode {mode}; expected 8 bits per channel. Convert it.")
    return found if found.ndim == 3 else found[..., None]


def decode(shot: Shot, over: tuple[float, float, float] | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a picture and its matte.

    Args:
        shot: the files.
        over: colour the picture lies on already, or None where it has to be cut out by its matte.

    Returns:
        H,W,3 uint8 on black (colour times matte) and the matte H,W uint8, or None.

    Raises:
        DataError: damaged, or of different sizes.
    """
    pixels = _pixels(shot.picture)
    if shot.matte is None:
        return _colours(pixels, shot.picture), None
    if shot.matte == shot.picture:
        if pixels.shape[2] != 4:
            raise DataError(f"{shot.picture} has no alpha channel; pictures of this layout are RGBA. Convert it.")
        matte = pixels[..., 3]
    else:
        matte = _pixels(shot.matte)[..., 0]
        check_size(shot.matte, matte.shape, pixels.shape[:2])  # type: ignore[arg-type]
    colours = _colours(pixels, shot.picture).astype(np.float32)
    share = matte[..., None].astype(np.float32) / 255
    if over is None:
        colours = colours * share
    else:
        colours = colours - (1 - share) * (255 * np.asarray(over, np.float32))
    return (colours + 0.5).clip(0, 255).astype(np.uint8), matte


def _colours(pixels: np.ndarray, path: Path) -> np.ndarray:
    if pixels.shape[2] not in (3, 4):
        raise DataError(f"{path} has {pixels.shape[2]} channel; expected colours. Convert it to RGB.")
    return pixels[..., :3]


class ShotStore(PictureStore):
    """Pictures on black and their mattes at the read size, held decoded like those of Multiface's layout."""

    layout: Video  # type: ignore[assignment]

    def decode(self, part: str, sample: Sample) -> np.ndarray:
        """Read one file and bring it to the read size (see ``PictureStore``)."""
        colours, matte = decode(self.layout.shots[sample], self.layout.over)
        check_size(self.layout.shots[sample].picture, colours.shape[:2], self.stored)
        if part == "images":
            return np.ascontiguousarray(resize_picture(colours, self.size).transpose(2, 0, 1))
        if matte is None:
            raise DataError(
                f"{self.layout.shots[sample].picture} has no matte, though other pictures have one. Add it, or use "
                "data.on_bad_frame=skip."
            )
        return resize_picture(matte, self.size)


def background_colour(name: str, noise_key: int, training: bool) -> Tensor:
    """Return the colour to lay a picture over, 3 float32.

    Args:
        name: "black", "white" or "random": another colour for every look at a training picture, black for others.
        noise_key: what a random colour is a function of.
        training: whether the picture is one of the training split.
    """
    if name != "random" or not training:
        return torch.tensor(BACKGROUNDS.get(name, BACKGROUNDS["black"]))
    return torch.rand(3, generator=torch.Generator().manual_seed(noise_key ^ 0x5BD1E995))


def composite(image: Tensor, matte: Tensor, colour: Tensor) -> Tensor:
    """Lay B,3,H,W pictures on black over B,3 colours, by B,1,H,W mattes in 0..1."""
    return image + (1 - matte) * colour[:, :, None, None]
