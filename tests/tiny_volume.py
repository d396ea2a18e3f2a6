"""A small volume on the head of ``fixtures``: what tests of hash-table blendshapes look at."""

from __future__ import annotations

import copy
from typing import Any

import fixtures as fx
import torch

from avatarzoo.batch import Driving, HeadBatch
from avatarzoo.build import build_model
from avatarzoo.models.hash_blendshapes import HashBlendshapes

CONFIG: dict[str, Any] = {
    "model": {
        "name": "hash_blendshapes", "anchors": 120, "uv_size": 16, "encoder": [4, 8], "decoder": [8, 8, 8], "clusters": 8,
        "rays": 500, "coarse": 24, "fine": 24, "reach_mm": 30.0, "surface_prior": 5.0, "step_mm": 1.0,
        "union_resolution": 48, "early_stop": 1e-4,
    },
    "encoding": {"name": "hash_grid", "levels": 2, "channels": 2, "log2_table_size": 6, "coarsest": 8, "finest": 16},
    "warp": {"name": "none"},
    "rasterizer": {"name": "warp"},
}  # fmt: skip


def build(**changes: Any) -> HashBlendshapes:
    """Build it; ``model__k=2`` sets model.k."""
    config = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        node, key = path.split("__")
        config[node][key] = value
    torch.manual_seed(0)
    model = build_model(config, fx.summary())
    with torch.no_grad():
        model.blendshapes.grid.values.normal_(0, 0.3)
    return model


def batch(pictures: bool = True) -> HeadBatch:
    """Return two pictures of two frames."""
    found = fx.batch(pictures=pictures)
    found.driving = Driving(frame=torch.tensor([0, 2]))
    return found
