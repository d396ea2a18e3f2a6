"""Films: the name says what is written."""

from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from avatarzoo.errors import ConfigError
from avatarzoo.film import check_name, open_film


def pictures() -> list[np.ndarray]:
    """Return five pictures with a bright square that moves to the right; sizes are even, not multiples of 16."""
    frames = np.full((5, 38, 50, 3), 30, np.uint8)
    for i, frame in enumerate(frames):
        frame[10:26, 4 + 8 * i : 16 + 8 * i] = 220
    return list(frames)


def write(out: Path) -> None:
    with open_film(out, fps=10) as film:
        for picture in pictures():
            film.add(picture)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_moving_pictures_keep_size_order_and_content(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "new" / f"film{suffix}"
    write(out)
    frames = [np.asarray(f)[..., :3] for f in imageio.mimread(out)]
    assert len(frames) == 5
    for frame, expected in zip(frames, pictures(), strict=True):
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 6


def test_a_folder_of_pictures_and_one_picture(tmp_path: Path) -> None:
    write(tmp_path / "folder")
    found = sorted((tmp_path / "folder").iterdir())
    assert [p.name for p in found] == [f"{i:05d}.png" for i in range(5)]
    assert all(np.array_equal(np.asarray(Image.open(p)), e) for p, e in zip(found, pictures(), strict=True))
    with open_film(tmp_path / "one.png") as film:
        film.add(pictures()[0])
        with pytest.raises(ConfigError, match="one picture"):
            film.add(pictures()[1])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png")), pictures()[0])


def test_unknown_suffixes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\.mp4"):
        check_name(Path("film.mp5"))
