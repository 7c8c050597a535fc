"""``mlcnn count``: multiplications and additions per layer, before and after."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

import mlcnn
from mlcnn.cli.options import Loading, Printing, Rewriting
from mlcnn.cli.output import print_json, progress, show

if TYPE_CHECKING:
    from mlcnn.counting import CountReport, LayerCount

__all__ = ["count"]

_UNLIMITED = 10_000


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
        show(_Operations(report))
        if report.uncounted:
            show(mlcnn.api.warning(mlcnn.api.uncounted_sentence(report.uncounted)))


def _cells(row: "LayerCount") -> tuple[int, ...]:
    return (
        row.multiplications.original,
        row.multiplications.fused,
        row.additions.original,
        row.additions.paper,
        row.additions.shared,
    )


@dataclass(frozen=True, slots=True)
class _Operations:
    """The counts: every digit where there is room, millions where a digit would be cut off."""

    report: "CountReport"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        table = self._table("", "{:,}".format)
        unlimited = options.update(max_width=_UNLIMITED)
        if Measurement.get(console, unlimited, table).maximum > options.max_width:
            table = self._table(", millions", lambda number: f"{number / 1e6:,.3f}")
        yield table

    def _table(self, unit: str, written: Callable[[int], str]) -> Table:
        table = mlcnn.api.columns_table(
            ("layer", False),
            ("form", False),
            ("mult.", True),
            ("fused", True),
            ("add.", True),
            ("fused,\npaper's", True),
            ("fused,\nshared", True),
            title=f"Operations before and after{unit}",
        )
        rows = self.report.layers
        for row in rows:
            name = Text(mlcnn.api.printable(row.name))
            table.add_row(name, row.form or "", *map(written, _cells(row)))
        table.add_section()
        totals = (sum(column) for column in zip(*map(_cells, rows), strict=True))
        table.add_row("total", "", *map(written, totals))
        return table
