"""``mlcnn count``: multiplications and additions per layer, before and after."""

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

import mlcnn
from mlcnn.cli.options import Loading, Printing, Rewriting
from mlcnn.cli.output import console, print_json, progress

if TYPE_CHECKING:
    from mlcnn.counting import CountReport, LayerCount

__all__ = ["count"]


def count(
    model: str,
    /,
    *,
    batch: int = 1,
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    printing: Printing = Printing(),
) -> None:
    """Count multiplications and additions per layer, before and after.

    Args:
        model: zoo name, .onnx or .pt2 file, or package.module:callable.
        batch: images to count for.
        loading: how to load the network.
        rewriting: which passes run.
        printing: what is printed.
    """
    with progress() as tell:
        tell("count", 0, 0)
        report = mlcnn.count(
            model,
            rewriting.options(),
            input_shape=loading.shape,
            weights=loading.weights,
            batch=batch,
        )
    if printing.json:
        print_json(report.to_json())
    else:
        console().print(_table(report))
        if report.uncounted:
            console().print(mlcnn.api.warning(mlcnn.api.uncounted_sentence(report.uncounted)))


def _cells(row: "LayerCount") -> tuple[int, ...]:
    return (
        row.multiplications.original,
        row.multiplications.fused,
        row.additions.original,
        row.additions.paper,
        row.additions.shared,
    )


def _table(report: "CountReport") -> Table:
    table = Table(title="Operations before and after", title_justify="left", box=box.SIMPLE_HEAD)
    for header in ("layer", "form"):
        table.add_column(header)
    for header in ("mult.", "fused", "add.", "fused, paper's count", "fused, shared sums"):
        table.add_column(header, justify="right")
    for row in report.layers:
        table.add_row(escape(row.name), row.form or "", *(f"{cell:,}" for cell in _cells(row)))
    table.add_section()
    totals = [sum(column) for column in zip(*map(_cells, report.layers), strict=True)]
    table.add_row("total", "", *(f"{cell:,}" for cell in totals))
    return table
