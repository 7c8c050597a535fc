"""The words that tell the hardware how to run a layer: 32 of 32 bits, two beats of memory."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InfeasibleError

__all__ = ["FIELDS", "WORDS", "Configuration", "Place"]

WORDS: Final = 32
"""Of a layer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number stands in the words.

    Attributes:
        word: number of the word.
        low: its lowest bit there.
        bits: how many it has.
        signed: whether it may be negative.
    """

    word: int
    low: int
    bits: int
    signed: bool = False


FIELDS: Final[dict[str, Place]] = {
    "opcode": Place(0, 0, 2),
    "fused": Place(0, 2, 1),
    "weights_outer": Place(0, 3, 1),
    "signed": Place(0, 4, 1),
    "ways_log2": Place(0, 5, 3),
    "input_base": Place(1, 0, 32),
    "weight_base": Place(2, 0, 32),
    "output_base": Place(3, 0, 32),
    "parameter_base": Place(4, 0, 32),
    "input_row": Place(5, 0, 32),
    "input_block": Place(6, 0, 32),
    "parameter_beats": Place(7, 0, 16),
    "output_row": Place(8, 0, 32),
    "output_block": Place(9, 0, 32),
    "buffer_row": Place(10, 0, 12),
    "buffer_block": Place(10, 12, 16),
    "kernel_rows": Place(11, 0, 4),
    "kernel_columns": Place(11, 4, 4),
    "step_rows": Place(11, 8, 6),
    "step_columns": Place(11, 14, 6),
    "stride_rows": Place(11, 20, 4),
    "stride_columns": Place(11, 24, 4),
    "window_rows": Place(12, 0, 4),
    "window_columns": Place(12, 4, 4),
    "lines": Place(13, 0, 12),
    "line": Place(13, 16, 12),
    "last_lines": Place(14, 0, 12),
    "last_line": Place(14, 16, 12),
    "rows": Place(15, 0, 12),
    "columns": Place(15, 16, 12),
    "last_rows": Place(16, 0, 12),
    "last_columns": Place(16, 16, 12),
    "blocks": Place(17, 0, 8),
    "groups": Place(17, 8, 12),
    "last_blocks": Place(18, 0, 8),
    "last_groups": Place(18, 8, 12),
    "turns": Place(19, 0, 8),
    "fill": Place(19, 8, 8),
    "last_turns": Place(19, 16, 8),
    "last_fill": Place(19, 24, 8),
    "turn_filters": Place(20, 0, 8),
    "end_filters": Place(20, 8, 8),
    "last_end_filters": Place(20, 16, 8),
    "way_lines": Place(21, 0, 12),
    "last_way_lines": Place(21, 16, 12),
    "output_tiles": Place(22, 0, 12),
    "chunks": Place(22, 16, 12),
    "row_tiles": Place(23, 0, 12),
    "column_tiles": Place(23, 16, 12),
    "tile_rows": Place(24, 0, 16),
    "tile_columns": Place(24, 16, 16),
    "image_rows": Place(25, 0, 12),
    "image_columns": Place(25, 16, 12),
    "pad_rows": Place(26, 0, 4),
    "pad_columns": Place(26, 4, 4),
    "low": Place(26, 8, 9, signed=True),
    "high": Place(26, 17, 9, signed=True),
    "pad_value": Place(27, 0, 8),
    "zero": Place(27, 8, 9, signed=True),
    "tile_filters": Place(28, 0, 12),
    "way_rows": Place(28, 16, 16),
    "line_step": Place(29, 0, 16),
    "way_step": Place(29, 16, 16),
    "last_way_step": Place(30, 0, 16),
    "phase_step": Place(30, 16, 16),
    "last_way_rows": Place(31, 0, 16),
}
"""Every number of a configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """How the hardware runs a layer. Addresses and their strides count beats.

    A tile is a part of the outputs: ``tile_filters`` output channels of ``lines`` times ``line``
    final outputs (pooled ones, where there is a pool). Those at the end of an axis have sizes of
    their own, ``last_...``. A chunk is a part of a tile's input channels.

    Attributes:
        opcode: 1 for a layer, 2 for the end of the program.
        fused: 1 where the input unit sums windows of 2x2 inputs.
        weights_outer: 1 where output channels are the outer loop, and positions the inner one.
        signed: 1 where inputs are codes of -128..127, and not of 0..255.
        ways_log2: of the positions that different slices work on at a time.
        input_base, weight_base, output_base, parameter_base: addresses.
        input_row, input_block: from one row, and one block of channels, of the input to the next.
        parameter_beats: of bias and scale.
        output_row, output_block: of the output.
        buffer_row, buffer_block: of the input buffer: stored columns, and positions, of a tile
            that is not at an end; words.
        kernel_rows, kernel_columns: taps.
        step_rows, step_columns: stored rows, and columns, from one final output to the next.
        stride_rows, stride_columns: from one output of the convolution to the next inside the
            window of a pool that the array adds up.
        window_rows, window_columns: of that window; 1 where there is none.
        lines, line, last_lines, last_line: final outputs of a tile, down and along.
        rows, columns, last_rows, last_columns: inputs of a tile with their padding.
        blocks, last_blocks: blocks of channels (a beat holds one) of a chunk.
        groups, last_groups: channels of a chunk, in groups that a slice takes at a time.
        turns, last_turns: groups of output channels that take turns on the slices.
        fill, last_fill: beats that fill the slices with one set of weights.
        turn_filters: output channels of a turn.
        end_filters, last_end_filters: of the last turn of a tile, and of the last tile.
        way_lines, last_way_lines: lines of a tile that one way works on.
        output_tiles, chunks, row_tiles, column_tiles: how many there are.
        tile_rows, tile_columns: inputs from the start of a tile to that of the next.
        image_rows, image_columns: of the input.
        pad_rows, pad_columns: padding before the input.
        low, high: least and largest code of an output.
        pad_value: code of the padding.
        zero: code of 0 in the output.
        tile_filters: output channels of a tile.
        way_rows, last_way_rows: stored rows of a way: ``way_lines * step_rows``. With a single
            way more than there are.
        line_step: words of the buffer from one line to the next: ``step_rows * buffer_row``.
        way_step, last_way_step: from one way to the next.
        phase_step: from one row of a pool window to the next: ``stride_rows * buffer_row``.
    """

    opcode: int = 1
    fused: int
    weights_outer: int
    signed: int
    ways_log2: int
    input_base: int
    weight_base: int
    output_base: int
    parameter_base: int
    input_row: int
    input_block: int
    parameter_beats: int
    output_row: int
    output_block: int
    buffer_row: int
    buffer_block: int
    kernel_rows: int
    kernel_columns: int
    step_rows: int
    step_columns: int
    stride_rows: int
    stride_columns: int
    window_rows: int
    window_columns: int
    lines: int
    line: int
    last_lines: int
    last_line: int
    rows: int
    columns: int
    last_rows: int
    last_columns: int
    blocks: int
    groups: int
    last_blocks: int
    last_groups: int
    turns: int
    fill: int
    last_turns: int
    last_fill: int
    turn_filters: int
    end_filters: int
    last_end_filters: int
    way_lines: int
    last_way_lines: int
    output_tiles: int
    chunks: int
    row_tiles: int
    column_tiles: int
    tile_rows: int
    tile_columns: int
    image_rows: int
    image_columns: int
    pad_rows: int
    pad_columns: int
    low: int
    high: int
    pad_value: int
    zero: int
    tile_filters: int
    way_rows: int
    last_way_rows: int
    line_step: int
    way_step: int
    last_way_step: int
    phase_step: int

    def words(self) -> NDArray[np.uint32]:
        """The words, shape (32,).

        Raises:
            InfeasibleError: a number is too large for its place.
        """
        found = [0] * WORDS
        for name, place in FIELDS.items():
            value = getattr(self, name)
            least = -(1 << place.bits - 1) if place.signed else 0
            most = least + (1 << place.bits) - 1
            if not least <= value <= most:
                raise InfeasibleError(
                    f"{name} of a layer is {value} and the hardware takes {least} to {most}: cut "
                    "the layer into smaller tiles"
                )
            found[place.word] |= (value & (1 << place.bits) - 1) << place.low
        return np.array(found, np.uint32)

    @classmethod
    def of(cls, words: NDArray[np.uint32]) -> "Configuration":
        """The configuration that words stand for."""
        values: dict[str, int] = {}
        for name, place in FIELDS.items():
            value = int(words[place.word]) >> place.low & (1 << place.bits) - 1
            if place.signed and value >> place.bits - 1:
                value -= 1 << place.bits
            values[name] = value
        return cls(**values)
