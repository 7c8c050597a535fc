"""``mlcnn list``: what there is to choose from."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

import mlcnn
from mlcnn.cli.options import Printing
from mlcnn.cli.output import print_json, print_text, show

if TYPE_CHECKING:
    from mlcnn.api import Described

__all__ = ["listing"]


def listing(
    kind: str,
    /,
    *,
    describe: str | None = None,
    printing: Printing = Printing(),
) -> None:
    """List what there is: zoo, passes, methods, engines, machines, steps, technologies, sources.

    Args:
        kind: zoo, passes, methods, engines, machines, steps, technologies or sources.
        describe: name of one of them, to print with its options; a machine as a .yaml file to copy
            and edit.
        printing: what is printed.
    """
    if describe is not None:
        _show_one(mlcnn.api.describe(kind, describe), printing)
        return
    found = mlcnn.api.listed(kind)
    if printing.json:
        print_json({"kind": kind, "entries": [item.to_json() for item in found]})
        return
    table = mlcnn.api.columns_table(("name", False), ("what it is", False))
    for item in found:
        table.add_row(_text(item.name), _text(item.about))
    show(table)


def _show_one(item: "Described", printing: Printing) -> None:
    if printing.json:
        print_json(item.to_json())
    elif item.text:
        print_text(item.text)
    else:
        show(Text.assemble((mlcnn.api.printable(item.name), "bold")), _text(item.about))
        if item.options:
            show(_options(item))


def _options(item: "Described") -> Table:
    table = mlcnn.api.columns_table(("option", False), ("value", False))
    for name, value in item.options.items():
        table.add_row(_text(name), _text(value))
    return table


def _text(told: str) -> Text:
    return Text(mlcnn.api.printable(told))
