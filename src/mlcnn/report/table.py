"""How tables and warnings look in the terminal."""

from collections.abc import Iterator

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

__all__ = ["columns_table", "warning"]

_UNLIMITED = 10_000
# A column of words can be folded so far, and still be read.
_FOLDED = 12


class _Fitting(Table):
    """A table that becomes a list where the terminal is too narrow for it.

    Numbers are never folded, so that what is left for the names may be nothing.
    """

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType | Segment]:
        if self._least(console, options) <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._items()

    def _least(self, console: Console, options: ConsoleOptions) -> int:
        """Columns of the terminal that the table needs."""
        unlimited = options.update(max_width=_UNLIMITED)
        least = Measurement.get(console, unlimited, self).maximum
        for column in self.columns:
            if not column.no_wrap:
                cells = (column.header, *column.cells)
                widest = max(Measurement.get(console, unlimited, cell).maximum for cell in cells)
                least -= max(widest - _FOLDED, 0)
        return least

    def _items(self) -> Iterator[RenderableType]:
        if self.title is not None:
            yield _text(self.title, "bold")
        cells = [tuple(column.cells) for column in self.columns]
        for index, row in enumerate(zip(*cells, strict=True)):
            first, *others = row
            yield Text()
            yield _text(first, self.rows[index].style or "bold")
            for column, cell in zip(self.columns[1:], others, strict=True):
                yield from _item(column, _text(cell))


def _text(cell: RenderableType, style: object = "") -> Text:
    text = cell.copy() if isinstance(cell, Text) else Text(str(cell))
    text.stylize(str(style))
    text.overflow = "fold"
    return text


def _item(column: Column, value: Text) -> Iterator[Text]:
    if value.plain:
        heading = " ".join(_text(column.header).plain.split())
        heading = f"{heading}: " if heading else ""
        yield Text.assemble("  ", (heading, "dim"), value, overflow="fold")


def columns_table(*columns: tuple[str, bool], title: str | None = None) -> Table:
    """A table without rows; a list in a terminal that is too narrow for it.

    Args:
        columns: (heading, is a number) of each.
        title: what stands above it.
    """
    table = _Fitting(
        title=None if title is None else Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
        header_style="bold",
    )
    for heading, number in columns:
        table.add_column(
            Text(heading),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    return table


def warning(told: str) -> Text:
    """What the reader must know; ``told`` is plain text without control characters."""
    return Text.assemble(("warning: ", "bold yellow"), told)
