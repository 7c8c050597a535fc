"""How a layer's bits lie in sub-arrays, how often they are written there, and how long all takes.

All numbers are floats that hold whole ones, and arrays: (machines, mappings).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.in_memory.work import Products

__all__ = [
    "BOUNDS", "Counts", "Engines", "Laid", "Mappings", "counts", "laid", "mappings",
    "numbers", "times",
]  # fmt: skip

Floats = NDArray[np.float64]

BOUNDS = ("sub-arrays", "writes", "bus", "output unit", "DRAM")
"""What can set most of the cycles."""

_HALVINGS = 3  # of the columns that a mapping may leave empty


@dataclass(frozen=True, slots=True)
class Engines:
    """The numbers of several machines that set cycles; shape (machines, 1) each.

    Attributes:
        arrays: sub-arrays.
        rows: of a sub-array.
        columns: of a sub-array.
        segments: counters of a sub-array, and windows or filters side by side at most.
        sense_cycles: of two rows sensed together.
        write_cycles: of a row.
        bus_bits: a cycle from the buffer to the sub-arrays.
        output_lanes: sums a cycle that leave them.
        buffer_bits: of inputs and weights.
        dram_bits: a cycle.
        latency: cycles of counter and output unit.
    """

    arrays: Floats
    rows: Floats
    columns: Floats
    segments: Floats
    sense_cycles: Floats
    write_cycles: Floats
    bus_bits: Floats
    output_lanes: Floats
    buffer_bits: Floats
    dram_bits: Floats
    latency: Floats


@dataclass(frozen=True, slots=True)
class Mappings:
    """Ways to lay a layer out, for any machine; shape (mappings,) each.

    Attributes:
        halvings: columns in use are the machine's, halved so often.
        filters_packed: 1 where filters lie side by side in a row, 0 where windows do.
        windows_stay: 1 where windows are written once and filters pass, 0 the other way round.
        slice_ways: sub-arrays over which the slices of a long window are spread.
        group_ways: groups of channels at a time.
        filter_ways: sub-arrays over which filters are spread.
        window_ways: sub-arrays over which windows are spread.
    """

    halvings: Floats
    filters_packed: Floats
    windows_stay: Floats
    slice_ways: Floats
    group_ways: Floats
    filter_ways: Floats
    window_ways: Floats


@dataclass(frozen=True, slots=True)
class Laid:
    """A layer laid out on machines; shape (machines, mappings) each.

    Attributes:
        fits: whether it can lie so.
        windows_stay: whether windows are written once, and filters pass.
        slices: of a window.
        together: slices that one sub-array holds.
        slice_ways: sub-arrays over which they are spread.
        group_ways: groups of channels at a time.
        windows_in_row: side by side.
        filters_in_row: likewise.
        window_rows: rows of windows of a group, of one plane and slice.
        filter_rows: likewise.
        filter_ways: sub-arrays over which filters are spread.
        window_ways: sub-arrays over which windows are spread.
        own_filters: rows of filters of a sub-array, of those that have most.
        own_windows: likewise.
        filter_tile: rows of filters that it holds at a time.
        window_tile: likewise.
    """

    fits: NDArray[np.bool_]
    windows_stay: NDArray[np.bool_]
    slices: Floats
    together: Floats
    slice_ways: Floats
    group_ways: Floats
    windows_in_row: Floats
    filters_in_row: Floats
    window_rows: Floats
    filter_rows: Floats
    filter_ways: Floats
    window_ways: Floats
    own_filters: Floats
    own_windows: Floats
    filter_tile: Floats
    window_tile: Floats

    @property
    def filter_tiles(self) -> Floats:
        """Of the sub-arrays that have most."""
        return np.ceil(self.own_filters / self.filter_tile)

    @property
    def window_tiles(self) -> Floats:
        """Likewise."""
        return np.ceil(self.own_windows / self.window_tile)

    @property
    def filter_passes(self) -> Floats:
        """How often filters are written into the sub-arrays that have most."""
        passing = self.windows_stay & (self.filter_tiles > 1)
        return np.where(passing, self.window_tiles, 1)

    @property
    def window_passes(self) -> Floats:
        """Likewise."""
        passing = ~self.windows_stay & (self.window_tiles > 1)
        return np.where(passing, self.filter_tiles, 1)


@dataclass(frozen=True, slots=True)
class Counts:
    """What a layer does on machines, over the whole batch; shape (machines, mappings) each.

    Attributes:
        senses: pairs of rows that are sensed together.
        filter_bits: written, all copies.
        window_bits: likewise.
        counted_bits: of ANDs, and of windows alone for the least weight.
        sums: numbers of ones that are shifted and accumulated.
        merged: sums of slices that are added between sub-arrays.
        sent_bits: from the buffer to the sub-arrays.
        dram_weight_bits: from DRAM.
        dram_input_bits: likewise.
    """

    senses: Floats
    filter_bits: Floats
    window_bits: Floats
    counted_bits: Floats
    sums: Floats
    merged: Floats
    sent_bits: Floats
    dram_weight_bits: Floats
    dram_input_bits: Floats


def mappings(work: Products, engines: Engines) -> Mappings:
    """Ways to lay a layer out on machines.

    What is tried for fewer sub-arrays, or fewer columns, is tried for more of them too, so that
    more are no slower.

    Args:
        work: the layer.
        engines: the machines.
    """
    arrays, columns = int(engines.arrays.max()), engines.columns
    slices = int(np.ceil(work.length / columns.min()))
    beside = 2 * work.length <= columns.max()
    rows = [
        (halvings, packed, stay, slice_ways, groups, filters, windows)
        for halvings in (range(_HALVINGS + 1) if beside else (0,))
        for packed in ((0, 1) if beside else (0,))
        for stay in (0, 1)
        for groups in numbers(min(work.groups, arrays))
        for slice_ways in numbers(min(slices, arrays // groups))
        for filters in numbers(min(work.filters, arrays // (groups * slice_ways)))
        for windows in numbers(min(work.windows, arrays // (groups * slice_ways * filters)))
    ]
    return Mappings(*np.array(rows, float).T)


def numbers(most: int) -> list[int]:
    """Numbers of sub-arrays up to a greatest one: powers of two, and halfway between them."""
    found = {1 << n for n in range(most.bit_length())}
    found |= {3 << n for n in range(most.bit_length())}
    return sorted(one for one in found if one <= most)


def laid(work: Products, e: Engines, m: Mappings) -> Laid:
    """A layer on machines in several mappings.

    Args:
        work: the layer.
        e: the machines, (machines, 1).
        m: the mappings, (mappings,) or as many as machines.
    """
    columns = np.floor(e.columns / 2**m.halvings)
    slices = np.ceil(work.length / np.maximum(columns, 1))
    side = np.minimum(np.where(slices == 1, np.floor(columns / work.length), 1), e.segments)
    packed = m.filters_packed > 0
    windows_in_row, window_rows = _in_rows(work.windows, np.where(packed, 1, side))
    filters_in_row, filter_rows = _in_rows(work.filters, np.where(packed, side, 1))
    together = np.ceil(slices / m.slice_ways)
    slice_ways = np.ceil(slices / together)
    own_filters, own_windows = (
        np.ceil(filter_rows / m.filter_ways), np.ceil(window_rows / m.window_ways)
    )  # fmt: skip
    filter_ways, window_ways = (
        np.ceil(filter_rows / own_filters),
        np.ceil(window_rows / own_windows),
    )
    groups = np.ceil(work.groups / np.ceil(work.groups / m.group_ways))
    free = np.floor(e.rows / together)
    stay = np.broadcast_to(m.windows_stay > 0, free.shape)
    n, k = work.weight_bits, work.input_bits
    most_filters = np.minimum(own_filters, np.floor((free - k) / n))
    most_windows = np.minimum(own_windows, np.floor((free - n) / k))
    rest_windows = np.minimum(own_windows, np.floor((free - most_filters * n) / k))
    rest_filters = np.minimum(own_filters, np.floor((free - most_windows * k) / n))
    filter_tile = np.where(stay, rest_filters, most_filters)
    window_tile = np.where(stay, most_windows, rest_windows)
    used = slice_ways * groups * filter_ways * window_ways
    fits = (
        (np.minimum(filter_tile, window_tile) >= 1) & (used <= e.arrays) & (columns >= 1)
        & (_least_buffer(work) <= e.buffer_bits)
    )  # fmt: skip
    shapes = (
        slices, together, slice_ways, groups, windows_in_row, filters_in_row, window_rows,
        filter_rows, filter_ways, window_ways, own_filters, own_windows,
        np.maximum(filter_tile, 1), np.maximum(window_tile, 1),
    )  # fmt: skip
    return Laid(fits, stay, *(np.broadcast_to(one, fits.shape) for one in shapes))


def _least_buffer(work: Products) -> int:
    """Bits of the inputs of a row of positions, and of one filter."""
    return work.band_inputs * work.input_bits + work.length * work.weight_bits


def _in_rows(count: int, side: Floats) -> tuple[Floats, Floats]:
    """So many things side by side, evenly: how many in a row, and rows."""
    rows = np.ceil(count / np.clip(side, 1, count))
    return np.ceil(count / rows), rows


def counts(work: Products, e: Engines, x: Laid) -> Counts:
    """What a layer does."""
    n, k, g = work.weight_bits, work.input_bits, work.groups
    weights, inputs = g * work.filters * work.length * n, g * work.windows * work.length * k
    filter_loads = np.where(
        x.filter_passes == 1, x.window_ways, _tiles(x.window_rows, x.own_windows, x.window_tile)
    )
    window_loads = np.where(
        x.window_passes == 1, x.filter_ways, _tiles(x.filter_rows, x.own_filters, x.filter_tile)
    )
    pairs = g * work.filters * work.windows
    sums = g * work.windows * k * x.slices
    whole, stored = weights, work.stored_inputs * k
    both = whole + stored <= e.buffer_bits
    tile = x.filter_tile * x.filter_ways * x.filters_in_row * work.length * n
    band = work.band_inputs * k
    input_stays = both | (stored + np.minimum(tile, whole) <= e.buffer_bits)
    weight_stays = both | ((whole + band <= e.buffer_bits) & (not work.made_here))
    loads = np.zeros(1) if work.made_here else np.where(input_stays, 1, x.window_passes)
    return Counts(
        senses=g * x.filter_rows * x.window_rows * n * k * x.slices,
        filter_bits=weights * x.windows_in_row * filter_loads,
        window_bits=inputs * x.filters_in_row * window_loads,
        counted_bits=pairs * work.length * n * k + inputs * window_loads,
        sums=pairs * n * k * x.slices + sums * window_loads,
        merged=pairs * (x.slice_ways - 1),
        sent_bits=weights * x.filter_passes + inputs * x.window_passes,
        dram_weight_bits=weights * np.where(weight_stays, 1, x.filter_passes),
        dram_input_bits=work.loaded_bits * loads,
    )


def _tiles(rows: Floats, own: Floats, tile: Floats) -> Floats:
    """Tiles of all sub-arrays together: of those that have most, and of the last one."""
    full = np.floor(rows / own)
    return full * np.ceil(own / tile) + np.ceil((rows - full * own) / tile)


def times(work: Products, e: Engines, x: Laid, c: Counts) -> tuple[Floats, ...]:
    """Cycles, and those that each of ``BOUNDS`` takes by itself.

    Sub-arrays work in step: all write rows, as the bus brings them, then all sense pairs of them
    while sums leave. DRAM fills the buffer meanwhile.

    Returns:
        All cycles, then one for each of ``BOUNDS``.
    """
    filters, windows = _edges(x.own_filters, x.filter_tile), _edges(x.own_windows, x.window_tile)
    rounds = np.ceil(work.groups / x.group_ways)
    n, k = work.weight_bits * x.together, work.input_bits * x.together
    senses = sums = sensing = np.zeros(x.fits.shape)
    arrays = x.group_ways * x.slice_ways * x.filter_ways * x.window_ways
    side = x.filters_in_row * x.windows_in_row
    for times_f, f in filters:
        for times_w, w in windows:
            one = f * n * w * work.input_bits * e.sense_cycles
            out = np.ceil(arrays * f * w * side / e.output_lanes)
            senses = senses + times_f * times_w * one
            sums = sums + times_f * times_w * out
            sensing = sensing + times_f * times_w * np.maximum(one, out)
    written = sent = loading = np.zeros(x.fits.shape)
    of_filters = x.group_ways * x.filter_ways * x.filters_in_row * work.length * work.weight_bits
    of_windows = x.group_ways * x.window_ways * x.windows_in_row * work.length * work.input_bits
    for passes, edges, planes, bits in (
        (x.filter_passes, filters, n, of_filters), (x.window_passes, windows, k, of_windows),
    ):  # fmt: skip
        for often, tile in edges:
            rows = tile * planes * e.write_cycles
            bus = np.ceil(tile * bits / e.bus_bits)
            written, sent = written + passes * often * rows, sent + passes * often * bus
            loading = loading + passes * often * np.maximum(rows, bus)
    moved = c.dram_weight_bits + c.dram_input_bits + work.written_bits
    dram = np.ceil(moved / e.dram_bits)
    steps = rounds * (sensing + loading)
    total = np.maximum(steps, dram) + e.latency
    return total, *(rounds * part for part in (senses, written, sent, sums)), dram


def _edges(own: Floats, tile: Floats) -> tuple[tuple[Floats, Floats], ...]:
    """Whole tiles, and the last one: how many of each, and how large."""
    whole = np.floor(own / tile)
    last = own - whole * tile
    return (whole, tile), ((last > 0).astype(float), last)
