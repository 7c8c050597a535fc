"""An exploration for the terminal: the front, what was bought, and how it was found."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from mlcnn.codesign.exploration import Explored
from mlcnn.report.charts.exploring import front_chart
from mlcnn.report.charts.study import write_figure
from mlcnn.report.table import columns_table
from mlcnn.report.wording import printable

__all__ = ["exploration_table", "write_front"]


def exploration_table(found: Explored) -> RenderableType:
    """The front, and how it was found.

    Args:
        found: the exploration.

    Returns:
        What ``rich.console.Console.print`` takes.
    """
    shown = found.shown()
    words = found.start is not None
    columns = [(name, number < len(shown.columns) - words) for number, name in
               enumerate(shown.columns)]  # fmt: skip
    table = columns_table(*columns)
    for row in shown.rows:
        table.add_row(*(printable(cell) for cell in row))
    notes = (Text(printable(note)) for note in shown.notes)
    return Group(Text(printable(shown.title), "bold"), Text(), table, Text(), *notes)


def write_front(found: Explored, path: Path) -> bool:
    """Draw a front of two or three objectives.

    Args:
        found: the exploration.
        path: an ``.svg``, ``.png`` or ``.html`` file.

    Returns:
        Whether there was anything to draw.

    Raises:
        InputError: another kind of file, or one that cannot be written.
    """
    if len(found.objectives) < 2:
        return False
    write_figure(lambda: front_chart(found), path)
    return True
