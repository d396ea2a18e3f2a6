"""What protocols count: shrinking a mask gains nothing under tracked-v1, and emptiness is black."""

from pathlib import Path

import fixtures
import pillow_capture as pillow
import pytest
import torch
import torch.nn.functional as F

from avatarzoo import registry
from avatarzoo.benchmark.aggregate import summarise
from avatarzoo.benchmark.predictions import write_predictions
from avatarzoo.benchmark.scoring import score_files
from avatarzoo.datamodules.base import ZooData
from avatarzoo.metrics import mse255

NAMES = ("tracked-v1", "rasterised-v1")
ALL = fixtures.built_in("protocol")


def scores(tmp_path: Path, image: torch.Tensor, coverage: torch.Tensor | None) -> dict[str, dict]:
    capture = pillow.prepared()
    write_predictions(pillow.Stub(image, coverage), ZooData(capture, 3), tmp_path, quiet=True)
    rules = [registry.build("protocol", name) for name in NAMES]
    found = score_files(capture, tmp_path, rules, quiet=True)
    return {name: summarise(found[name]) for name in NAMES}


def silhouettes() -> torch.Tensor:
    capture = pillow.prepared()
    return torch.cat([capture.read(s).view.foreground for s in capture.splits["test"]]) > 0


def eroded(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    return F.max_pool2d((~mask).float(), 2 * pixels + 1, 1, pixels) == 0


def test_an_empty_prediction_is_scored_as_black(tmp_path: Path) -> None:
    target, mask = pillow.truth(pillow.prepared()), silhouettes()
    found = scores(tmp_path, torch.full_like(target, 0.7), torch.zeros_like(mask))
    black = mse255(torch.zeros_like(target), target, mask).mean().item()
    assert found["tracked-v1"]["mse"] == pytest.approx(black, rel=1e-6)
    assert found["tracked-v1"]["coverage"] == 0
    assert found["rasterised-v1"]["images"] == 0 and found["rasterised-v1"]["psnr"] is None


def test_a_shrunken_mask_gains_under_its_own_pixels_but_not_under_tracked(tmp_path: Path) -> None:
    target, mask = pillow.truth(pillow.prepared()), silhouettes()
    # As of a real avatar, the error is largest where the silhouette is.
    near_edge = mask & ~eroded(mask, 2)
    image = (target + torch.where(near_edge, 0.2, 0.02)).clamp(0, 1)
    whole = scores(tmp_path / "whole", image, mask)
    small = scores(tmp_path / "small", image, eroded(mask, 2))
    assert small["rasterised-v1"]["psnr"] > whole["rasterised-v1"]["psnr"] + 1
    assert small["tracked-v1"]["psnr"] < whole["tracked-v1"]["psnr"] - 1
    assert small["tracked-v1"]["pixels"] == whole["tracked-v1"]["pixels"]
    assert small["tracked-v1"]["coverage"] < 1 == whole["tracked-v1"]["coverage"]


def test_overhang_and_background_do_not_count_under_tracked(tmp_path: Path) -> None:
    target, mask = pillow.truth(pillow.prepared()), silhouettes()
    noise = torch.rand(target.shape, generator=torch.Generator().manual_seed(0))
    outside = torch.where(mask, target, noise)
    found = scores(tmp_path, outside, None)  # a model without coverage says something everywhere
    assert found["tracked-v1"]["mse"] == 0 and found["tracked-v1"]["psnr"] == 100
    assert found["rasterised-v1"]["mse"] > 1000
    assert found["rasterised-v1"]["pixels"] == mask.numel()


def test_equal_masks_make_the_protocols_equal(tmp_path: Path) -> None:
    target, mask = pillow.truth(pillow.prepared()), silhouettes()
    found = scores(tmp_path, (target + 0.1).clamp(0, 1), mask)
    assert found["tracked-v1"] == found["rasterised-v1"]


@pytest.mark.parametrize("name", ALL)
def test_protocols_describe_themselves_and_have_no_options(name: str) -> None:
    rule = registry.build("protocol", name)
    words = rule.describe()
    assert words["id"] == name and all(isinstance(v, str) and v for v in words.values())
    assert registry.options(type(rule)) == {}
    assert bool(rule.requires) == bool(rule.otherwise)


def test_every_protocol_is_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    assert len(ALL) >= 5 and all(f"| `{name}` |" in text for name in ALL)
