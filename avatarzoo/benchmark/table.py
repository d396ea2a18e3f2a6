"""Records as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

COLUMNS = ("psnr", "psnr_pooled", "mse", "ssim", "lpips_alex", "lpips_vgg", "coverage")
HEADS = ("PSNR", "pooled", "MSE", "SSIM", "LPIPS-a", "LPIPS-v", "cover%")


def rows_of(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what a table shows of a record: overall, views, segments when there are several, regions."""
    metrics = record["metrics"]
    yield "overall", metrics["overall"]
    for name, values in metrics["views"].items():
        yield name, values
    if len(metrics["segments"]) > 1:
        yield from metrics["segments"].items()
    for name, values in metrics["regions"].items():
        yield f"· {name}", values


def cell(key: str, values: Mapping[str, Any]) -> str:
    """Return one number as text: "-" where the row has no such number, "n/a" where it could not be computed."""
    if key not in values:
        return "-"
    value = values[key]
    if value is None:
        return "n/a"
    if key == "coverage":
        return f"{100 * value:.2f}"
    return f"{value:.4f}" if key in ("ssim", "lpips_alex", "lpips_vgg") else f"{value:.2f}"


def record_table(record: Mapping[str, Any]) -> Table:
    """Lay one record out.

    Args:
        record: one record.
    """
    data = record["data"]
    title = f"{record['recipe']} on {data['capture']} ({', '.join(data['segments'])}), {record['protocol']['id']}"
    height, width = data["picture_size"]
    caption = f"sees: {record['test_inputs']}; {data['images']} pictures of {height} x {width}"
    for name, values in record["metrics"]["regions"].items():
        spread = values.get("spread")
        if spread and spread["ratio"] is not None:
            caption += f"; R-B spread of {name} {100 * spread['ratio']:.0f} % of the truth's"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for head in HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for name, values in rows_of(record):
        table.add_row(name, *(cell(key, values) for key in COLUMNS))
    return table


def print_records(records: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print tables, and why numbers are missing.

    Args:
        records: as written.
        console: defaults to the terminal.
    """
    console = console or Console()
    for record in records:
        console.print(record_table(record))
    for reason in sorted({why for record in records for why in record["missing"].values()}):
        console.print(f"n/a: {reason}", style="yellow", highlight=False)
