"""``mlcnn reproduce``: a published table beside ours."""

from typing import TYPE_CHECKING

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
    printing: Printing = Printing(),  # noqa: B008 - frozen
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
