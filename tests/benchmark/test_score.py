"""A checkpoint scored end to end, its numbers computed again from the files."""

import io
import json
from pathlib import Path

import numpy as np
import pillow_capture as pillow
import pytest
import torch
from PIL import Image
from rich.console import Console

from avatarzoo import registry
from avatarzoo.benchmark.record import read_records, sha256_of_file
from avatarzoo.benchmark.regions import draw_tracked
from avatarzoo.benchmark.score import score
from avatarzoo.benchmark.table import print_records
from avatarzoo.errors import ConfigError, DataError

PROTOCOLS = ("tracked-v1", "rasterised-v1")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder / "empty"))  # no perceptual weights
        path = pillow.write_checkpoint(folder / "model.ckpt")
        return folder, score(path, protocols=PROTOCOLS, device="cpu", quiet=True)


def test_numbers_are_those_of_the_files(scored: tuple[Path, list[dict]]) -> None:
    folder, records = scored
    capture = pillow.prepared()
    oracle = registry.build("rasterizer", "torch")
    decibels, squared, pixels, mouth = [], 0.0, 0, 0.0
    for sample in capture.splits["test"]:
        batch = capture.read(sample)
        target = np.round(batch.view.image[0].permute(1, 2, 0).numpy() * 255)
        path = folder / "test" / "predictions" / sample.segment / sample.camera / f"{sample.frame}.png"
        error = (np.asarray(Image.open(path)).astype(float) - target) ** 2
        tracked, uv = draw_tracked(batch, capture.summary, oracle)
        mask = tracked[0, 0].numpy()
        decibels.append(10 * np.log10(255**2 / error[mask].mean()))
        squared, pixels = squared + error[mask].sum(), pixels + mask.sum()
        mouth += error[mask & capture.summary.region_at("mouth", uv)[0].numpy()].sum()
    found = records[0]["metrics"]
    assert found["overall"]["images"] == 6 and found["overall"]["pixels"] == pixels
    assert found["overall"]["psnr"] == pytest.approx(np.mean(decibels), abs=1e-6)
    assert found["overall"]["mse_pooled"] == pytest.approx(squared / pixels / 3)
    assert found["views"]["Front"]["psnr"] == pytest.approx(np.mean(decibels[::2]), abs=1e-6)
    assert found["cameras"]["side"] == {k: v for k, v in found["views"]["Left"].items() if k != "regions"}
    assert found["frames"]["S1/001"]["psnr"] == pytest.approx(np.mean(decibels[2:4]), abs=1e-6)
    region = found["regions"]["mouth"]
    assert region["mse_pooled"] * 3 * region["pixels"] == pytest.approx(mouth)
    assert sum(r["share"] for r in found["regions"].values()) == pytest.approx(1)
    assert found["overall"]["coverage"] == 1.0


def test_the_record_says_what_was_scored(scored: tuple[Path, list[dict]]) -> None:
    folder, records = scored
    assert read_records(folder / "test" / "record.json") == records
    assert [r["protocol"]["id"] for r in records] == list(PROTOCOLS)
    record = records[0]
    assert (record["recipe"], record["model"], record["iteration"]) == ("static_texture", "static_texture", 7)
    assert record["test_inputs"] == "tracked mesh" and record["test_time_fitting"] == "none"
    assert record["parameters"] == {"surface": 3 * 128 * 128, "total": 3 * 128 * 128}
    assert record["checkpoint_sha256"] == sha256_of_file(folder / "model.ckpt")
    assert record["data"]["capture"] == "pillow" and record["data"]["picture_size"] == [40, 32]
    assert record["timing"]["images"] == 6 and record["timing"]["render_ms_per_image"] > 0
    assert str(folder) not in json.dumps(records)


def test_without_weights_the_columns_say_so(scored: tuple[Path, list[dict]]) -> None:
    _, records = scored
    assert records[0]["metrics"]["overall"]["lpips_alex"] is None
    assert set(records[0]["missing"]) == {"lpips_alex", "lpips_vgg"}
    console = Console(record=True, width=120, file=io.StringIO())
    print_records(records, console)
    text = console.export_text()
    assert "n/a" in text and "download.pytorch.org" in text
    assert "tracked-v1" in text and "rasterised-v1" in text and "· mouth" in text
    assert f"{records[0]['metrics']['overall']['psnr']:.2f}" in text


def test_the_same_checkpoint_scores_the_same_again(scored: tuple[Path, list[dict]], tmp_path: Path) -> None:
    folder, records = scored
    again = score(
        folder / "model.ckpt", pillow.prepared(), ["tracked-v1"], tmp_path, batch_size=5, device="cpu", quiet=True
    )
    assert again[0]["metrics"] == records[0]["metrics"]
    assert again[0]["predictions_sha256"] == records[0]["predictions_sha256"]


def test_trained_colours_change_the_numbers(scored: tuple[Path, list[dict]], tmp_path: Path) -> None:
    folder, _ = scored
    content = torch.load(folder / "model.ckpt", weights_only=True)
    content["state_dict"]["model.surface.texture"] *= 0
    torch.save(content, tmp_path / "black.ckpt")
    black = score(tmp_path / "black.ckpt", protocols=["tracked-v1"], out=tmp_path / "out", device="cpu", quiet=True)[0]
    target = pillow.truth(pillow.prepared())
    foreground = torch.cat([pillow.prepared().read(s).view.foreground for s in pillow.prepared().splits["test"]])
    expected = (255**2 * target.double() ** 2).sum() / (3 * foreground.sum())
    assert black["metrics"]["overall"]["mse_pooled"] == pytest.approx(expected.item(), rel=1e-6)
    assert black["metrics"]["regions"]["eyes"]["spread"]["ratio"] == 0


def test_mistakes_are_named_before_rendering(scored: tuple[Path, list[dict]], tmp_path: Path) -> None:
    path = scored[0] / "model.ckpt"
    with pytest.raises(ConfigError, match="tracked-v1"):
        score(path, protocols=["tracked-v2"], quiet=True)
    with pytest.raises(ConfigError, match="no checkpoint"):
        score(tmp_path / "absent", quiet=True)
    other = pillow.prepared()
    other.summary.vertex_mean = other.summary.vertex_mean[:-1]
    with pytest.raises(DataError, match="same topology"):
        score(path, other, out=tmp_path, quiet=True)
    with pytest.raises(DataError, match="no pictures"):
        score(path, {"pictures": False}, out=tmp_path, device="cpu", quiet=True)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA"):
            score(path, device="cuda", quiet=True)
