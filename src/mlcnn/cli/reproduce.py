"""``mlcnn reproduce``: a published table beside ours."""

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

import mlcnn
from mlcnn.cli.options import Printing
from mlcnn.cli.output import console, print_json, progress

if TYPE_CHECKING:
    from mlcnn.reproduce import Reproduction

__all__ = ["reproduce"]


def reproduce(
    what: str,
    /,
    *,
    printing: Printing = Printing(),
) -> int:
    """Print a published table beside ours; exit code 1 if they differ.

    Args:
        what: table-1 to table-6, or all.
        printing: what is printed.
    """
    with progress() as tell:
        tell("reproduce", 0, 0)
        result = mlcnn.api.reproduce(what)
    if printing.json:
        print_json(result.to_json())
    else:
        console().print(_table(result))
    return 0 if result.ok else 1


def _table(result: "Reproduction") -> Table:
    table = Table(title=result.what, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("item")
    for header in ("published", "computed", "tolerance"):
        table.add_column(header, justify="right")
    table.add_column("")
    for row in result.rows:
        cells = (row.published, row.computed, row.tolerance)
        numbers = (f"{cell:,}" if isinstance(cell, int) else f"{cell:,.2f}" for cell in cells)
        table.add_row(escape(row.item), *numbers, "same" if row.ok else "DIFFERS")
    return table
