"""Layers, tiles and chunks in their order: six nested counters."""

from amaranth.hdl import Elaboratable, Module, Mux, Signal

from mlcnn.rtl.blocks.tile import Settings, Tile
from mlcnn.rtl.build import Build

__all__ = ["Tiles"]


class Tiles(Elaboratable):
    """What is to be loaded next, one step ahead.

    Attributes:
        begin: with the first chunk of a layer.
        take: the chunk at ``tile`` is loaded in the next step; it is the next one two cycles later.
        tile: the next chunk.
        there: whether there is one.
    """

    def __init__(self, build: Build, settings: Settings) -> None:
        self.build, self.settings = build, settings
        self.begin, self.take, self.there = Signal(), Signal(), Signal()
        self.tile = Tile("next")

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, s = Module(), self.settings
        chunk, output, row, column = (
            Signal(12, name=name) for name in ("chunk", "output", "row", "column")
        )
        more = Signal()
        first_row, first_column = Signal(16), Signal(16)
        row_address, column_offset, block_offset = Signal(32), Signal(32), Signal(32)
        output_row, output_column, channel = Signal(32), Signal(32), Signal(16)
        weights, weight_start = Signal(32), Signal(32)
        last_chunk, last_output = chunk == s.chunks - 1, output == s.output_tiles - 1
        last_row, last_column = row == s.row_tiles - 1, column == s.column_tiles - 1
        last_place = last_row & last_column
        tile = Tile("after")
        taps = s.kernel_rows * s.kernel_columns
        m.d.comb += [
            tile.first_chunk.eq(chunk == 0),
            tile.last_chunk.eq(last_chunk),
            tile.words.eq(tile.groups * taps * tile.turns * tile.fill),
            tile.weight_address.eq(weights),
            tile.input_address.eq(row_address + column_offset + block_offset),
            tile.first_row.eq(first_row),
            tile.first_column.eq(first_column),
            tile.rows.eq(Mux(last_row, s.last_rows, s.rows)),
            tile.columns.eq(Mux(last_column, s.last_columns, s.columns)),
            tile.blocks.eq(Mux(last_chunk, s.last_blocks, s.blocks)),
            tile.groups.eq(Mux(last_chunk, s.last_groups, s.groups)),
            tile.turns.eq(Mux(last_output, s.last_turns, s.turns)),
            tile.fill.eq(Mux(last_output, s.last_fill, s.fill)),
            tile.lines.eq(Mux(last_row, s.last_lines, s.lines)),
            tile.line.eq(Mux(last_column, s.last_line, s.line)),
            tile.way_lines.eq(Mux(last_row, s.last_way_lines, s.way_lines)),
            tile.way_step.eq(Mux(last_row, s.last_way_step, s.way_step)),
            tile.way_rows.eq(Mux(last_row, s.last_way_rows, s.way_rows)),
            tile.end_filters.eq(Mux(last_output, s.last_end_filters, s.end_filters)),
            tile.output_address.eq(output_row + output_column),
            tile.channel.eq(channel),
        ]
        m.d.sync += [*self.tile.eq(tile), self.there.eq(more)]
        next_output, next_place, finished = Signal(), Signal(), Signal()
        after = weights + tile.words
        with m.If(self.take & last_chunk):
            inner_ends = Mux(s.weights_outer, last_place, last_output)
            m.d.comb += [
                next_output.eq(Mux(s.weights_outer, last_place, 1)),
                next_place.eq(Mux(s.weights_outer, 1, last_output)),
                finished.eq(inner_ends & last_place & last_output),
            ]
        with m.If(self.take):
            m.d.sync += [
                chunk.eq(chunk + 1), weights.eq(after),
                block_offset.eq(block_offset + s.blocks * s.input_block),
            ]  # fmt: skip
            with m.If(last_chunk):
                m.d.sync += [chunk.eq(0), block_offset.eq(0)]
        with m.If(next_output):
            m.d.sync += [
                output.eq(output + 1), weight_start.eq(after),
                channel.eq(channel + s.tile_filters),
            ]  # fmt: skip
            with m.If(last_output):
                m.d.sync += [
                    output.eq(0), weights.eq(s.weight_base), weight_start.eq(s.weight_base),
                    channel.eq(0),
                ]  # fmt: skip
        with m.If(next_place & ~next_output):
            m.d.sync += weights.eq(weight_start)
        with m.If(next_place):
            m.d.sync += [
                column.eq(column + 1), first_column.eq(first_column + s.tile_columns),
                column_offset.eq(column_offset + s.tile_columns),
                output_column.eq(output_column + s.line),
            ]  # fmt: skip
            with m.If(last_column):
                m.d.sync += [
                    column.eq(0), first_column.eq(-s.pad_columns), column_offset.eq(0),
                    output_column.eq(0), row.eq(row + 1), first_row.eq(first_row + s.tile_rows),
                    row_address.eq(row_address + s.tile_rows * s.input_row),
                    output_row.eq(output_row + s.lines * s.output_row),
                ]  # fmt: skip
                with m.If(last_row):
                    self._first_place(m, row, first_row, row_address, output_row)
        with m.If(finished):
            m.d.sync += more.eq(0)
        with m.If(self.begin):
            m.d.sync += [
                more.eq(1), chunk.eq(0), output.eq(0), column.eq(0), channel.eq(0),
                first_column.eq(-s.pad_columns), column_offset.eq(0), block_offset.eq(0),
                output_column.eq(0), weights.eq(s.weight_base), weight_start.eq(s.weight_base),
            ]  # fmt: skip
            self._first_place(m, row, first_row, row_address, output_row)
        return m

    def _first_place(
        self, m: Module, row: Signal, first_row: Signal, row_address: Signal, output_row: Signal
    ) -> None:
        s = self.settings
        start = s.input_base - s.pad_rows * s.input_row - s.pad_columns
        m.d.sync += [
            row.eq(0), first_row.eq(-s.pad_rows), row_address.eq(start),
            output_row.eq(s.output_base),
        ]  # fmt: skip
