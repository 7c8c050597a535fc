"""Bytes that a tiling moves, and operations that it executes: exact, edge tiles included.

DRAM moves whole beats, however few of their bytes are of use: the channels of one position, weights
of so many slices, or what leaves of one position.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from mlcnn.accelerators.array.axis import Loops
from mlcnn.accelerators.array.cycles import input_words, parameter_beats
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Tiling
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.cost import Traffic

__all__ = ["ArrayOperations", "Transfers", "loops", "operations", "transfers"]


@dataclass(frozen=True, slots=True)
class Transfers:
    """Bytes by level and operand, over the whole batch.

    Attributes:
        dram_weight: weights from DRAM, with bias, scale and configuration.
        dram_input: inputs from DRAM.
        dram_output: outputs to DRAM.
        weight_written: weights into their memory.
        weight_read: weights from there into the slices' registers.
        input_written: inputs or box sums into their memory.
        input_read: words from there to the slices.
        partial_sum_written: accumulator entries written.
        partial_sum_read: accumulator entries read, to be added to or to leave.
        row_buffer: rows of the input unit, written and read.
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
        output_additions: bias, output transform and pools behind that.
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


def loops(work: Work, tiling: Tiling, machine: ArrayDescription, side: int) -> Loops:
    """What the axes and the loops of a tiling come to; see ``transfers`` for the arguments."""
    layer = work.layer
    rows, columns = work.rows.tiles(tiling.rows), work.columns.tiles(tiling.columns)
    filters, channels = layer.K // layer.G, layer.C // layer.G
    places = -(-layer.N // tiling.images) * rows.tiles * columns.tiles
    outputs = _cuts(filters, tiling.output_channels)
    kept = tiling.keep or tiling.input_channels >= channels
    rounds = work.execution.rounds
    return Loops(
        rows,
        columns,
        places,
        sum(outputs.values()),
        input_reloads=1 if kept and not tiling.weights_outer else sum(outputs.values()),
        weight_reloads=1 if kept and tiling.weights_outer else places,
        rounds=math.fsum(
            count * rounds(layer, size, machine.multipliers)
            for size, count in _cuts(channels, tiling.input_channels).items()
        ),
        turns=sum(count * -(-size // side) for size, count in outputs.items()),
    )


def _cuts(size: int, part: int) -> Counter[int]:
    """Sizes of the parts, and how many there are of each."""
    whole, rest = divmod(size, part)
    found = Counter({part: whole})
    if rest:
        found[rest] += 1
    return found


def transfers(
    work: Work, tiling: Tiling, machine: ArrayDescription, ways: int, side: int
) -> Transfers:
    """Bytes that one layer moves.

    Args:
        work: the layer.
        tiling: how it is cut.
        machine: the accelerator.
        ways: positions that different slices work on at a time.
        side: slices of each way.
    """
    del ways
    layer, how, c = work.layer, work.execution, loops(work, tiling, machine, side)
    p = Parameters.of((machine,)).take(np.array(0))
    chunks = _cuts(layer.C // layer.G, tiling.input_channels)
    outputs = _cuts(layer.K // layer.G, tiling.output_channels)
    positions = layer.N * c.rows.all_positions * c.columns.all_positions
    maps = layer.N * layer.G * c.input_reloads
    inputs = maps * c.rows.all_inputs * c.columns.all_inputs
    stored = maps * c.rows.all_stored * c.columns.all_stored
    sweeps = int(work.sweeps(p.wide_bits))
    blocks = sum(
        count * math.ceil(size * work.loaded_words / machine.lanes)
        for size, count in chunks.items()
    )
    bits = sum(
        count * float(input_words(work, size, machine.multipliers, machine.wide_bits))
        for size, count in chunks.items()
    )
    beats = _weights(work, machine, chunks, outputs, side)
    filters = layer.K * work.output_block
    loaded = beats.loaded * c.weight_reloads + parameter_beats(filters, machine.beat_bytes)
    stores = sum(count * _stores(work, machine, size, side) for size, count in outputs.items())
    leaving = layer.N * layer.G * math.prod(layer.pooled) * stores
    sums = 4 * layer.K * positions * work.window * c.rounds * sweeps
    vertical = c.rows.all_additions * c.columns.all_inputs * layer.N * layer.C
    read = positions * work.window * how.read_words(layer, c, machine.multipliers) * sweeps
    return Transfers(
        dram_weight=float(loaded * machine.beat_bytes),
        dram_input=float(inputs * blocks * machine.beat_bytes),
        dram_output=float(leaving * machine.beat_bytes),
        weight_written=beats.held * c.weight_reloads * machine.beat_bytes,
        weight_read=beats.read * c.places * sweeps * machine.beat_bytes,
        input_written=stored * bits / 8,
        input_read=read * _word_bits(work, machine) / 8,
        partial_sum_written=sums,
        partial_sum_read=sums,
        row_buffer=2 * vertical * c.input_reloads * how.input_block * work.row_bits / 8,
    )


def _word_bits(work: Work, machine: ArrayDescription) -> int:
    bits = work.precision.bits
    return max(machine.wide_bits, bits) if work.precision.is_integer else bits


def _stores(work: Work, machine: ArrayDescription, filters: int, side: int) -> int:
    """Beats of a position that leaves."""
    if work.output_block > 1:
        return -(-filters * work.output_block // machine.lanes)
    return -(-filters // min(machine.lanes, side))


@dataclass(frozen=True, slots=True)
class _Beats:
    """Beats of the weights of all groups: loaded, held, and read for a tile."""

    loaded: int
    held: float
    read: float


def _weights(
    work: Work, machine: ArrayDescription, chunks: Counter[int], outputs: Counter[int], side: int
) -> _Beats:
    layer, how = work.layer, work.execution
    p = Parameters.of((machine,)).take(np.array(0))
    loaded, read = 0, 0.0
    for channels, n in chunks.items():
        for filters, k in outputs.items():
            if how.in_sets:
                sets = -(-channels // machine.multipliers) * work.taps
                words = (
                    sets * -(-filters // side) * float(how.fill(np.array(min(side, filters)), p))
                )
                beats = math.ceil(words * how.dram_share(layer))
            else:
                words = filters * channels * how.dram_bits(layer) / 8 / machine.beat_bytes
                beats = math.ceil(words)
            loaded, read = loaded + n * k * beats, read + n * k * words
    held = read * how.held_share(layer)
    return _Beats(layer.G * loaded, layer.G * held, layer.G * read)


def operations(
    work: Work, tiling: Tiling, machine: ArrayDescription, ways: int, side: int
) -> ArrayOperations:
    """Operations that the machine executes; see ``transfers`` for the arguments."""
    del ways
    layer, c = work.layer, loops(work, tiling, machine, side)
    positions = layer.N * c.rows.all_positions * c.columns.all_positions * work.window
    wide = int(work.sweeps(np.array(machine.wide_bits)))
    products = work.execution.products(layer) * positions * wide
    accumulations = round(layer.K * positions * c.rounds * wide)
    leaving = layer.N * layer.K * math.prod(layer.pooled)
    before, behind = work.execution.additions(layer, c)
    inputs = layer.N * layer.C * c.rows.all_inputs * c.columns.all_inputs * c.input_reloads
    return ArrayOperations(
        multiplications=products,
        tree_additions=products - accumulations,
        accumulations=accumulations,
        input_additions=before,
        output_additions=leaving * work.output_block + behind,
        scalings=round(inputs * work.execution.input_block) if work.scaled else 0,
    )
