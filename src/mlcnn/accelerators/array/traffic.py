"""Bytes that a tiling moves, and operations that it executes: exact, edge tiles included."""

import math
from dataclasses import dataclass

from mlcnn.accelerators.array.axis import Loops
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.tiling import Tiling
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.cost import Traffic

__all__ = ["ArrayOperations", "Transfers", "loops", "operations", "transfers"]


@dataclass(frozen=True, slots=True)
class Transfers:
    """Bytes by level and operand, over the whole batch.

    Attributes:
        dram_weight: weights from DRAM.
        dram_input: inputs from DRAM.
        dram_output: outputs to DRAM.
        weight_written: weights into the buffer.
        weight_read: weights from the buffer into the slices' registers.
        input_written: inputs or box sums into the buffer.
        input_read: words from the buffer into the window registers.
        partial_sum_written: accumulator entries written.
        partial_sum_read: accumulator entries read, to be added to or to leave.
        row_buffer: partial box sums, written and read.
    """

    dram_weight: float
    dram_input: float
    dram_output: float
    weight_written: float
    weight_read: float
    input_written: float
    input_read: float
    partial_sum_written: float
    partial_sum_read: float
    row_buffer: float

    @property
    def dram(self) -> float:
        """All bytes between DRAM and chip."""
        return self.dram_weight + self.dram_input + self.dram_output

    @property
    def summary(self) -> Traffic:
        """By level and operand, as any machine shows them."""
        return Traffic(
            self.dram_weight,
            self.dram_input,
            self.dram_output,
            self.weight_written + self.weight_read,
            self.input_written + self.input_read + self.row_buffer,
            self.partial_sum_written + self.partial_sum_read,
        )


@dataclass(frozen=True, slots=True)
class ArrayOperations:
    """Operations that the machine executes for a layer, recomputed edges included.

    Attributes:
        multiplications: of the array.
        tree_additions: in the adder trees.
        accumulations: onto accumulator entries.
        input_additions: in the input unit.
        output_additions: bias, pool and output transform.
        scalings: inputs scaled and rectified for this consumer.
    """

    multiplications: int
    tree_additions: int
    accumulations: int
    input_additions: int
    output_additions: int
    scalings: int

    @property
    def additions(self) -> int:
        """All of them."""
        array = self.tree_additions + self.accumulations
        return array + self.input_additions + self.output_additions


def loops(work: Work, tiling: Tiling, machine: ArrayDescription, ways: int) -> Loops:
    """What the axes and the loops of a tiling come to; see ``transfers`` for the arguments."""
    layer = work.layer
    rows, columns = work.rows.tiles(tiling.rows), work.columns.tiles(tiling.columns)
    filters, channels = layer.K // layer.G, layer.C // layer.G
    places = -(-layer.N // tiling.images) * rows.tiles * columns.tiles
    output_tiles = -(-filters // tiling.output_channels)
    kept = tiling.keep or tiling.input_channels >= channels
    full, rest = divmod(channels, tiling.input_channels)
    multipliers = machine.multipliers
    rounds = full * work.execution.rounds(layer, tiling.input_channels, multipliers)
    rounds += work.execution.rounds(layer, rest, multipliers) if rest else 0
    side = max(machine.slices // ways, 1)
    whole, last = divmod(filters, tiling.output_channels)
    turns = whole * -(-tiling.output_channels // side) + -(-last // side)
    return Loops(
        rows,
        columns,
        places,
        output_tiles,
        input_reloads=1 if kept and not tiling.weights_outer else output_tiles,
        weight_reloads=1 if kept and tiling.weights_outer else places,
        rounds=rounds,
        turns=turns,
    )


def _wide(work: Work, machine: ArrayDescription) -> int:
    """Passes of the multipliers for one input word."""
    integer = work.precision.is_integer
    return 2 if integer and work.stored_bits > machine.wide_bits else 1


def transfers(work: Work, tiling: Tiling, machine: ArrayDescription, ways: int) -> Transfers:
    """Bytes that one layer moves.

    Args:
        work: the layer.
        tiling: how it is cut.
        machine: the accelerator.
        ways: positions that different slices work on at a time.
    """
    layer, c = work.layer, loops(work, tiling, machine, ways)
    word = work.precision.bits / 8
    inputs = layer.N * layer.C * c.rows.all_inputs * c.columns.all_inputs
    stored = layer.N * layer.C * c.rows.all_stored * c.columns.all_stored
    outputs = layer.N * layer.K * math.prod(layer.pooled)
    sums = layer.N * layer.K * c.rows.all_positions * c.columns.all_positions * work.frequencies
    wide = _wide(work, machine)
    windows = work.execution.window_words(layer, c.columns, machine.multipliers)
    windows *= c.rows.all_positions * work.frequencies
    partial_sums = 4 * sums * c.rounds * wide
    vertical = c.rows.all_additions * c.columns.all_inputs * layer.N * layer.C
    buffer_weights = layer.weights // layer.kernel_area * work.weight_words
    return Transfers(
        dram_weight=layer.weights * c.weight_reloads * work.weight_bits / 8,
        dram_input=inputs * c.input_reloads * work.loaded_bits / 8,
        dram_output=outputs * work.output_bits / 8,
        weight_written=buffer_weights * c.weight_reloads * word,
        weight_read=buffer_weights * c.places * word,
        input_written=stored * c.input_reloads * work.input_bits / 8,
        input_read=layer.N * layer.C * windows * c.turns * wide * work.stored_bits / 8,
        partial_sum_written=partial_sums,
        partial_sum_read=partial_sums,
        row_buffer=2 * vertical * c.input_reloads * work.row_bits / 8,
    )


def operations(work: Work, tiling: Tiling, machine: ArrayDescription, ways: int) -> ArrayOperations:
    """Operations that the machine executes; see ``transfers`` for the arguments."""
    layer, c = work.layer, loops(work, tiling, machine, ways)
    positions = layer.N * c.rows.all_positions * c.columns.all_positions
    block, wide = work.execution.block, _wide(work, machine)
    products = work.execution.products(layer) * positions * wide
    accumulations = round(layer.K * positions * work.frequencies * c.rounds * wide)
    leaving = layer.N * layer.K * math.prod(layer.pooled)
    if work.pools_behind:
        leaving += layer.N * layer.K * c.rows.all_convolved * c.columns.all_convolved
    before, behind = work.execution.additions(layer, c)
    inputs = layer.N * layer.C * c.rows.all_inputs * c.columns.all_inputs * c.input_reloads
    return ArrayOperations(
        multiplications=products,
        tree_additions=products - accumulations,
        accumulations=accumulations,
        input_additions=before,
        output_additions=leaving * block + behind,
        scalings=round(inputs * work.execution.input_block) if work.scaled else 0,
    )
