"""A record that fits the schema, and folders as scoring leaves them."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

from PIL import Image


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


VIEWS = {"Front": "c1", "Left": "c2"}


def scored_run(folder: Path, recipe: str = "wave", seed: int = 0, mse: float = 20.0, **changes: object) -> Path:
    """Write what scoring a run leaves: records under two protocols, pictures of two cameras, and what was to be seen.

    The MSE of views is the overall one plus 1 and minus 1; of three expressions plus 0, 4 and 2.
    """
    made = record()
    made |= {"recipe": recipe, "config": {"seed": seed, "recipe": recipe, "trainer": {"max_steps": 10}}, **changes}
    made["checkpoint_sha256"] = hashlib.sha256(str(folder).encode()).hexdigest()
    region = made["metrics"]["regions"]

    def values(number: float) -> dict:
        return summary() | {"mse": number, "psnr": 48.1308 - 10 * math.log10(number)}

    made["metrics"]["overall"] = values(mse)
    made["metrics"]["views"] = {v: values(mse + d) | {"regions": region} for v, d in (("Front", 1), ("Left", -1))}
    made["metrics"]["cameras"] = {VIEWS[v]: values(mse + d) for v, d in (("Front", 1), ("Left", -1))}
    made["metrics"]["frames"] = {f"S/00{f}": values(mse + d) for f, d in enumerate((0, 4, 2))}
    records = [{**made, "protocol": {**made["protocol"], "id": name}} for name in ("tracked-v1", "rasterised-v1")]
    for camera in VIEWS.values():
        truths = [(f"truth/{r['protocol']['id']}", 120) for r in records]
        for kind, level in (("predictions", 91 + int(mse)), *truths):
            path = folder / kind / "S" / camera / "001.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 40), (level, level // 2, 50)).save(path)
    (folder / "record.json").write_text(json.dumps(records))
    return folder / "record.json"
