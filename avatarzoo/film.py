"""Write a sequence of pictures as a video, a GIF, one PNG or a folder of PNGs, whichever the name says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from avatarzoo.errors import BackendError, ConfigError, did_you_mean

VIDEO, GIF, PNG = (".mp4", ".mov", ".mkv", ".webm"), ".gif", ".png"


def check_name(out: Path) -> None:
    """Check that a film can be written under a name.

    Args:
        out: file with a known suffix, or a folder (no suffix).

    Raises:
        ConfigError: the suffix is not known.
    """
    known = (*VIDEO, GIF, PNG)
    if out.suffix and out.suffix.lower() not in known:
        raise ConfigError(
            f"out={out}: {out.suffix} files cannot be written.{did_you_mean(out.suffix, known)} "
            "A name without suffix makes a folder of PNGs."
        )


def check_count(out: Path, count: int) -> None:
    """Check that a film holds its pictures.

    Args:
        out: see ``check_name``.
        count: of pictures.

    Raises:
        ConfigError: several, for a file of one.
    """
    if out.suffix.lower() == PNG and count > 1:
        raise ConfigError(
            f"out={out} holds one picture, and there are {count}; name a video such as avatar.mp4, a GIF or a folder."
        )


class Film:
    """Takes pictures one after another; see ``open_film``."""

    def __init__(self, out: Path, fps: int) -> None:
        """Open the film.

        Args:
            out: see ``check_name``.
            fps: pictures per second.
        """
        check_name(out)
        self.out, self.fps, self.count = out, fps, 0
        self._writer: Any = None
        self._pictures: list[Image.Image] = []

    def add(self, picture: np.ndarray) -> None:
        """Append a picture.

        Args:
            picture: H,W,3 uint8; H and W even for video.

        Raises:
            BackendError: the video encoder is not available.
        """
        suffix = self.out.suffix.lower()
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if suffix in VIDEO:
            if self._writer is None:
                self._writer = _video_writer(self.out, self.fps)
            self._writer.append_data(picture)
        elif suffix == GIF:
            self._pictures.append(Image.fromarray(picture))
        elif suffix == PNG:
            check_count(self.out, self.count + 1)
            Image.fromarray(picture).save(self.out)
        else:
            self.out.mkdir(exist_ok=True)
            Image.fromarray(picture).save(self.out / f"{self.count:05d}.png")
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
        if self._pictures:
            first, *rest = (p.quantize(128) for p in self._pictures)
            first.save(self.out, save_all=True, append_images=rest, duration=round(1000 / self.fps), loop=0)


@contextlib.contextmanager
def open_film(out: Path, fps: int = 25) -> Iterator[Film]:
    """Open a film and finish it at the end of the block.

    Args:
        out: see ``check_name``.
        fps: pictures per second.
    """
    film = Film(out, fps)
    try:
        yield film
    finally:
        film.close()


def _video_writer(out: Path, fps: int) -> Any:
    import imageio.v2 as imageio

    options: dict[str, Any] = {"fps": fps, "macro_block_size": 2}
    if out.suffix.lower() != ".webm":
        options |= {"codec": "libx264", "quality": 8, "pixelformat": "yuv420p"}
    try:
        return imageio.get_writer(out, format="FFMPEG", **options)
    except (ImportError, ValueError, RuntimeError) as error:
        raise BackendError(
            f"Video needs ffmpeg ({error}): pip install 'imageio[ffmpeg]', or name a .gif or folder."
        ) from error
