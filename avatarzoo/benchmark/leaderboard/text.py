"""Leaderboards as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from avatarzoo.benchmark.leaderboard.columns import Speeds, best, columns
from avatarzoo.benchmark.leaderboard.floor import SIGN, floor_line, floor_of, is_below, psnr
from avatarzoo.benchmark.leaderboard.published import published_for
from avatarzoo.benchmark.leaderboard.rows import Failure, Group

SPREAD_NOTE = "± is the sample standard deviation over seeds; bold is the best of its column."


def missing(groups: Sequence[Group]) -> list[str]:
    """Return why numbers are missing, each reason once.

    Args:
        groups: of rows.
    """
    rows = [row for group in groups for row in group.rows]
    return sorted({why for row in rows for entry in row.entries for why in entry.record["missing"].values()})


def failures_in_words(failures: Sequence[Failure]) -> list[str]:
    """Return one sentence per row and reason.

    Args:
        failures: runs that could not be made.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for failure in failures:
        found.setdefault((failure.row, failure.why), []).append(failure.seed)
    return [f"{row}, seed {', '.join(map(str, sorted(set(seeds))))}: {why}" for (row, why), seeds in found.items()]


def escape(text: str) -> str:
    """Keep text in its cell of a Markdown table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())


def markdown(groups: Sequence[Group], failures: Sequence[Failure] = (), speeds: Speeds | None = None) -> str:
    """Write groups as Markdown tables.

    Args:
        groups: of rows.
        failures: runs that could not be made.
        speeds: measured by bench-speed.
    """
    parts = []
    for group in groups:
        heads = columns(group, speeds)
        table = [["", *(escape(c.head) for c in heads), "seeds"]]
        winners = {c.head: best(c, group.rows) for c in heads}
        floor = floor_of(group, groups)
        for row in group.rows:
            cells = [f"**{c.text(row)}**" if winners[c.head] is row else c.text(row) for c in heads]
            label = escape(row.label) + (f" {SIGN}" if is_below(row, floor) else "")
            table.append([label, *cells, ", ".join(map(str, row.seeds))])
        lines = ["| " + " | ".join(cells) + " |" for cells in table]
        lines.insert(1, "|---|" + "---:|" * len(heads) + "---|")
        size = f"{group.images} pictures of {group.size[0]} x {group.size[1]}, split {group.split}. {SPREAD_NOTE}"
        known = published_for(group)
        told = [f"Published: {known.source}. Its subjects are others; compare the relative columns."] if known else []
        under = [f"{floor_line(group, groups)}.", ""] if floor else []
        parts.append("\n".join([f"## {escape(group.title)}", "", *lines, "", *under, size, *told]))
    parts += ["n/a: " + " ".join(missing(groups))] if missing(groups) else []
    parts += ["## Failed\n\n" + "\n".join(f"- {escape(f)}" for f in failures_in_words(failures))] if failures else []
    return "\n\n".join(parts) + "\n"


def csv_text(groups: Sequence[Group], failures: Sequence[Failure] = (), speeds: Speeds | None = None) -> str:
    """Write groups as one CSV table, with a column of means and one of spreads per number.

    Args:
        groups: of rows.
        failures: runs that could not be made; they fill the column "failed".
        speeds: measured by bench-speed.
    """
    lines: list[dict[str, object]] = []
    for group in groups:
        about = {
            "capture": group.capture,
            "protocol": group.protocol,
            "test_inputs": group.test_inputs,
            "test_time_fitting": group.fitting,
        }
        floor = floor_of(group, groups)
        for row in group.rows:
            line: dict[str, object] = {**about, "row": row.label, "recipe": row.recipe, "runs": len(row.entries)}
            line["seeds"] = " ".join(map(str, row.seeds))
            for column in columns(group, speeds):
                value = column.value(row)
                line[column.head] = "" if value is None else repr(value.mean)
                line[f"{column.head} spread"] = "" if value is None or value.spread is None else repr(value.spread)
            line["floor PSNR"] = "" if floor is None else repr(psnr(floor))
            lines.append(line)
    lines += [{"row": f.row, "seeds": f.seed, "failed": f.why} for f in failures]
    heads = list(dict.fromkeys(key for line in lines for key in line))
    file = io.StringIO()
    writer = csv.DictWriter(file, heads, restval="", lineterminator="\n")
    writer.writerow({head: guard(head) for head in heads})
    writer.writerows({key: guard(value) for key, value in line.items()} for line in lines)
    return file.getvalue()


def guard(value: object) -> object:
    """Keep a spreadsheet from reading text of a record as a formula."""
    if not isinstance(value, str) or not value.lstrip().startswith(("=", "@", "+", "-")):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value
