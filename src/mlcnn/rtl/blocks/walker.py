"""Goes through the positions of a tile's input: blocks of channels, rows, columns."""

from amaranth.hdl import Elaboratable, Module, Signal

from mlcnn.rtl.blocks.tile import Settings, Tile

__all__ = ["Walker"]


class Walker(Elaboratable):
    """A position at a time, padding among them.

    The bus of commands and the input unit have one each, so that padding needs no word of memory,
    and data no marks.

    Attributes:
        start: begin with ``tile`` in the next cycle.
        step: go on in the next cycle.
        busy: whether there is a position.
        inside: whether it is in the image.
        last: whether it is the last.
        row, column: of it in the tile.
        new_row, new_block: whether the next one stands in another row, or block.
        address: in memory.
    """

    def __init__(self, settings: Settings, tile: Tile) -> None:
        self.settings, self.tile = settings, tile
        self.start, self.step, self.busy = Signal(), Signal(), Signal()
        self.inside, self.last = Signal(), Signal()
        self.row, self.column = Signal(12), Signal(12)
        self.new_row, self.new_block = Signal(), Signal()
        self.address = Signal(32)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, tile, settings = Module(), self.tile, self.settings
        left, rows, columns = Signal(8), Signal(12), Signal(12)
        row_address, block_address = Signal(32), Signal(32)
        at_row, at_column = Signal(range(-(1 << 15), 1 << 15)), Signal(range(-(1 << 15), 1 << 15))
        first_row, first_column = Signal.like(at_row), Signal.like(at_column)
        m.d.comb += [
            self.inside.eq(
                (at_row >= 0) & (at_row < settings.image_rows)
                & (at_column >= 0) & (at_column < settings.image_columns)
            ),
            self.new_row.eq(self.column == columns - 1),
            self.new_block.eq(self.new_row & (self.row == rows - 1)),
            self.last.eq(self.busy & self.new_block & (left == 0)),
        ]  # fmt: skip
        with m.If(self.step):
            m.d.sync += [
                self.address.eq(self.address + 1),
                self.column.eq(self.column + 1),
                at_column.eq(at_column + 1),
            ]
            with m.If(self.new_row):
                after = row_address + settings.input_row
                m.d.sync += [
                    row_address.eq(after), self.address.eq(after), self.column.eq(0),
                    at_column.eq(first_column), self.row.eq(self.row + 1), at_row.eq(at_row + 1),
                ]  # fmt: skip
            with m.If(self.new_block):
                after = block_address + settings.input_block
                m.d.sync += [
                    block_address.eq(after), row_address.eq(after), self.address.eq(after),
                    self.row.eq(0), at_row.eq(first_row), left.eq(left - 1),
                    self.busy.eq(left != 0),
                ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [
                self.busy.eq(1),
                self.row.eq(0),
                self.column.eq(0),
                left.eq(tile.blocks - 1),
                rows.eq(tile.rows),
                columns.eq(tile.columns),
                at_row.eq(tile.first_row),
                at_column.eq(tile.first_column),
                first_row.eq(tile.first_row),
                first_column.eq(tile.first_column),
                self.address.eq(tile.input_address),
                row_address.eq(tile.input_address),
                block_address.eq(tile.input_address),
            ]
        return m
