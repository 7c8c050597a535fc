"""What the units are told: the settings of a layer, and a record that goes from unit to unit."""

from collections.abc import Iterator
from typing import Any, Final

from amaranth.hdl import Shape, Signal, Value, signed

from mlcnn.rtl.configuration import FIELDS, WORDS

__all__ = ["Settings", "Tile", "bits"]

_TILE: Final[dict[str, int | Shape]] = {
    "first_chunk": 1, "last_chunk": 1, "words": 24, "weight_address": 32, "input_address": 32,
    "first_row": signed(16), "first_column": signed(16), "rows": 12, "columns": 12, "blocks": 8,
    "groups": 12, "turns": 8, "fill": 8, "lines": 12, "line": 12, "way_lines": 12, "way_step": 16,
    "way_rows": 16, "end_filters": 8, "output_address": 32, "channel": 16,
}  # fmt: skip


class Tile:
    """A chunk of a tile: loaded in one step, computed in the next, and left in the one after.

    Addresses count beats, modulo 2**32; rows and columns are those of the input, and below 0 in
    the padding. (Signals of their own, since a simulator takes wide ones apart at each use.)
    """

    def __init__(self, name: str) -> None:
        self.fields = {
            field: Signal(shape, name=f"{name}_{field}") for field, shape in _TILE.items()
        }

    def __getattr__(self, name: str) -> Signal:
        if name == "fields" or name not in self.fields:
            raise AttributeError(name)
        return self.fields[name]

    def eq(self, other: "Tile") -> Iterator[Any]:
        """Take over all of another."""
        return (one.eq(other.fields[name]) for name, one in self.fields.items())


class Settings:
    """The configuration words of a layer in registers, and its numbers by name."""

    def __init__(self) -> None:
        self.words = [Signal(32, name=f"setting_{number}") for number in range(WORDS)]

    def __getattr__(self, name: str) -> Value:
        if name not in FIELDS:
            raise AttributeError(name)
        place = FIELDS[name]
        found = self.words[place.word][place.low :][: place.bits]
        return found.as_signed() if place.signed else found


def bits(*names: str) -> list[Signal]:
    """Signals of one bit each, by these names."""
    return [Signal(name=name) for name in names]
