"""The tracked mesh's depth against depth computed by intersecting rays with a plane."""

import numpy as np
import pytest
import tiny_capture as tiny

from avatarzoo import registry
from avatarzoo.datamodules.base import Sample
from avatarzoo.errors import ConfigError


def build(root, **options):
    node = {"name": "multiface", "root": str(root), "texture_size": 32, "val_fraction": 0.0}
    return registry.build("data", node | {"cache_dir": str(root.parent / "cache")} | options)


def test_a_capture_without_depth_takes_that_of_its_tracked_mesh(tmp_path):
    root = tiny.write_capture(tmp_path / "plate", depth=False)
    assert "view.depth" not in build(root).provides
    assert build(root).stand_ins == {"view.depth": "data.depth=tracked_mesh"}
    capture = build(root, depth="tracked_mesh")
    assert "view.depth" in capture.provides
    capture.prepare()
    for index, (segment, frame) in enumerate(tiny.FRAMES):
        for name, yaw in tiny.CAMERAS.items():
            found = capture.read(Sample(segment, frame, name)).view.depth[0, 0].numpy()
            K, R, t = tiny.camera(yaw)
            head = tiny.pose(index).copy()
            head[:, 3] += 0.1 * index * head[:, 2]  # the tracked plate stands a little in front of the one that is drawn
            expected = tiny.draw(K, R, t, head)[1]
            both = (found > 0) & (expected > 0)
            assert both.sum() > 300
            np.testing.assert_allclose(found[both], expected[both], atol=0.01)
            assert ((found > 0) != (expected > 0)).mean() < 0.02, "the same pixels, but for the rim"


def test_an_unknown_source_of_depth_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"data.depth is 'scan'; expected 'measured' or 'tracked_mesh'"):
        build(tiny.write_capture(tmp_path / "plate"), depth="scan")
