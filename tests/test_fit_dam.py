"""Deep Appearance small, trained for real on a tiny synthetic capture: resumed exactly, drawn, scored, in two processes."""

import torch
from toy import toys  # noqa: F401
from whole_runs import equal, launch, state

from avatarzoo import checkpoint, config
from avatarzoo.benchmark.score import score
from avatarzoo.build import build_capture
from avatarzoo.datamodules.base import SampleStream
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


def test_dam_in_two_processes_equals_one_with_twice_the_batch(tmp_path):
    """One picture per process: in a step each lacks the other's camera, whose colours it leaves to the other."""
    # a texture of 64, of whose texels a part is drawn; plain SGD: Adam's first steps take the sign of a rounding error
    size = ("data.texture_size=64", "model.texture_channels=[8,8,8]", "driver.texture_channels=[8,8,8,8]", "data.cameras=4")
    short = (*size, "trainer.max_steps=3", "phases.fit.loss.texture.texels=1000", "driver.texture_dropout=0.5")
    short += ("phases.fit.optimizer.name=sgd", "phases.fit.optimizer.lr=0.02", "phases.fit.optimizer.lr_by_part={}")
    one = fit(dam(tmp_path, "one", *short))
    launch(tmp_path, dam(tmp_path, "two", *short, "loader.batch_size=1", "trainer.devices=2"))
    a, b = state(one), state(tmp_path / "two")
    assert (a["avatarzoo"]["processes"], b["avatarzoo"]["processes"]) == (1, 2)
    samples = build_capture(checkpoint.load(one).config).splits["train"]
    streams = [SampleStream(len(samples), 1, 0, rank=rank, world=2) for rank in (0, 1)]
    first, second = ({samples[stream.at(i)[0][0]].camera for i in range(3)} for stream in streams)
    assert second - first and first - second, "each process has a camera that the other never sees"
    moved, start = 0, state(fit(dam(tmp_path, "none", *short, "trainer.max_steps=0")))["state_dict"]
    for name, value in a["state_dict"].items():
        found = b["state_dict"][name]
        if not value.is_floating_point():
            assert torch.equal(found, value), name
            continue
        step = (value - start[name]).abs()
        moved += int(step.max() > 0)
        worst = (found - value).abs().max()
        assert worst <= 1e-3 * step.max() + 1e-7, f"{name}: {float(worst):.1e} of a step of {float(step.max()):.1e}"
    assert moved > 30
    corrected = a["state_dict"]["model.colour_correction.gain"] != 1
    assert bool(corrected.any())
