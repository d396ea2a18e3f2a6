"""A record that fits the schema."""

from __future__ import annotations


def summary() -> dict:
    names = ("mse", "psnr", "mse_pooled", "psnr_pooled", "ssim")
    return {"images": 2, "pixels": 10, "coverage": 0.5, **{n: 1.0 for n in names}, "lpips_alex": None, "lpips_vgg": 0.1}


def record() -> dict:
    region = {"images": 2, "pixels": 4, "share": 0.4, "mse": 1, "psnr": 48, "mse_pooled": 1, "psnr_pooled": 48}
    return {
        "format": 1,
        "date": "2024-01-01T00:00:00+00:00",
        "protocol": {"id": "tracked-v1", "pixels_from": "somewhere"},
        "recipe": "r",
        "model": "m",
        "scale": "small",
        "iteration": 3,
        "config": {},
        "config_hash": "0123456789ab",
        "test_inputs": "pictures",
        "test_time_fitting": "none",
        "parameters": {"decoder": 3, "total": 3},
        "data": {
            "capture": "c",
            "options": {},
            "manifest_sha256": "0" * 64,
            "split": "test",
            "segments": ["S"],
            "cameras": ["a"],
            "images": 2,
            "picture_size": [4, 5],
            "skipped": [],
        },
        "checkpoint_sha256": "1" * 64,
        "predictions_sha256": "2" * 64,
        "metrics": {
            "overall": summary(),
            "regions": {"eyes": region | {"spread": {"predicted": 1, "truth": None, "ratio": None}}, "rest": region},
            "views": {"Front": summary() | {"regions": {"rest": region}}},
            "cameras": {"a": summary()},
            "segments": {"S": summary()},
            "frames": {"S/1": summary()},
        },
        "missing": {"lpips_alex": "no weights"},
        "timing": {"device": "cpu", "render_ms_per_image": 1.0, "batch_size": 1, "images": 2},
        "versions": {"avatarzoo": "0", "python": "3", "torch": "2"},
    }
