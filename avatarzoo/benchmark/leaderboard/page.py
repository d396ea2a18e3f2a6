"""The leaderboard as one HTML page that needs nothing but itself: pictures inside, columns that sort."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from avatarzoo.benchmark.leaderboard.columns import Column, Speeds, best, columns
from avatarzoo.benchmark.leaderboard.curve import draw_curves
from avatarzoo.benchmark.leaderboard.floor import SIGN, floor_line, floor_of, is_below
from avatarzoo.benchmark.leaderboard.published import published_for
from avatarzoo.benchmark.leaderboard.rows import Failure, Group, Row
from avatarzoo.benchmark.leaderboard.strips import row_strip, truth_strip
from avatarzoo.benchmark.leaderboard.text import failures_in_words, missing
from avatarzoo.pictures import ERROR_GAIN

TEMPLATE = Path(__file__).with_name("page.html")
#: From this mean difference of the colours on heat ends.
WHITE = math.ceil(255 / ERROR_GAIN)
ERRORS = (
    f"Below each picture its error: white from {WHITE} of 255, black is equal (mean absolute difference over channels) "
    "or a pixel that does not count."
)
WIDER = '<p class="note more" hidden>The table is wider than the window: scroll it sideways &rarr;</p>'


def page(
    groups: Sequence[Group], failures: Sequence[Failure] = (), speeds: Speeds | None = None, note: str | None = None
) -> str:
    """Write groups as a page.

    Args:
        groups: of rows.
        failures: runs that could not be made.
        speeds: measured by bench-speed.
        note: shown on top, e.g. whom the capture is owed to.

    Returns:
        HTML.
    """
    parts = [f"<p>{escape(note)}</p>"] if note else []
    parts += [_section(group, groups, speeds) for group in groups]
    parts += [f'<p class="note">n/a: {escape(" ".join(missing(groups)))}</p>'] if missing(groups) else []
    if failures:
        items = "".join(f"<li>{escape(words)}</li>" for words in failures_in_words(failures))
        parts.append(f'<h2>Failed</h2><ul class="failed">{items}</ul>')
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(body="\n".join(parts))


def _section(group: Group, groups: Sequence[Group], speeds: Speeds | None) -> str:
    heads = columns(group, speeds)
    winners = {c.head: best(c, group.rows) for c in heads}
    truth = truth_strip(group)
    floor = floor_of(group, groups)
    rows = "\n".join(_row(row, heads, winners, is_below(row, floor)) for row in group.rows)
    titles = ['<th data-text="1"><button>row</button></th>']
    titles += [
        f'<th title="{escape(c.help)}" data-better="{c.better}"><button>{escape(c.head)}</button></th>' for c in heads
    ]
    notes = [
        f"{group.images} pictures of {group.size[0]} x {group.size[1]}, split {escape(group.split)}. "
        "± is the sample standard deviation over seeds; green is the best of its column; a click on a head sorts."
    ]
    known = published_for(group)
    if known:
        notes.append(escape(f"Published: {known.source}. Its subjects are others; compare the relative columns."))
    drawn = draw_curves(group)
    curve = f"<p>{picture(np.asarray(drawn), 'curve', 'PNG')}</p>" if drawn is not None else ""
    under = f'<p class="note floor">{escape(floor_line(group, groups))}</p>' if floor else ""
    told = "".join(f'<p class="note">{text}</p>' for text in notes)
    table = f"<table><thead><tr>{''.join(titles)}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
    below = f"{WIDER}{under}{_gallery(group, truth)}{curve}"
    return f'<h2>{escape(group.title)}</h2>{told}\n<div class="wide">{table}</div>{below}'


def _gallery(group: Group, truth: np.ndarray | None) -> str:
    """Lay out what the cameras saw and what each row renders of it, beneath the table so that its numbers stay together."""
    shown = [] if truth is None else [(picture(truth), "what the cameras saw")]
    strips = [(row.label, row_strip(row, group)) for row in group.rows]
    shown += [(picture(strip), label) for label, strip in strips if strip is not None]
    absent = ", ".join(label for label, strip in strips if strip is None)
    figures = "".join(f"<figure><figcaption>{escape(words)}</figcaption>{image}</figure>" for image, words in shown)
    legend = ERRORS if truth is not None and len(shown) > 1 else ""
    told = [text for text in (legend, f"Pictures are not beside the records of {absent}." if absent else "") if text]
    notes = f'<p class="note">{escape(" ".join(told))}</p>' if told else ""
    return notes + (f'<div class="gallery">{figures}</div>' if figures else "")


def _row(row: Row, heads: Sequence[Column], winners: dict[str, Row | None], below: bool) -> str:
    sign = f' <span class="below" title="below the floor">{SIGN}</span>' if below else ""
    seeds = f"seed {', '.join(map(str, row.seeds))}"
    cells = [f'<td data-value="{escape(row.label)}">{escape(row.label)}{sign}<br><small>{seeds}</small></td>']
    for column in heads:
        value = column.value(row)
        if value is None:
            cells.append(f'<td class="none">{column.absent}</td>')
            continue
        text, _, spread = column.text(row).partition(" ± ")
        name = ' class="best"' if winners[column.head] is row else ""
        beneath = f"<br><small>± {escape(spread)}</small>" if spread else ""
        cells.append(f'<td{name} data-value="{value.mean!r}">{escape(text)}{beneath}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def picture(array: np.ndarray, name: str = "strip", kind: str = "JPEG") -> str:
    """Return an img element that holds its picture.

    Args:
        array: H,W,3 uint8.
        name: of its class.
        kind: "JPEG" or "PNG".
    """
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **({"quality": 88} if kind == "JPEG" else {"optimize": True}))
    data = base64.b64encode(file.getvalue()).decode()
    height, width = array.shape[:2]
    source = f"data:image/{kind.lower()};base64,{data}"
    return f'<img class="{name}" alt="{name}" width="{width}" height="{height}" src="{source}">'
