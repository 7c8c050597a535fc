"""``mlcnn reproduce``: a published table beside ours."""

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

import mlcnn
from mlcnn.cli.options import Printing
from mlcnn.cli.output import console, print_json, progress

if TYPE_CHECKING:
    from mlcnn.reproduce import Reproduction, Row
    from mlcnn.reproduce.reproduction import Beside, Cell

__all__ = ["reproduce"]

_FILE_WIDTH = 140


def reproduce(
    what: str,
    /,
    *,
    printing: Printing = Printing(),
) -> int:
    """Print a published table or figure beside ours; exit code 1 if they differ without a reason.

    Args:
        what: table-1 to table-7, figure-13, figure-14, figure-15, or all.
        printing: what is printed.
    """
    with progress() as tell:
        tell("reproduce", 0, 0)
        result = mlcnn.api.reproduce(what, tell)
    if printing.json:
        print_json(result.to_json())
    else:
        _print(result)
    return 0 if result.ok else 1


def _print(result: "Reproduction") -> None:
    out = console()
    if not out.is_terminal:  # a file or pipe has no width: nothing has to wrap there
        out.width = _FILE_WIDTH
    for table in (_table(result), *map(_beside, result.beside)):
        out.print(table)


def _table(result: "Reproduction") -> Table:
    conditions = f" ({result.conditions})" if result.conditions else ""
    table = Table(title=f"{result.what}{conditions}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("item")
    for header in ("published", "computed", "tolerance"):
        table.add_column(header, justify="right")
    table.add_column("")
    for row in result.rows:
        numbers = _cell(row.published), _cell(row.computed), f"{row.tolerance:g}"
        table.add_row(escape(row.item), *numbers, escape(_verdict(row)))
    return table


def _verdict(row: "Row") -> str:
    floor = row.relation == "at least"
    if row.ok:
        return "reached" if floor else "same"
    if row.difference:
        return f"{'short' if floor else 'differs'}: {row.difference}"
    return "SHORT" if floor else "DIFFERS"


def _beside(beside: "Beside") -> Table:
    title = f"beside it: {escape(beside.title)}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column, first in zip(beside.columns, beside.rows[0], strict=True):
        justify = "left" if isinstance(first, str) else "right"
        table.add_column(column, justify=justify, overflow="fold")
    for row in beside.rows:
        table.add_row(*(escape(_cell(cell)) for cell in row))
    return table


def _cell(cell: "Cell") -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell or ""
