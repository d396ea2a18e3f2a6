"""The untrained mean texture as a run of its own: trainer.max_steps=0, or model.train=false."""

from pathlib import Path

import pillow_capture as pillow
import pytest
import torch

from avatarzoo import checkpoint
from avatarzoo.fit import fit


@pytest.mark.parametrize(("train", "steps"), [(True, 0), (False, 2)])
def test_the_mean_texture_is_saved_as_it_is(tmp_path: Path, train: bool, steps: int) -> None:
    config = {
        **pillow.CONFIG,
        "model": {"name": "static_texture", "train": train},
        "loader": {"batch_size": 2, "workers": 0},
        "phases": {"fit": {"loss": {"image": {"weight": 1}}, "optimizer": {"name": "adam", "lr": 0.1}}},
        "trainer": {"max_steps": steps, "max_time": None, "accelerator": "cpu"},
        "pictures": {"every": 0},
        "checkpoint": {"every": 0},
        "logger": "csv",
        "out": str(tmp_path / "run"),
    }
    loaded = checkpoint.load(fit(config))
    assert loaded.iteration == steps
    assert torch.equal(loaded.model.surface.texture, pillow.fixtures.summary().texture_mean)
