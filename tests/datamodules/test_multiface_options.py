"""Options of the Multiface reader: segments, cameras, frames, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_capture import build, prepared

from avatarzoo.errors import ConfigError, DataError


def test_val_is_carved_from_train_and_out_of_the_statistics(root: Path) -> None:
    capture = prepared(root, val_fraction=0.34)
    assert capture.inventory.frames["val"] == [("E001", "000011")]
    assert {(s.segment, s.frame) for s in capture.splits["train"]} == {("E001", "000010"), ("E002", "000020")}
    np.testing.assert_allclose(capture.summary.vertex_mean[:, 2], np.full(16, 0.1), atol=1e-6)


def test_choices_of_segments_cameras_and_frames(root: Path) -> None:
    capture = build(root, train_segments=["E003"], test_cameras=["400005"], cameras=["400002"], views={"Side": "400005"})
    assert {s.segment for s in capture.splits["train"]} == {"E003"}
    assert {(s.segment, s.camera) for s in capture.splits["test"]} == {("E001", "400005"), ("E002", "400005")}
    assert capture.views == {"Side": "400005"}
    capture.prepare()
    assert capture.summary.cameras.names == ["400002", "400005"] and capture.summary.train_cameras == ["400002"]
    assert len(build(root, max_frames=1).splits["train"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ["400003"]}, "data.cameras names camera '400003'.*Did you mean '40000.*Cameras: 400002, 400005"),
        (
            {"test_segments": ["E03"]},
            "names segment 'E03', which has no frame.*Did you mean 'E003'.*Segments: E001, E002, E003",
        ),
        ({"train_segments": ["E001"], "test_segments": ["E001"]}, "'E001' in train and in test"),
        ({"train_segments": []}, "leaves no segment to train on"),
        ({"views": {"Front": "400009"}}, "data.views gives view 'Front' camera '400009'"),
        ({"on_bad_frame": "ignore"}, "expected 'error' or 'skip'"),
        ({"val_fraction": 0.9}, "data.val_fraction is 0.9"),
        ({"image_height": 0}, "data.image_height is 0"),
        ({"memory_mb": -1}, "data.memory_mb is -1"),
        ({"cameras": []}, "data.cameras is empty"),
    ],
)
def test_options_that_name_what_is_not_there(root: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(root, **options)


def test_enlarging_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="image_height is 41, but the capture's pictures are 32x40"):
        prepared(root, image_height=41)


def test_a_missing_root_suggests_its_neighbour(root: Path) -> None:
    with pytest.raises(DataError, match=r"There is no folder .*plat.*Did you mean '/.*/plate'"):
        build(root.with_name("plat"))


def test_a_folder_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"lacks KRT .*It holds: photos"):
        build(tmp_path)
