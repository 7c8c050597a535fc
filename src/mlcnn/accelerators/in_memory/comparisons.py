"""How inputs that are compared lie in sub-arrays, and what comparing them takes.

A row holds a bit plane of some neighbouring channels at one place of several strips of the output,
side by side. The two taps of a pair lie in rows of the same columns then, and one comparison is
that of all these channels and strips: of those that share the pair, as many as columns hold. All
that is in this file is our reconstruction; see ``mlcnn.accelerators.in_memory``.

All numbers are floats that hold whole ones, and arrays: (machines, mappings).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.cost import LayerTask
from mlcnn.accelerators.in_memory.mapping import Engines, numbers

__all__ = [
    "OPERATIONS", "Comparisons", "Done", "Placed", "Strips", "comparisons_of", "done",
    "durations", "placed", "strips",
]  # fmt: skip

Floats = NDArray[np.float64]

OPERATIONS = 2
"""Of rows, for each plane: both taps' XOR, and the AND of the first with where they differ."""
_LATCHED = 3  # bits of a column that each plane sets; and one more when a comparison leaves


@dataclass(frozen=True, slots=True)
class Comparisons:
    """What is compared.

    Attributes:
        images: of the batch.
        height: of the output, before a pool behind it.
        width: likewise.
        channels: of the input.
        pairs: of taps, for each channel.
        share: neighbouring channels that have the same pairs.
        bits: of an input.
        reach: (height, width) of a window, gaps of dilation included.
        steps: (height, width) from one window to the next, no more than its reach.
        stored_inputs: all inputs, as the buffer holds them.
        band_inputs: those that one row of positions reads, of one image.
        loaded_bits: of an input as it comes from DRAM.
    """

    images: int
    height: int
    width: int
    channels: int
    pairs: int
    share: int
    bits: int
    reach: tuple[int, int]
    steps: tuple[int, int]
    stored_inputs: int
    band_inputs: int
    loaded_bits: int

    @property
    def maps(self) -> int:
        """Bits of a position: inputs of the layer that adds them."""
        return self.pairs * self.channels

    @property
    def made_bits(self) -> int:
        """Of all positions."""
        return self.images * self.height * self.width * self.maps


def comparisons_of(task: LayerTask) -> Comparisons:
    """What a comparator layer compares.

    Args:
        task: the layer; its weights are ``comparator`` with the options ``pairs`` and ``share``.
    """
    nest, options = task.nest, dict(task.layer.weights.options)
    bits = task.layer.numbers.input
    sizes = zip((nest.R, nest.S), nest.dilations, strict=True)
    reach = tuple((size - 1) * dilation + 1 for size, dilation in sizes)
    return Comparisons(
        images=nest.N,
        height=nest.P,
        width=nest.Q,
        channels=nest.C,
        pairs=int(options["pairs"]),
        share=min(int(options["share"]), nest.C),
        bits=bits,
        reach=(reach[0], reach[1]),
        steps=(min(nest.strides[0], reach[0]), min(nest.strides[1], reach[1])),
        stored_inputs=nest.N * nest.C * nest.H * nest.W,
        band_inputs=nest.C * min(reach[0], nest.H) * nest.W,
        loaded_bits=min(task.loaded_bits, bits),
    )


@dataclass(frozen=True, slots=True)
class Strips:
    """Ways to lay inputs out, for any machine; shape (mappings,) each.

    Attributes:
        halvings: columns in use are the machine's, halved so often.
        height: rows of positions of a strip.
        width: positions of such a row.
        unit_ways: sub-arrays over which rows of strips are spread.
        pair_ways: sub-arrays over which pairs are spread, each with a copy.
    """

    halvings: Floats
    height: Floats
    width: Floats
    unit_ways: Floats
    pair_ways: Floats


@dataclass(frozen=True, slots=True)
class Placed:
    """Inputs laid out on machines; shape (machines, mappings) each.

    Attributes:
        fits: whether they can lie so.
        channels: side by side, of each strip of a row.
        blocks: of so many channels, at most.
        blocks_at_a_time: that units in different sub-arrays belong to, at most.
        height: rows of positions of a strip.
        width: positions of such a row.
        strips: of all images.
        strips_in_row: side by side.
        units: rows of strips, of all blocks; a unit has its rows to itself while it is compared.
        unit_ways: sub-arrays over which units are spread.
        rounds: units of the sub-arrays that have most.
        pair_ways: sub-arrays over which pairs are spread.
        own_pairs: of the sub-arrays that have most.
        first_places: of inputs, of a strip, that are written before its first row of positions.
        next_places: likewise, before each further one, in rows that are not needed any more.
    """

    fits: NDArray[np.bool_]
    channels: Floats
    blocks: Floats
    blocks_at_a_time: Floats
    height: Floats
    width: Floats
    strips: Floats
    strips_in_row: Floats
    units: Floats
    unit_ways: Floats
    rounds: Floats
    pair_ways: Floats
    own_pairs: Floats
    first_places: Floats
    next_places: Floats

    @property
    def places(self) -> Floats:
        """Of inputs that are written for a strip."""
        return self.first_places + (self.height - 1) * self.next_places


@dataclass(frozen=True, slots=True)
class Done:
    """What comparing takes, over the whole batch; shape (machines, mappings) each.

    Attributes:
        senses: pairs of rows that are sensed together.
        compared: comparisons, those of a strip beyond the border included.
        latched_bits: set in latches of columns.
        written_bits: into cells, all copies.
        sent_bits: from the buffer to the sub-arrays.
        dram_input_bits: from DRAM.
    """

    senses: Floats
    compared: Floats
    latched_bits: Floats
    written_bits: Floats
    sent_bits: Floats
    dram_input_bits: Floats


def strips(work: Comparisons, engines: Engines) -> Strips:
    """Ways to lay inputs out on machines.

    What is tried for fewer sub-arrays, or half the columns, is tried for more of them too, so that
    more are no slower.

    Args:
        work: what is compared.
        engines: the machines.
    """
    arrays, columns = int(engines.arrays.max()), int(engines.columns.max())
    halvings = range(max(columns // min(work.share, columns), 1).bit_length())
    most_wide = max(int(engines.rows.max()) // work.bits, 1)
    rows = [
        (halved, height, width, units, pairs)
        for height in _evenly(work.height)
        for width in _evenly(work.width)
        if width <= most_wide
        for halved in halvings
        for pairs in numbers(min(work.pairs, arrays))
        for units in numbers(arrays // pairs)
    ]
    return Strips(*np.array(rows, float).T)


def _evenly(size: int) -> list[int]:
    """Sizes of parts, of different numbers of equal ones."""
    return sorted({math.ceil(size / count) for count in numbers(size)} | {1})


def placed(work: Comparisons, e: Engines, m: Strips) -> Placed:
    """Inputs on machines in several mappings.

    Args:
        work: what is compared.
        e: the machines, (machines, 1).
        m: the mappings, (mappings,) or as many as machines.
    """
    columns = np.floor(e.columns / 2**m.halvings)
    channels = np.minimum(work.share, e.columns)
    shares, rest = divmod(work.channels, work.share)
    blocks = shares * np.ceil(work.share / channels) + np.ceil(rest / channels)
    count = work.images * np.ceil(work.height / m.height) * np.ceil(work.width / m.width)
    rows = np.ceil(count / np.clip(np.floor(columns / channels), 1, count))
    units = blocks * rows
    rounds = np.ceil(units / m.unit_ways)
    unit_ways = np.ceil(units / rounds)
    own_pairs = np.ceil(work.pairs / m.pair_ways)
    pair_ways = np.ceil(work.pairs / own_pairs)
    at_a_time = np.minimum(np.ceil((unit_ways - 1) / rows) + 1, blocks)
    wide = work.reach[1] + (m.width - 1) * work.steps[1]
    fits = (
        (work.reach[0] * wide * work.bits <= e.rows) & (columns >= channels)
        & (unit_ways * pair_ways <= e.arrays) & (work.band_inputs * work.bits <= e.buffer_bits)
    )  # fmt: skip
    shapes = (
        channels, blocks, at_a_time, m.height, m.width, count, np.ceil(count / rows), units,
        unit_ways, rounds, pair_ways, own_pairs, work.reach[0] * wide, work.steps[0] * wide,
    )  # fmt: skip
    return Placed(fits, *(np.broadcast_to(one, fits.shape) for one in shapes))


def done(work: Comparisons, e: Engines, x: Placed, kept_bits: int) -> Done:
    """What comparing takes.

    The border's strips are as large as the others. Blocks of channels follow one another; inputs
    come from DRAM once where the buffer holds those of all blocks that are compared at a time,
    and elsewhere with all that strips have in common.

    Args:
        work: what is compared.
        e: the machines.
        x: how it lies there.
        kept_bits: of comparisons, in the buffer.
    """
    positions = x.height * x.width
    compared = x.strips * positions * work.maps
    values = x.strips * x.places * work.channels
    share = np.minimum(x.blocks_at_a_time * x.channels / work.channels, 1)
    stay = work.stored_inputs * work.bits * share + kept_bits <= e.buffer_bits
    return Done(
        senses=x.units * positions * work.pairs * OPERATIONS * work.bits,
        compared=compared,
        latched_bits=compared * (_LATCHED * work.bits + 1),
        written_bits=values * work.bits * x.pair_ways,
        sent_bits=values * work.bits,
        dram_input_bits=np.where(stay, work.stored_inputs, values) * work.loaded_bits,
    )


def durations(
    work: Comparisons, e: Engines, x: Placed, taken: Done, spilled_bits: int
) -> tuple[Floats, ...]:
    """Cycles, and those that each of ``BOUNDS`` takes by itself.

    Sub-arrays work in step, a unit each: all write the inputs of a row of positions, as the bus
    brings them, then all compare, while the bits of the comparison before leave. DRAM fills the
    buffer meanwhile, and takes the bits that the buffer does not hold.

    Args:
        work: what is compared.
        e: the machines.
        x: how it lies there.
        taken: what is done.
        spilled_bits: of comparisons, written to DRAM.

    Returns:
        All cycles, then one for each of ``BOUNDS``.
    """
    side = x.unit_ways * x.strips_in_row * x.channels
    written = sent = loading = np.zeros(x.fits.shape)
    for often, places in ((np.ones(1), x.first_places), (x.height - 1, x.next_places)):
        rows = places * work.bits * e.write_cycles
        bus = np.ceil(side * places * work.bits / e.bus_bits)
        written, sent = written + often * rows, sent + often * bus
        loading = loading + often * np.maximum(rows, bus)
    steps = x.height * x.width * x.own_pairs
    sensing = OPERATIONS * work.bits * e.sense_cycles
    leaving = np.ceil(side * x.pair_ways / e.bus_bits)
    dram = np.ceil((taken.dram_input_bits + spilled_bits) / e.dram_bits)
    busy = x.rounds * (loading + steps * np.maximum(sensing, leaving))
    none = np.zeros(x.fits.shape)
    bounds = steps * sensing, written, sent + steps * leaving, none
    return np.maximum(busy, dram), *(x.rounds * part for part in bounds), dram + none
