"""The recipes of the paper's Tables 1 and 2, and the hash grid's: what each changes, and that each trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avatarzoo import config
from avatarzoo.build import build_model
from avatarzoo.fit import fit
from avatarzoo.models.base import parameter_counts

#: recipe -> parameters of the pixel SIREN (published, or by the same rule), of the encoding at scale=paper and small
COUNTS = {
    "pica_full": (307, 4_234_304, 272_144),
    "pica_no_uv": (243, 0, 0),
    "pica_uv_nope": (259, 0, 0),
    "pica_nerf_pe": (563, 0, 0),
    "pica_2d_pe": (275, 4_194_304, 262_144),
    "pica_1d_pe": (275, 40_000, 10_000),
    "pica_coarse": (307, 4_234_304, 272_144),
    "pica_hash": (499, 3_727_968, 228_240),
}
CHANGED = {"pica_coarse": "model"}  # the others change the encoding


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that leave two small cameras and frames of the synthetic head."""
    said = {"image_height": 48, "cameras": 2, "train_frames": 2, "test_frames": 1, "val_fraction": 0.0}
    return [
        "scale=small",
        f"data.cache_dir={tmp_path_factory.mktemp('cache')}",
        *(f"data.{k}={v}" for k, v in said.items()),
    ]


@pytest.mark.parametrize("scale", config.SCALES)
@pytest.mark.parametrize("recipe", COUNTS)
def test_the_recipe_builds_with_its_counts(recipe: str, scale: str) -> None:
    model = build_model(config.load(recipe, [f"scale={scale}"]).resolved)
    siren, paper, small = COUNTS[recipe]
    assert sum(p.numel() for p in model.pixel_decoder.pixel.parameters()) == siren
    width = 4 + 4 + model.encoding.out_dim
    assert siren == (width * 8 + 8) + 2 * (8 * 8 + 8) + (8 * 3 + 3)
    assert parameter_counts(model)["encoding"] == (paper if scale == "paper" else small)


@pytest.mark.parametrize("scale", config.SCALES)
@pytest.mark.parametrize("recipe", [name for name in COUNTS if name != "pica_full"])
def test_a_variant_differs_from_pica_full_in_one_part_alone(recipe: str, scale: str) -> None:
    full, variant = (dict(config.load(name, [f"scale={scale}"]).resolved) for name in ("pica_full", recipe))
    changed = CHANGED.get(recipe, "encoding")
    assert variant[changed] != full[changed]
    for node in (full, variant):
        del node[changed], node["recipe"]
    assert variant == full


@pytest.mark.parametrize("recipe", COUNTS)
def test_a_step_trains_it(recipe: str, tiny: list[str], tmp_path: Path) -> None:
    said = [*tiny, "loader.batch_size=1", "trainer.accelerator=cpu", "pictures.every=0", "trainer.max_steps=2"]
    run = fit(config.load(recipe, [*said, f"out={tmp_path / 'run'}"]).resolved)
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    (optimizer,) = state["optimizer_states"]
    assert optimizer["state"]
    for parameter in optimizer["state"].values():
        assert parameter["step"] == 2
        assert parameter["exp_avg"].isfinite().all() and parameter["exp_avg"].any()
    drawn, tracked = len(state["state_dict"]["model.mesh.mean_mesh"]), len(state["avatarzoo"]["summary"]["vertex_mean"])
    assert (drawn == tracked) if recipe == "pica_coarse" else (drawn > 2 * tracked)
