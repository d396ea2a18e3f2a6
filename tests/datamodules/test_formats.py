"""Text and binary files of the Multiface layout."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from avatarzoo.datamodules import formats
from avatarzoo.errors import DataError

BLOCK = "{}\n1480 0 161.5\n0 1480 251.5\n0 0 1\n0 0 0 0 0\n1 0 0 0\n0 -1 0 -13.03\n0 0 -1 1019.34\n"


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n \n"])
def test_krt_reads_with_any_line_ends_and_without_the_last(tmp_path: Path, end: str, last: str) -> None:
    text = (BLOCK.format("400002") + "\n" + BLOCK.format("400005").rstrip("\n") + last).replace("\n", end)
    cameras = formats.read_krt(write(tmp_path / "KRT", text))
    assert [c.name for c in cameras] == ["400002", "400005"]
    np.testing.assert_array_equal(cameras[1].K, [[1480, 0, 161.5], [0, 1480, 251.5], [0, 0, 1]])
    np.testing.assert_array_equal(cameras[1].R, np.diag([1, -1, -1]))
    np.testing.assert_array_equal(cameras[1].t, [0, -13.03, 1019.34])


def test_krt_takes_blocks_apart_without_blank_lines(tmp_path: Path) -> None:
    cameras = formats.read_krt(write(tmp_path / "KRT", BLOCK.format("a") + BLOCK.format("b")))
    assert [c.name for c in cameras] == ["a", "b"]


def test_krt_warns_of_distortion_it_ignores(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = BLOCK.format("a").replace("0 0 0 0 0", "0.1 0 0 0 0")
    with caplog.at_level(logging.WARNING):
        camera = formats.read_krt(write(tmp_path / "KRT", text))[0]
    assert camera.distortion == (0.1, 0, 0, 0, 0) and "must be undistorted" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.replace("0 0 1\n", "", 1), r"line 4, camera 'a'.*a row of K \(3 numbers\), got 5"),
        (lambda s: s.replace("161.5", "161.5 3"), r"line 2.*got 4"),
        (lambda s: s.replace("161.5", "nan"), r"'nan' is not a finite number"),
        (lambda s: s.replace("161.5", "1e999"), r"'1e999' is not a finite number"),
        (lambda s: s.replace("161.5", "1_0"), r"'1_0' is not a finite number"),
        (lambda s: s.replace("0 0 -1 1019.34\n", ""), r"camera 'a' has 6 rows, expected 7"),
        (lambda s: "extra words here\n" + s, r"line 1: expected a camera's name, got 'extra words here'"),
        (lambda s: s + "\n" + s, r"line 10, camera 'a': it appears twice"),
        (lambda s: s.replace("0 -1 0 -13", "0 1 0 -13"), r"a reflection"),
        (lambda s: s.replace("0 -1 0 -13", "0 -1 0.1 -13"), r"off by 0.1 from a rotation"),
        (lambda s: s.replace("1480 0 161.5", "-1480 0 161.5"), r"fx, fy > 0"),
        (lambda s: s.replace("0 0 1\n", "0 0 2\n", 1), r"K must be"),
        (lambda s: s.replace("1019.34", "1e7"), r"over 100 m; it is read as mm"),
        (lambda s: "\n \n", r"names no camera"),
    ],
)
def test_krt_says_what_is_wrong_and_where(tmp_path: Path, change, message: str) -> None:
    path = write(tmp_path / "KRT", change(BLOCK.format("a")))
    with pytest.raises(DataError, match=message) as caught:
        formats.read_krt(path)
    assert str(path) in str(caught.value)


def test_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "KRT").write_bytes(b"\xff\xfe\x00abc")
    with pytest.raises(DataError, match="KRT is not text"):
        formats.read_krt(tmp_path / "KRT")
    (tmp_path / "KRT").write_bytes(b"4000\x0002\n")
    with pytest.raises(DataError, match="zero bytes"):
        formats.read_krt(tmp_path / "KRT")
    with pytest.raises(DataError, match="cannot be read"):
        formats.read_krt(tmp_path / "absent")


def test_transform_of_a_turned_head_moves_points_as_written(tmp_path: Path) -> None:
    """The layout's fixture: a yaw of 30 degrees and a shift, face-centric -> world."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    pose = formats.read_transform(write(tmp_path / "t.txt", f"{c} 0 {s} 10\r\n0 1 0 0\r\n{-s} 0 {c} 5"))
    np.testing.assert_allclose(pose @ [0, 0, 100, 1], [10 + 50, 0, 5 + 50 * np.sqrt(3)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 0 0\n0 1 0 0\n", "expected 3 rows of 4 numbers .* got 2 rows"),
        ("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "got 4 rows"),
        ("1 0 0\n0 1 0\n0 0 1\n", r"line 1: expected a row of the head pose \(4 numbers\), got 3"),
        ("1 0 0 0\n0 1 0 inf\n0 0 1 0\n", "line 2: .*'inf' is not a finite number"),
        ("2 0 0 0\n0 1 0 0\n0 0 1 0\n", "off by 3 from a rotation"),
        ("", "got 0 rows"),
    ],
)
def test_transform_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        formats.read_transform(write(tmp_path / "t.txt", text))


def test_vertices_are_little_endian_float32_triples(tmp_path: Path) -> None:
    points = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
    path = tmp_path / "v.bin"
    path.write_bytes(points.astype("<f4").tobytes())
    np.testing.assert_array_equal(formats.read_vertices(path, 4), points)
    np.testing.assert_array_equal(formats.read_vertices(path, None), points)
    with pytest.raises(DataError, match=r"has 48 bytes, expected 60 \(5 vertices of 3 float32\)"):
        formats.read_vertices(path, 5)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="has 47 bytes, expected 36"):
        formats.read_vertices(path, None)
    with pytest.raises(DataError, match=r"no.bin cannot be read"):
        formats.read_vertices(tmp_path / "no.bin", 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -2e4])
def test_vertices_that_are_no_mm_of_a_head(tmp_path: Path, value: float) -> None:
    points = np.zeros((4, 3), "<f4")
    points[2, 1] = value
    points.tofile(tmp_path / "v.bin")
    with pytest.raises(DataError, match=r"vertex 2 is .* expected finite face-centric mm"):
        formats.read_vertices(tmp_path / "v.bin", 4)


def test_frame_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "frame_list.txt", "E001 000135\r\n\nE001\t000411\nE001 000135\nE002 7")
    with caplog.at_level(logging.WARNING):
        assert formats.read_frame_list(path) == [("E001", "000135"), ("E001", "000411"), ("E002", "7")]
    assert "line 4: E001/000135 was already named in line 1" in caplog.text
    for text, message in (
        ("E001\n", "line 1: expected a segment and a frame, got 'E001'"),
        ("E001 1 2\n", "line 1"),
        ("\n", "names no frame"),
        ("../E001 000135\n", "is not a name of a segment or frame"),
        (".. 000135\n", "is not a name"),
    ):
        with pytest.raises(DataError, match=message):
            formats.read_frame_list(write(path, text))


def test_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "split.json", '{"train": ["a", "b", "a"], "test": ["c"]}')
    with caplog.at_level(logging.WARNING):
        assert formats.read_split(path) == {"train": ["a", "b"], "test": ["c"]}
    assert "named twice" in caplog.text
    for text, message in (
        ('{"train": ["a"], "test": ["a"]}', "'a' is in train and in test"),
        ('{"train": ["a"]}', '"test": a list of segment names'),
        ('{"train": [1], "test": []}', '"train": a list'),
        ("[1, 2]", "expected a JSON object, got list"),
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
    ):
        with pytest.raises(DataError, match=message):
            formats.read_split(write(path, text))


def test_views(tmp_path: Path) -> None:
    assert formats.read_views(write(tmp_path / "v.json", '{"Front": "400002"}')) == {"Front": "400002"}
    with pytest.raises(DataError, match="expected a camera's name per view"):
        formats.read_views(write(tmp_path / "v.json", '{"Front": 400002}'))
