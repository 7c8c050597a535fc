"""``mlcnn reproduce``: a published table beside ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

import mlcnn
from mlcnn.cli.options import Printing
from mlcnn.cli.output import print_json, progress, show

if TYPE_CHECKING:
    from mlcnn.reproduce import Reproduction, Row
    from mlcnn.reproduce.reproduction import Beside, Cell

__all__ = ["reproduce"]


def reproduce(
    what: str,
    /,
    *,
    runs: Path | None = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    printing: Printing = Printing(),
) -> int:
    """Print a published table or figure beside ours; exit code 1 if they differ without a reason.

    Args:
        what: table-1 to table-7, figure-3, figure-4, figure-12 to figure-15 of MLCNN's paper;
            aaai18 or circconv, of block-circulant weights; penni, of shared kernels;
            sefact, of few bits and early exits; focused, of masks; imce, isvlsi-2019 or cmp-pim, of
            memory sub-arrays that compute; or all.
        runs: folder of records of `mlcnn study` to draw figure-3, figure-4 or figure-12 from, the
            package's own by default; for penni, of results of `mlcnn compress`; for focused,
            of `mlcnn skip`.
        out: draw figure-3, figure-4, figure-12 or sefact into this .html, .png or .svg file too.
        printing: what is printed.
    """
    with progress() as tell:
        tell("reproduce", 0, 0)
        result = mlcnn.api.reproduce(what, tell, runs)
        if out is not None:
            mlcnn.api.draw_reproduced(what, out, runs)
    if printing.json:
        print_json(result.to_json())
    else:
        tables = [_table(result)] if result.rows else []
        show(*tables, *map(_beside, result.beside))
    return 0 if result.ok else 1


def _table(result: "Reproduction") -> Table:
    conditions = f" ({result.conditions})" if result.conditions else ""
    table = mlcnn.api.columns_table(
        ("item", False),
        ("published", True),
        ("computed", True),
        ("tolerance", True),
        ("", False),
        title=f"{result.what}{conditions}",
    )
    for row in result.rows:
        numbers = _cell(row.published), _cell(row.computed), f"{row.tolerance:g}"
        table.add_row(Text(row.item), *numbers, Text(_verdict(row)))
    return table


def _verdict(row: "Row") -> str:
    floor = row.relation == "at least"
    if row.ok:
        return "reached" if floor else "same"
    if row.difference:
        return f"{'short' if floor else 'differs'}: {row.difference}"
    return "SHORT" if floor else "DIFFERS"


def _beside(beside: "Beside") -> Table:
    numbers = (not isinstance(first, str) for first in beside.rows[0])
    columns = zip(beside.columns, numbers, strict=True)
    table = mlcnn.api.columns_table(*columns, title=f"beside it: {beside.title}")
    for row in beside.rows:
        table.add_row(*(Text(_cell(cell)) for cell in row))
    return table


def _cell(cell: "Cell") -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell or ""
