"""What every result shares: a short table in the terminal and in a notebook, and a data frame.

A result says its rows and its columns; how they look is here alone.
"""

import abc
import html
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlcnn.errors import InputError

__all__ = ["Shown", "Tabular", "flat"]

_MOST_ROWS = 20
_FRAMES = ("pandas", "polars")


@dataclass(frozen=True, slots=True)
class Shown:
    """A short table.

    Attributes:
        title: one line above it.
        columns: headings.
        rows: cells as text, as many in each as there are headings.
        notes: lines below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def shortened(self) -> "Shown":
        """The same with the rows in the middle left out where there are many."""
        left_out = len(self.rows) - _MOST_ROWS
        if left_out <= 1:
            return self
        half = _MOST_ROWS // 2
        gap = (f"... {left_out} more", *("" for _ in self.columns[1:]))
        return Shown(
            self.title, self.columns, (*self.rows[:half], gap, *self.rows[-half:]), self.notes
        )

    def text(self) -> str:
        """As lines of text: names to the left, numbers to the right."""
        rows = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        numbers = self._numbers()
        lines = (
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(row, widths, numbers, strict=True)
            ).rstrip()
            for row in rows
        )
        return "\n".join((self.title, *lines, *self.notes))

    def _numbers(self) -> list[bool]:
        """Of which columns every cell is a number; the first is a name."""
        columns = zip(*(self.columns, *self.rows), strict=True)
        return [i > 0 and all(map(_is_number, column[1:])) for i, column in enumerate(columns)]

    def html(self) -> str:
        """As an HTML table; what came from outside is escaped."""
        sides = ["right" if number else "left" for number in self._numbers()]

        def row(cells: Sequence[str], tag: str) -> str:
            parts = (
                f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
                for cell, side in zip(cells, sides, strict=True)
            )
            return f"<tr>{''.join(parts)}</tr>"

        body = "".join(row(cells, "td") for cells in self.rows)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return (
            f"<table><caption>{html.escape(self.title)}</caption>"
            f"<thead>{row(self.columns, 'th')}</thead><tbody>{body}</tbody></table>{notes}"
        )


def _is_number(cell: str) -> bool:
    return not cell or cell.lstrip("+-")[:1].isdigit()


class Tabular(abc.ABC):
    """A result with rows: ``repr`` is a short table, in a notebook too, and all can be a frame."""

    __slots__ = ()

    @abc.abstractmethod
    def shown(self) -> Shown:
        """The short table."""

    @abc.abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Every row with all its columns, values by name."""

    def __repr__(self) -> str:
        return _printable(self.shown().shortened().text())

    def _repr_html_(self) -> str:
        return _printable(self.shown().shortened().html())

    def to_frame(self, library: str | None = None) -> Any:
        """All rows and columns as a data frame.

        Args:
            library: ``pandas`` or ``polars``; the first of them that is installed by default.

        Raises:
            InputError: the library, or each of them, is not installed.
        """
        if library not in {None, *_FRAMES}:
            raise InputError(f"to_frame: {library!r} makes no frames here; give pandas or polars")
        for name in _FRAMES if library is None else (library,):
            try:
                module: Any = importlib.import_module(name or "")
            except ImportError:
                continue
            return module.DataFrame(self.records())
        missing = library or "neither pandas nor polars"
        raise InputError(
            f"to_frame: {missing} is {'not ' if library else ''}installed; run `pip install "
            f"{library or 'pandas'}`, or take the rows from .records()"
        )


def flat(document: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """A nested document as one row: names of the levels are joined by an underscore.

    >>> flat({"name": "conv1", "additions": {"original": 3}})
    {'name': 'conv1', 'additions_original': 3}
    """
    row: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            row |= flat(value, prefix=f"{prefix}{key}_")  # pyright: ignore[reportUnknownArgumentType]
        else:
            row[prefix + key] = value
    return row


def _printable(text: str) -> str:
    """The text without what could steer a terminal; lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
