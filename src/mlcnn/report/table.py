"""How tables and warnings look in the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

__all__ = ["columns_table", "warning"]


def columns_table(*columns: tuple[str, bool], title: str | None = None) -> Table:
    """A table without rows.

    Args:
        columns: (heading, is a number) of each.
        title: what stands above it.
    """
    table = Table(
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
