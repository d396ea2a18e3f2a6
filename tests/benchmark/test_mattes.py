"""foreground-v1 and portrait-v1: hand-computed pictures, captures without mattes, pictures on a colour already."""

from pathlib import Path

import numpy as np
import pillow_capture as pillow
import pytest
import torch
from PIL import Image
from torch import Tensor

from avatarzoo import registry
from avatarzoo.batch import Camera, HeadBatch, View
from avatarzoo.benchmark.aggregate import summarise
from avatarzoo.benchmark.compared import read_counted, read_truth
from avatarzoo.benchmark.places import places
from avatarzoo.benchmark.portrait_v1 import lies_on_black
from avatarzoo.benchmark.predictions import write_predictions
from avatarzoo.benchmark.protocol import Protocol
from avatarzoo.benchmark.score import score
from avatarzoo.benchmark.scoring import score_files
from avatarzoo.datamodules.base import Sample, ZooData
from avatarzoo.errors import DataError

NAMES = ("foreground-v1", "portrait-v1")


class Matted(pillow.PillowCapture):
    """The pillow in front of a wall of one colour, with a matte that is soft in one column, and wider than the mesh."""

    provides = pillow.PillowCapture.provides | {"view.foreground"}

    def __init__(self, wall: float = 0.5, background: Tensor | None = None) -> None:
        super().__init__()
        self.wall, self.background, self.reads = wall, background, 0

    def read(self, sample: Sample, noise_key: int = 0) -> HeadBatch:
        self.reads += 1
        batch = super().read(sample, noise_key)
        view = batch.view
        view.foreground = torch.zeros_like(view.foreground)
        view.foreground[..., 4:20] = 1.0
        view.foreground[..., 20] = 0.75
        view.foreground[..., 21] = 0.25
        view.image = 0.8 * view.foreground + self.wall * (1 - view.foreground) * torch.ones(3, 1, 1)
        view.background = self.background
        return batch


def capture(**options: object) -> Matted:
    made = Matted(**options)
    made.prepare()
    return made


def numbers(folder: Path, made: Matted, image: float, coverage: Tensor | None) -> dict[str, dict]:
    """Score a picture of one grey level, seen where ``coverage`` (H,W) says."""
    view = made.read(made.splits["test"][0]).view
    height, width = view.image.shape[2:]
    count = len(made.splits["test"])
    covers = None if coverage is None else coverage.expand(count, 1, height, width)
    write_predictions(
        pillow.Stub(torch.full((count, 3, height, width), image), covers), ZooData(made, 3), folder, quiet=True
    )
    rules = [registry.build("protocol", name) for name in NAMES]
    for rule in rules:
        rule.inspect(views(made))
    found = score_files(made, folder, rules, quiet=True)
    return {name: summarise(found[name]) | {"regions": found[name][0].regions} for name in NAMES}


def views(made: Matted) -> list[View]:
    return [made.read(sample).view for sample in made.splits["test"]]


def bytes_of(*values: float) -> np.ndarray:
    return np.round(255 * np.array(values))


def columns(made: Matted, *which: int) -> Tensor:
    height, width = made.read(made.splits["test"][0]).view.image.shape[2:]
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[:, list(which)] = True
    return mask


def test_foreground_counts_mattes_of_a_half_and_scores_emptiness_as_black(tmp_path: Path) -> None:
    made = capture()
    found = numbers(tmp_path, made, 0.3, columns(made, *range(10, 32)))["foreground-v1"]
    # 17 columns count: 4-9 are empty, 10-19 have 0.8, column 20 is a mixture with the wall; 21 does not count.
    height = made.summary.cameras.size[0]
    solid, mixed, answer = bytes_of(0.8, 0.8 * 0.75 + 0.5 * 0.25, 0.3)
    expected = (6 * solid**2 + 10 * (solid - answer) ** 2 + (mixed - answer) ** 2) / 17
    assert found["pixels"] == 6 * 17 * height
    assert found["mse"] == pytest.approx(expected, rel=1e-6)
    assert found["coverage"] == pytest.approx(11 / 17)
    assert sum(region.pixels for region in found["regions"].values()) == 17 * height


def test_the_same_pixels_count_whatever_the_model_covers(tmp_path: Path) -> None:
    made = capture()
    all_of_it = numbers(tmp_path / "a", made, 0.3, None)
    nothing = numbers(tmp_path / "b", made, 0.3, columns(made))
    for name in NAMES:
        assert all_of_it[name]["pixels"] == nothing[name]["pixels"]
        assert (all_of_it[name]["coverage"], nothing[name]["coverage"]) == (1, 0)


@pytest.mark.parametrize("wall", [0.5, 0.0])
def test_portrait_lays_both_on_black_over_the_full_frame(tmp_path: Path, wall: float) -> None:
    made = capture(wall=wall)
    found = numbers(tmp_path, made, 0.3, columns(made, *range(10, 24)))["portrait-v1"]
    height, width = made.summary.cameras.size
    assert found["pixels"] == 6 * height * width
    # Pictures on black hold colour times matte already; off a wall the picture is multiplied by its matte.
    rim = [0.8 * m + wall * (1 - m) for m in (0.75, 0.25)]
    rim = rim if wall == 0 else [rim[0] * 0.75, rim[1] * 0.25]
    solid, answer, a, b = bytes_of(0.8, 0.3, *rim)
    squares = 6 * solid**2 + 10 * (solid - answer) ** 2 + (a - answer) ** 2 + (b - answer) ** 2 + 2 * answer**2
    assert found["mse"] == pytest.approx(squares / width, rel=1e-6)


def test_portrait_takes_pictures_that_the_capture_laid_on_black_as_they_are_but_no_other_colour() -> None:
    rule = registry.build("protocol", "portrait-v1")
    made = capture(wall=0.0, background=torch.zeros(1, 3))
    view = made.read(made.splits["test"][0]).view
    assert torch.equal(rule.truth(view), view.image)
    white = capture(wall=1.0, background=torch.ones(1, 3))
    with pytest.raises(DataError, match=r"colour \(1, 1, 1\).*data.background=black"):
        rule.truth(white.read(white.splits["test"][0]).view)


def test_what_lies_on_black_is_told_by_the_pixels_off_the_matte() -> None:
    matte = torch.zeros(1, 1, 10, 10)
    matte[..., :5] = 1
    image = 0.9 * matte.expand(1, 3, 10, 10).clone()
    assert lies_on_black(image, matte).item()
    image[0, 1, :2, 7] = 0.9  # hairs that the matte missed: 2 of 50 pixels
    assert lies_on_black(image, matte).item()
    image[0, 1, :3, 7] = 0.9
    assert not lies_on_black(image, matte).item()
    assert not lies_on_black(image, torch.ones_like(matte)).item()


def test_what_lies_on_black_is_decided_once_for_all_pictures_and_recorded(tmp_path: Path) -> None:
    made = capture(wall=0.5)
    seen = views(made)
    matte = seen[0].foreground
    dark = torch.where(matte == 0, 0.0, seen[0].image)  # one picture before an unlit wall, its rim a mixture all the same
    seen[0].image = dark
    rule = registry.build("protocol", "portrait-v1")
    with pytest.raises(DataError, match=r"inspect\(views\)"):
        rule.truth(seen[0])
    assert "truth" not in rule.describe()
    rule.inspect(iter(seen))
    assert torch.equal(rule.truth(seen[0]), dark * matte) and rule.describe()["truth"].endswith("times its matte")
    full = [View(seen[1].camera, seen[1].image, foreground=torch.ones_like(matte)) for _ in range(9)]
    black = views(capture(wall=0.0))
    rule.inspect([*black[:2], seen[1], *full])  # a matte of the whole frame cannot tell
    assert torch.equal(rule.truth(black[0]), black[0].image) and rule.describe()["truth"].startswith("as read")
    path = pillow.write_checkpoint(tmp_path / "model.ckpt")
    record = score(path, made, ["portrait-v1"], tmp_path / "out", device="cpu", quiet=True)[0]
    assert record["protocol"]["truth"] == "the picture times its matte"


def test_what_errors_are_shown_of_is_written_per_protocol(tmp_path: Path) -> None:
    made = capture(wall=0.5)
    path = pillow.write_checkpoint(tmp_path / "model.ckpt")
    names = [*NAMES, "tracked-v1", "rasterised-v1"]
    record = score(path, made, names, tmp_path, device="cpu", quiet=True)[0]
    place = places(record)[0]
    segment, camera, frame = place.split("/")
    view = made.read(Sample(segment, frame, camera)).view
    seen = {name: read_truth(tmp_path, name, place) for name in names}
    counts = {name: read_counted(tmp_path, name, place) for name in names}
    plain = (view.image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    on_black = (view.image[0] * view.foreground[0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert all(np.array_equal(seen[name], plain) for name in names if name != "portrait-v1")
    assert np.array_equal(seen["portrait-v1"], on_black) and not np.array_equal(plain, on_black)
    assert counts["portrait-v1"].all()
    assert np.array_equal(counts["foreground-v1"], view.foreground[0, 0].numpy() >= 0.5)
    covered = np.asarray(Image.open(tmp_path / "coverage" / f"{place}.png")) > 127
    assert np.array_equal(counts["rasterised-v1"], covered) and np.array_equal(counts["tracked-v1"], covered)
    assert not covered.all() and covered.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_without_mattes_is_refused_before_anything_is_rendered(name: str, tmp_path: Path) -> None:
    path = pillow.write_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(DataError, match=rf"{name}' needs view.foreground.*provides.*protocol=tracked-v1"):
        score(path, pillow.prepared(), [name], tmp_path / "out", device="cpu", quiet=True)
    assert not (tmp_path / "out").exists()
    bare = View(Camera(*torch.eye(3)[None].expand(3, 1, 3, 3).unbind(0)[:2], torch.zeros(1, 3)), torch.zeros(1, 3, 4, 4))
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    rule = registry.build("protocol", name)
    with pytest.raises(DataError, match="has none"):
        rule.select(bare, mask, mask, lambda: mask)
        rule.truth(bare)


def test_pictures_on_another_colour_are_refused_before_anything_is_rendered(tmp_path: Path) -> None:
    path = pillow.write_checkpoint(tmp_path / "model.ckpt")
    made = capture(wall=1.0, background=torch.ones(1, 3))
    with pytest.raises(DataError, match=r"data\.background=black"):
        score(path, made, ["portrait-v1"], tmp_path / "out", device="cpu", quiet=True)
    assert made.reads == 1 and not (tmp_path / "out").exists()


def test_both_score_a_checkpoint(tmp_path: Path) -> None:
    path = pillow.write_checkpoint(tmp_path / "model.ckpt")
    records = score(path, capture(wall=0.0), NAMES, tmp_path / "out", device="cpu", quiet=True)
    assert [r["protocol"]["id"] for r in records] == list(NAMES)
    assert all(r["metrics"]["overall"]["images"] == 6 and r["metrics"]["overall"]["ssim"] > 0 for r in records)


def test_a_protocol_of_before_needs_neither_matte_nor_view(tmp_path: Path) -> None:
    class Upper(Protocol):
        registered_name, pixels_from = "upper-v1", "upper half"

        def pixels(self, tracked: Tensor, covered: Tensor) -> Tensor:
            return tracked & (torch.arange(tracked.shape[2])[:, None] < tracked.shape[2] // 2)

    made = pillow.prepared()
    view, mask = made.read(made.splits["test"][0]).view, torch.ones(1, 1, 4, 4, dtype=torch.bool)
    assert Upper().select(view, mask, mask, lambda: mask).sum() == 8
    assert Upper().truth(view) is view.image
