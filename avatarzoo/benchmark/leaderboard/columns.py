"""The columns of a leaderboard, the same for Markdown, CSV, the page and Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from avatarzoo.benchmark.leaderboard.own import own_recipe
from avatarzoo.benchmark.leaderboard.published import Published, mean_over_views, published_for
from avatarzoo.benchmark.leaderboard.rows import Group, Row, Value

#: Milliseconds by recipe, scale and column, from files that ``avatarzoo bench-speed`` writes.
Speeds = Mapping[tuple[str, str], Mapping[str, float]]
WALL = "wall time of rendering while it was scored, whatever else the machine did; bench-speed compares"


@dataclass(frozen=True)
class Column:
    """One number per row.

    Attributes:
        head: what stands above it.
        value: of a row; None where it does not exist.
        digits: after the point.
        better: "low", "high" or "": which end is best.
        help: what it is, in a sentence.
        percent: shown times 100 with a sign.
        absent: stands where a row has no such number.
    """

    head: str
    value: Callable[[Row], Value | None]
    digits: int = 2
    better: str = ""
    help: str = ""
    percent: bool = False
    absent: str = "n/a"

    def text(self, row: Row) -> str:
        """Return a row's number as text with its spread; ``absent`` where it does not exist.

        Args:
            row: of the leaderboard.
        """
        value = self.value(row)
        if value is None:
            return self.absent
        scale = 100 if self.percent else 1
        sign = "+" if self.percent or self.head == "difference" else ""
        text = f"{scale * value.mean:{sign},.{self.digits}f}" + ("%" if self.percent else "")
        spread = f" ± {scale * value.spread:,.{self.digits}f}" if value.spread is not None else ""
        return text + spread


def at(*path: str) -> Callable[[Row], Value | None]:
    """Return a function that reads a number of the records."""
    return lambda row: row.value(*path)


def fixed(number: float | None) -> Value | None:
    """Return a number that does not depend on seeds."""
    return None if number is None else Value(float(number), None, 1)


def columns(group: Group, speeds: Speeds | None = None) -> list[Column]:
    """Return the columns of a group.

    Args:
        group: its rows.
        speeds: measured by bench-speed.
    """
    overall = ("metrics", "overall")
    found = [
        Column("PSNR", at(*overall, "psnr"), 2, "high", "dB, mean over pictures"),
        Column("MSE", at(*overall, "mse"), 2, "low", "on 0..255, mean over pictures"),
        Column("SSIM", at(*overall, "ssim"), 4, "high", "windows inside the counted pixels"),
        Column("LPIPS-a", at(*overall, "lpips_alex"), 4, "low", "AlexNet"),
        Column("LPIPS-v", at(*overall, "lpips_vgg"), 4, "low", "VGG"),
    ]
    found += [Column(f"{v} MSE", at("metrics", "views", v, "mse"), 2, "low", f"MSE of the view {v}") for v in group.views]
    table = published_for(group)
    found += _beside(group, table) if table else []
    found += [
        Column("coverage", at(*overall, "coverage"), 4, "", "share of the counted pixels that the model covers"),
        Column("steps", at("iteration"), 0, "", "of training"),
        Column("parameters", lambda row: fixed(row.first["parameters"]["total"]), 0, "low", "of the model"),
        Column("ms / picture (wall)", at("timing", "render_ms_per_image"), 1, "", WALL),
    ]
    heads = list(dict.fromkeys(head for by_head in (speeds or {}).values() for head in by_head))
    timed = [Column(f"{h} ms", _speed(speeds or {}, h), 2, "low", f"bench-speed: {h}", absent="-") for h in heads]
    return found + [column for column in timed if any(column.value(row) for row in group.rows)]


def _speed(speeds: Speeds, head: str) -> Callable[[Row], Value | None]:
    """A timing belongs to the recipe as it stands, kernels included; a row with overrides was not timed."""
    return lambda row: fixed(speeds.get((own_recipe(row, timed=True) or "", str(row.first["scale"])), {}).get(head))


def _beside(group: Group, table: Published) -> list[Column]:
    """Published values, the difference, and both relative to the reference: subjects differ, orderings compare.

    All but our own mean stand for recipes as they are; without the reference's own row nothing is relative to it.
    """
    ours = {row.label: mean_over_views(row, table.views) for row in group.rows}
    references = [ours[row.label] for row in group.rows if own_recipe(row) == table.reference and ours[row.label]]
    reference = references[0] if references else None

    def mse(row: Row) -> Value | None:
        return fixed(ours[row.label])

    def paper(row: Row) -> Value | None:
        own = own_recipe(row)
        return fixed(table.mse(own)) if own in table.rows else None

    def difference(row: Row) -> Value | None:
        here, there = ours[row.label], paper(row)
        return None if here is None or there is None else fixed(here - there.mean)

    def relative(row: Row) -> Value | None:
        here = ours[row.label]
        return None if here is None or reference is None else fixed(here / reference - 1)

    def paper_relative(row: Row) -> Value | None:
        own = own_recipe(row)
        return fixed(table.relative(own)) if own in table.rows else None

    name, source = table.reference, table.source
    about = f"MSE, mean over subjects and views: {source}. Other subjects than here; - for rows that change the recipe"
    return [
        Column("mean view MSE", mse, 2, "low", "MSE, mean of the views"),
        Column("published", paper, 2, "", about, absent="-"),
        Column("difference", difference, 2, "", "ours minus published", absent="-"),
        *([Column(f"vs {name}", relative, 1, "", f"our MSE over that of {name}, minus 1", True)] if reference else []),
        *([Column(f"published vs {name}", paper_relative, 1, "", f"the same in {source}", True, "-")] if reference else []),
    ]


def best(column: Column, rows: Sequence[Row]) -> Row | None:
    """Return the row that is best in a column, if that can be said.

    Args:
        column: with a better end.
        rows: to choose from.
    """
    known = [(value.mean, index) for index, row in enumerate(rows) if (value := column.value(row)) is not None]
    if not column.better or len({number for number, _ in known}) < 2:
        return None
    return rows[(min if column.better == "low" else max)(known)[1]]
