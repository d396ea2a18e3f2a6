"""Deep Appearance small, trained for real on a tiny synthetic capture: resumed exactly, loaded, rendered, scored."""

import torch
from whole_runs import equal, state

from avatarzoo import checkpoint, config
from avatarzoo.benchmark.score import score
from avatarzoo.fit import fit
from avatarzoo.rendering import render


def dam(folder, run, *overrides):
    """The shipped recipe at scale=small on 64-pixel pictures of two cameras, at a constant rate."""
    capture = {"image_height": 64, "cameras": 2, "train_frames": 3, "test_frames": 1, "val_fraction": 0.0}
    said = [f"data.{key}={value}" for key, value in capture.items()] + [f"data.cache_dir={folder / 'cache'}"]
    said += ["scale=small", "trainer.accelerator=cpu", "pictures.every=0", f"out={folder / run}", "loader.batch_size=2"]
    said += ["phases.fit.optimizer.decay=none", "phases.fit.optimizer.warmup=0"]
    return config.load("dam", [*said, *overrides]).resolved


def test_dam_stopped_and_resumed_equals_never_stopped_and_its_checkpoint_renders(tmp_path):
    whole = fit(dam(tmp_path, "whole", "trainer.max_steps=4"))
    half = fit(dam(tmp_path, "half", "trainer.max_steps=2"))
    fit(config.load(overrides=[f"resume={half}", "trainer.max_steps=4"]).resolved)
    a, b = state(whole), state(half)
    assert b["avatarzoo"]["iteration"] == 4
    assert equal(a["state_dict"], b["state_dict"])
    assert equal(a["optimizer_states"], b["optimizer_states"])
    loaded = checkpoint.load(whole)
    assert bool(loaded.model.colour_correction.seen.any())
    film = render(whole, out=tmp_path / "one.png", size=48, quiet=True)
    assert film.is_file()
    (record,) = score(whole, [], ["tracked-v1"], tmp_path / "score", quiet=True)
    assert record["model"] == "deep_appearance" and record["test_inputs"] == "pictures"
    assert 5 < record["metrics"]["overall"]["psnr"] < 60
    assert torch.isfinite(torch.tensor(record["metrics"]["overall"]["psnr"]))
