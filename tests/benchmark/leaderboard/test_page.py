"""The page: complete in itself, safe whatever records hold, with columns that sort in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from benchmark_record import scored_run
from PIL import Image

from avatarzoo.benchmark.leaderboard.curve import curves, draw_curves
from avatarzoo.benchmark.leaderboard.make import leaderboard
from avatarzoo.benchmark.leaderboard.page import page
from avatarzoo.benchmark.leaderboard.rows import Failure, Group, group_entries, read_entries
from avatarzoo.benchmark.leaderboard.strips import HEIGHT, row_strip, truth_strip

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


def groups(folder: Path) -> list[Group]:
    scored_run(folder / "a", "wave", 0, 10.0)
    scored_run(folder / "b", "wave", 1, 14.0)
    scored_run(folder / "c", "surf", 0, 9.0, parameters={"total": 1000})
    scored_run(folder / "d", "pica_full", 0, 110.0, parameters={"total": 20})
    return group_entries(read_entries([folder])[0])


class Tags(HTMLParser):
    """Collect tags with attributes, and check that they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    text = page(groups(tmp_path), [Failure("dam", 0, "no memory")], note="Head by somebody")
    tags = Tags(text).found
    pictures = [attributes["src"] or "" for tag, attributes in tags if tag == "img"]
    assert len(pictures) == 2 * (1 + 3 + 1) and all(src.startswith("data:image/") for src in pictures)
    assert not [tag for tag, attributes in tags if tag == "link" or ("src" in attributes and tag == "script")]
    assert "dam, seed 0: no memory" in text and "Head by somebody" in text and "n/a: no weights" in text
    assert text.count("<tr>") == 2 * (1 + 3)


def test_pictures_stand_beneath_the_table_with_a_legend_of_their_colours(tmp_path: Path) -> None:
    found = groups(tmp_path)[:1]
    shutil.rmtree(tmp_path / "c" / "predictions")
    text = page(found)
    table, _, gallery = text.partition("</table>")
    captions = re.findall(r"<figcaption>(.*?)</figcaption><img", gallery)
    assert captions == ["what the cameras saw", "wave", "pica_full"] and "<img" not in table
    assert "white from 64 of 255" in gallery and "not beside the records of surf" in gallery
    shutil.rmtree(tmp_path)
    assert "white from" not in page(found)


def test_what_a_record_says_stays_text(tmp_path: Path) -> None:
    scored_run(tmp_path, '<img src=x onerror="alert(1)">$body')
    text = page(group_entries(read_entries([tmp_path])[0]), [Failure("<b>", 0, "<i>")], note="<script>")
    assert "<img src=x" not in text and "<b>" not in text and "<i>" not in text
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;$body" in text
    Tags(text)


def test_strips_hold_the_pictures_of_the_middle_expression_and_their_errors(tmp_path: Path) -> None:
    group = groups(tmp_path)[0]
    truth = truth_strip(group)
    assert truth is not None and truth.shape == (HEIGHT, 2 * round(30 * HEIGHT / 40), 3)
    strip = row_strip(group.rows[0], group)
    assert strip is not None and strip.shape == (2 * HEIGHT, truth.shape[1], 3)
    assert tuple(strip[0, 0]) == (100, 50, 50) and tuple(truth[0, 0]) == (120, 60, 50)
    assert row_strip(group.rows[0]).shape == truth.shape  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "c" / "predictions")
    assert row_strip(next(r for r in group.rows if r.label == "surf"), group) is None


def test_heat_is_black_where_a_pixel_does_not_count(tmp_path: Path) -> None:
    group = groups(tmp_path)[0]
    row = next(r for r in group.rows if r.label == "pica_full")
    whole = row_strip(row, group)
    assert whole is not None and whole[HEIGHT:].any(axis=2).all()
    for camera in ("c1", "c2"):
        mask = np.zeros((40, 30), np.uint8)
        mask[:20] = 255
        path = tmp_path / "d" / "counted" / group.protocol / "S" / camera / "001.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(mask).save(path)
    half = row_strip(row, group)
    assert half is not None and np.array_equal(half[: 3 * HEIGHT // 2], whole[: 3 * HEIGHT // 2])
    assert not half[3 * HEIGHT // 2 :].any()


def test_truths_of_older_versions_are_taken_where_the_protocol_compares_with_what_the_camera_saw(tmp_path: Path) -> None:
    scored_run(tmp_path / "a")
    for camera in ("c1", "c2"):
        (tmp_path / "a" / "truth" / "S" / camera).mkdir(parents=True)
        shutil.move(tmp_path / "a/truth/tracked-v1/S" / camera / "001.png", tmp_path / "a/truth/S" / camera / "001.png")
    tracked, rasterised = group_entries(read_entries([tmp_path / "a"])[0])
    assert truth_strip(tracked) is not None
    assert truth_strip(replace(rasterised, protocol="portrait-v1")) is None


def test_curves_are_sorted_by_the_full_model_and_shared_by_all(tmp_path: Path) -> None:
    group = groups(tmp_path)[0]
    names, by_row = curves(group)
    assert names == ["S/001", "S/002", "S/000"]
    assert by_row["pica_full"] == [114.0, 112.0, 110.0] and by_row["wave"] == [16.0, 14.0, 12.0]  # mean of the seeds
    drawn = draw_curves(group)
    assert drawn is not None
    colours = {tuple(pixel) for pixel in np.asarray(drawn).reshape(-1, 3)}
    assert len(colours) > 50 and (31, 119, 180) in colours  # the first curve's colour
    group.rows[0].first["metrics"]["frames"].clear()
    assert draw_curves(replace(group, rows=group.rows[:1])) is None


def test_the_command_writes_all_files(tmp_path: Path) -> None:
    groups(tmp_path / "runs")
    out = leaderboard([tmp_path / "runs"])
    assert out == tmp_path / "runs" / "leaderboard"
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        *("curve_1_c_tracked_v1_pictures.png", "curve_2_c_rasterised_v1_pictures.png"),
        *("leaderboard.csv", "leaderboard.html", "leaderboard.md"),
    ]
    assert Image.open(out / names[0]).size[0] > 300
    again = leaderboard([tmp_path / "runs"])  # its own files are no records
    assert (again / "leaderboard.md").read_text().count("| wave ") == 2


def test_a_click_on_a_head_sorts_in_a_browser(tmp_path: Path) -> None:
    browser = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
    if browser is None:
        pytest.skip("needs Chromium to click on the page")
    text = page(groups(tmp_path)[:1], [])
    plan = [("PSNR", 1), ("PSNR", 2), ("MSE", 1), ("parameters", 1), ("row", 1), ("LPIPS-a", 1)]
    script = """<script>
const order = () => [...document.querySelectorAll("tbody tr")].map(row => row.cells[0].dataset.value).join(" ");
const button = name => [...document.querySelectorAll("th button")].find(b => b.textContent === name);
const found = PLAN.map(([name, times]) => {
  document.querySelectorAll("th").forEach(head => head.removeAttribute("aria-sort"));
  for (let i = 0; i < times; i++) button(name).click();
  return order();
});
document.body.dataset.found = found.join(";");
document.body.dataset.fits = [...document.querySelectorAll(".more")].map(hint => hint.hidden).join(" ");
</script></body>""".replace("PLAN", str([list(step) for step in plan]).replace("'", '"'))
    (tmp_path / "page.html").write_text(text.replace("</body>", script), encoding="utf-8")
    command = [
        browser,
        *FLAGS,
        "--window-size=700,800",
        f"--user-data-dir={tmp_path / 'browser'}",
        "--dump-dom",
        (tmp_path / "page.html").as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=180).stdout
    found = (re.search(r'data-found="([^"]*)"', dom) or pytest.fail(f"the script did not run: {dom[-500:]}"))[1].split(";")
    by_psnr = "surf wave pica_full"
    assert found[0] == by_psnr and found[1] == "pica_full wave surf"  # high is best first, then the other way round
    assert found[2] == by_psnr  # low errors first
    assert found[3] == "wave pica_full surf"  # 3, 20, 1000 as numbers, not as text
    assert found[4] == "pica_full surf wave"
    assert 'data-fits="false"' in dom  # 700 pixels: the table scrolls, and says so
    assert sorted(found[5].split()) == sorted(by_psnr.split())  # nobody has the number: nothing is lost
