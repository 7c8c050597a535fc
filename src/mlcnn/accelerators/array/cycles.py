"""Cycles of a layer in closed form, for many tilings and many machines at once.

The machine advances in steps. While a step computes one chunk of input channels for one tile of
outputs, the chunk of the next step comes in, and the tile that was finished before goes out:

    step = max(compute, load, leave, 1)
    layer = begin + first load + steps + last store

``steps`` says how long each of them takes. Steps fall into few classes (``order``): the layer is
the sum over these. Tiles at an edge and the last chunk take as long as they are.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.order import (
    MANY,
    NOTHING,
    Windows,
    form_of,
    output_windows,
    place_windows,
)
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.steps import (
    CONFIGURATION_BEATS,
    Sets,
    begin_cycles,
    command_cycles,
    issues_of,
    leave_beats,
    leave_cycles,
    load_cycles,
    sets_in,
    sets_of,
)
from mlcnn.accelerators.array.tiling import Amounts, Indices, Place, Tilings
from mlcnn.accelerators.array.work import Passing, Work

__all__ = [
    "Schedule",
    "Split",
    "begin_of",
    "held_places",
    "input_words",
    "parameter_beats",
    "passing_cycles",
    "row_bytes",
    "schedule",
    "split",
]


@dataclass(frozen=True, slots=True)
class Split:
    """How a tile is spread over the slices.

    Attributes:
        ways: positions that different slices work on at a time.
        side: slices of each way; 0 where there are none.
        turns: groups of output channels that take turns on them.
    """

    ways: Indices
    side: Indices
    turns: Indices


def split(p: Parameters, halvings: Any, filters: Any) -> Split:
    """Half the slices of a way, and twice the ways, so often; no more slices than a turn needs.

    Args:
        p: the machines.
        halvings: how often. Where there are no more ways, slices stay idle.
        filters: output channels of a tile.
    """
    most = p.slices >> halvings
    turns = -(-filters // np.maximum(most, 1))
    ways = np.minimum(p.most_ways, 1 << np.asarray(halvings))
    return Split(ways, np.where(most > 0, -(-filters // turns), 0), turns)


@lru_cache(maxsize=1024)
def passing_cycles(work: Work, adders: float, least: int) -> Indices:
    """Cycles in which a tile passes the input unit, one beat of channels; shape (places, 4).

    Args:
        work: the layer, not scaled.
        adders: of a lane and direction.
        least: cycles of a position, at least.
    """
    return np.array([_passing(place, adders, least) for place in tilings(work).choices.places])


def _passing(place: Place, adders: float, least: int) -> tuple[int, ...]:
    rows, columns = place.rows, place.columns
    return tuple(
        images * _rates(height.sums, width.sums, adders, least)
        for images, height in ((place.images, rows.whole), (place.last_images, rows.last))
        for width in (columns.whole, columns.last)
    )


@lru_cache(maxsize=65536)
def _rates(
    rows: tuple[tuple[int, int], ...],
    columns: tuple[tuple[int, int], ...],
    adders: float,
    least: int,
) -> int:
    """Cycles of all positions: sums down the columns beside those along the row."""
    added, completed = np.array(rows).T[:, :, None]
    along = completed * np.ceil(np.array(columns)[:, 0] / adders)
    cycles = np.maximum(np.maximum(along, np.ceil(added / adders)), least)
    return int(cycles.sum())


def parameter_beats(filters: Any, beat_bytes: Any) -> Any:
    """Beats of bias and scale of each output channel, and of the configuration."""
    return -(-8 * filters // beat_bytes) + CONFIGURATION_BEATS


def begin_of(work: Work, p: Parameters) -> Any:
    """Cycles of a layer beside its steps.

    Args:
        work: the layer.
        p: the machines.
    """
    filters = work.layer.K * work.output_block
    slow = (p.beat_cycles - 1) * parameter_beats(filters, p.beat_bytes)
    return begin_cycles(p.hardware(p.slices), filters) + np.ceil(slow)


def held_places(t: Tilings, tiles: Indices, groups: int) -> tuple[Indices, Indices]:
    """Chunks of weights and of inputs that are held at a time.

    An operand that is loaded again has two places, one in use and one being filled; a kept one has
    a place for each of its chunks and one more, so that the next tile's come in behind the last
    use of these. Weights that are all there will ever be need no more than themselves; inputs get
    their second place in any case, so that a further image fits where one does.

    Args:
        t: the tilings.
        tiles: of positions, in all.
        groups: of channels.
    """
    chunks, outer, kept = t.input_chunks, t.weights_outer > 0, t.kept > 0
    places = np.where(kept, chunks, 1) + 1
    weights = groups * t.output_tiles * np.where(kept & outer, chunks, chunks * tiles)
    return np.minimum(np.where(outer, places, 2), weights), np.where(outer, 2, places)


def input_words(work: Work, channels: Any, multipliers: Any, wide_bits: Any) -> Any:
    """Bits in the memory of inputs behind each position that is stored.

    Args:
        work: the layer.
        channels: of a chunk; they take whole words of a bank.
        multipliers: of a slice.
        wide_bits: of a word.
    """
    if work.execution.in_sets:
        channels = -(-channels // multipliers) * multipliers
    bits = work.precision.bits
    if work.precision.is_integer:
        bits = work.sweeps(wide_bits) * np.maximum(wide_bits, bits)
    return channels * work.execution.words * bits


def row_bytes(work: Work, columns: Any, lanes: Any) -> Any:
    """Bytes of the row buffer for rows of so many inputs."""
    return work.execution.open_sums(work.rows) * columns * lanes * work.row_bits / 8


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cycles of pairs of a machine and a tiling; infinite where a tiling does not fit.

    Attributes:
        cycles: all of them, one entry for each pair.
        dram_bytes: loaded and stored.
        split: how tiles are spread over the slices; one entry each.
        owner: pair of each class of steps; shape (classes,), as those below.
        count: steps of the class.
        compute: cycles of the array.
        refill: of these, those that wait for weights.
        load: cycles until all is loaded.
        unit: whether the input unit, not DRAM, sets these.
        leave: cycles until the tile before is stored.
        begin: cycles of a layer beside its steps; one for each pair.
    """

    cycles: Amounts
    dram_bytes: Amounts
    split: Split
    owner: Indices
    count: Indices
    compute: Amounts
    refill: Amounts
    load: Amounts
    unit: Amounts
    leave: Amounts
    begin: Amounts


def schedule(work: Work, t: Tilings, p: Parameters, halvings: Indices) -> Schedule:
    """Cycles of pairs of a machine and a tiling.

    Args:
        work: the layer.
        t: a tiling for each pair.
        p: a machine for each pair, flat.
        halvings: of the slices, for each pair; see ``split``.
    """
    return _Pairs(work, t, p, halvings).schedule()


@dataclass(frozen=True, slots=True)
class _Loops:
    """The loops of a layer in every way to cut it: of a group, and of all groups as the outer."""

    places: Windows
    outputs: Windows
    all_places: Windows
    all_outputs: Windows


@lru_cache(maxsize=512)
def _loops(work: Work) -> _Loops:
    t, groups = tilings(work), work.layer.G
    filters = work.layer.K // groups
    tiles = -(-filters // t.cuts)
    smaller = (filters < tiles * t.cuts).astype(np.int64)
    return _Loops(
        place_windows(t.choices.places, 1),
        output_windows(tiles, smaller, 1),
        place_windows(t.choices.places, groups),
        output_windows(tiles, smaller, groups),
    )


class _Pairs:
    """Sizes of pairs, by class of tiles and chunks; then the steps of all of them in one."""

    def __init__(self, work: Work, t: Tilings, p: Parameters, halvings: Indices) -> None:
        self.work, self.t, self.p = work, t, p
        self.split = split(p, halvings, t.output_channels)
        self.side = np.maximum(self.split.side, 1)
        self.filters = np.stack([t.output_channels, t.last_outputs], 1)
        self.channels = np.stack([t.input_channels, t.last_channels], 1)
        spots = t.spots
        lines = -(-spots.lines[t.place] // self.split.ways[:, None])
        self.positions = lines * spots.line[t.place]
        self.all_positions = (spots.lines * spots.line)[t.place]

    def passing(self, owner: Indices, place: Indices, inputs: Indices) -> Indices:
        """Cycles of the input unit for a beat of channels of a tile, for pairs ``owner``."""
        p, work = self.p, self.work
        least = -(-p.lanes // np.maximum(p.input_scalers, 1)) if work.scaled else 1
        adders = np.where(p.input_adders > 0, p.input_adders / (2 * p.lanes), 1.0)
        # Two numbers in one, which finds the different ones in one pass.
        coded, which = np.unique(least + adders * 2.0**-20, return_inverse=True)
        layer, tables = replace(work, scaled=False), list[Indices]()
        for code in coded.tolist():
            tables.append(passing_cycles(layer, (code % 1) * 2**20, int(code)))
        if len(tables) == 1:
            return tables[0][place, inputs]
        return np.stack(tables)[which.reshape(-1)[owner], place, inputs]

    def fits(self) -> Indices:
        """Whether memories, accumulators and row buffer hold what they have to."""
        work, t, p, spots = self.work, self.t, self.p, self.t.spots
        sums = 2 * self.split.turns * self.positions[:, 0] * work.sums
        tiles = spots.tiles[t.place]
        of_weights, of_inputs = held_places(t, tiles, work.layer.G)
        bits = spots.stored[t.place] * input_words(
            work, t.input_channels, p.multipliers, p.wide_bits
        )
        fits = (self.split.side > 0) & (sums <= p.accumulator_entries)
        fits &= bits * of_inputs <= 8 * p.input_bytes
        fits &= self._held(of_weights) <= p.weight_bytes
        return fits & (row_bytes(work, spots.columns[t.place], p.lanes) <= p.row_buffer_bytes)

    def _held(self, places: Indices) -> Any:
        """Bytes of weights."""
        work, t, how = self.work, self.t, self.work.execution
        if not how.in_sets:
            bits = how.tile_weight_bits(work.layer, t.output_channels, t.input_channels)
            return places * bits / 8
        fill = how.fill(self.side, self.p)
        sets = -(-t.input_channels // self.p.multipliers) * work.taps
        words = np.ceil(sets * self.split.turns * fill * how.held_share(work.layer))
        return places * words * self.p.beat_bytes

    def steps(self) -> tuple[Indices, Indices, Indices]:
        """Classes of steps: their fields, shape (fields, classes), their counts, and the pair."""
        t, loops = self.t, _loops(replace(self.work, scaled=False))
        chunks = np.minimum(t.input_chunks, MANY)
        codes = loops.places.kind[t.place], loops.outputs.kind[t.output], chunks
        code = np.ravel_multi_index((*codes, t.weights_outer, t.kept), (1 << 10, 1 << 10, 4, 2, 2))
        found: list[tuple[Indices, Indices, Indices]] = []
        for one in np.unique(code).tolist():
            pairs = np.flatnonzero(code == one)
            found.append(self._alike(pairs, loops, int(chunks[pairs[0]])))
        steps, counts, owners = zip(*found, strict=True)
        return np.concatenate(steps, axis=1), np.concatenate(counts), np.concatenate(owners)

    def _alike(
        self, pairs: Indices, loops: "_Loops", chunks: int
    ) -> tuple[Indices, Indices, Indices]:
        """The same of pairs whose loops have the same windows."""
        t, first = self.t, pairs[0]
        outer, kept = bool(t.weights_outer[first]), bool(t.kept[first])
        sides = (loops.all_outputs, t.output), (loops.places, t.place)
        if not outer:
            sides = (loops.all_places, t.place), (loops.outputs, t.output)
        (around, which), (within, what) = sides
        kinds = [one.kinds[one.kind[cut[first]]] for one, cut in sides]
        form = form_of(*kinds, chunks, weights_outer=outer, kept=kept)
        outside = around.counts[which[pairs], : len(kinds[0])]
        inside = within.counts[what[pairs], : len(kinds[1])]
        both = (outside[:, :, None] * inside[:, None, :]).reshape(len(pairs), -1)
        counts = both @ form.times.reshape(len(form.steps), -1).T
        beyond = t.input_chunks[pairs] - chunks
        if beyond.any():
            more = both @ form.more.reshape(len(form.steps), -1).T
            counts = counts + beyond[:, None] * more
        steps = np.tile(form.steps.T, len(pairs))
        return steps, counts.reshape(-1), np.repeat(pairs, len(form.steps))

    def schedule(self) -> Schedule:
        """All steps of all pairs side by side, then their sums."""
        classes, counts, owner = self.steps()
        steps = _Steps(self, owner, classes)
        filters, beat_bytes = self.work.layer.K * self.work.output_block, self.p.beat_bytes
        begin = begin_of(self.work, self.p)
        longest = np.maximum(np.maximum(steps.compute, steps.load), np.maximum(steps.leave, 1))

        def over(values: Amounts) -> Amounts:
            return np.bincount(owner, counts * values, minlength=len(self.side))

        cycles = over(longest) + begin
        beats = over(steps.weight_beats + steps.stores)
        beats = beats + self._input_beats() + parameter_beats(filters, beat_bytes)
        return Schedule(
            np.where(self.fits(), cycles, np.inf), beats * beat_bytes, self.split, owner,
            counts, steps.compute, steps.refill, steps.load, steps.unit, steps.leave,
            np.broadcast_to(begin, cycles.shape),
        )  # fmt: skip

    def _input_beats(self) -> Amounts:
        """Beats of inputs, without the padding."""
        t = self.t
        whole = np.ceil(t.input_channels * self.work.loaded_words / self.p.lanes)
        last = np.ceil(t.last_channels * self.work.loaded_words / self.p.lanes)
        alone = (t.kept > 0) & (t.weights_outer == 0)
        times = np.where(alone, 1, t.output_tiles) * self.work.layer.G
        return t.spots.loaded[t.place] * times * ((t.input_chunks - 1) * whole + last)


class _Steps:
    """What the steps of every class take; flat arrays."""

    def __init__(self, pairs: _Pairs, owner: Indices, classes: Indices) -> None:
        self._pairs, self._owner, self._work = pairs, owner, pairs.work
        output, place, chunk, *rest = classes
        self._p = _picked(pairs.p, owner)
        self._side, self._ways = pairs.side[owner], pairs.split.ways[owner]
        self._hardware = self._p.hardware(self._side * self._ways)
        self._compute(output, place, chunk)
        self._load(*rest[:3])
        self._leave(*rest[3:])

    def _compute(self, output: Indices, place: Indices, chunk: Indices) -> None:
        """Cycles of the array; ``NOTHING`` picks any tile, and counts for nothing."""
        filters, channels = self._filters(output), self._channels(chunk)
        sets = self._sets(filters, channels, self._pairs.positions[self._owner, place])
        works = output != NOTHING
        turns = -(-filters // self._side)
        issues = sets.cycles - (sets.fill + 1) - (sets.count - 1) * sets.interval  # of the last one
        in_time = np.maximum(issues, np.ceil(self._p.accumulator_latency / turns))
        self.compute = np.where(works, sets.cycles, 0)
        self.refill = np.where(works, (sets.count - 1) * (sets.interval - in_time), 0)

    def _sets(self, filters: Indices, channels: Indices, positions: Indices) -> Sets:
        """What the array does with one chunk."""
        work, how, p = self._work, self._work.execution, self._p
        if how.in_sets:
            return sets_of(
                self._hardware, filters, channels, work.taps, positions, ways=self._ways,
                window=work.window, sweeps=work.sweeps(p.wide_bits),
            )  # fmt: skip
        turns = -(-filters // self._side)
        fill = np.ceil(how.fill(np.minimum(self._side, filters), p))
        count = how.passes(self._pairs.filters[self._owner, 0], self._side) * channels * turns
        issues = issues_of(self._hardware, positions, work.window)
        return sets_in(self._hardware, count, turns, fill, issues)

    def _load(self, weights: Indices, inputs: Indices, chunk: Indices) -> None:
        """Commands of what comes in, and cycles until it is there."""
        work, p, how = self._work, self._p, self._work.execution
        filters, channels = self._filters(weights), self._channels(chunk)
        with_weights, with_inputs = weights != NOTHING, inputs != NOTHING
        beats = np.where(with_weights, self._weight_beats(filters, channels), 0)
        blocks = np.ceil(channels * work.loaded_words / p.lanes)
        spots, place = self._pairs.t.spots, self._pairs.t.place[self._owner]
        passing = Passing(
            spots.made[place, inputs], (spots.lines * spots.line)[place, inputs], filters, channels
        )
        of_inputs, of_weights = how.input_cycles(passing, p)
        cycles = np.maximum(blocks * self._passing(place, inputs), of_inputs)
        cycles = np.where(with_inputs, cycles, 0)
        taken = np.where(with_weights, np.maximum(beats, of_weights), 0)
        positions = np.where(with_inputs, blocks * spots.passing[place, inputs], 0)
        loaded = np.ceil((beats + positions) * p.beat_cycles)
        self._commands = np.maximum(
            taken + cycles, command_cycles(beats, cycles, positions, p.beat_cycles)
        )
        self.load = load_cycles(self._hardware, self._commands - cycles, cycles)
        self.unit = self._commands > loaded
        self.weight_beats = beats

    def _weight_beats(self, filters: Indices, channels: Indices) -> Amounts:
        """Beats of a chunk of weights."""
        work, how, p = self._work, self._work.execution, self._p
        if not how.in_sets:
            bits = filters * channels * how.dram_bits(work.layer)
            return np.ceil(bits / 8 / p.beat_bytes)
        sets = -(-channels // p.multipliers) * work.taps
        fill = how.fill(np.minimum(self._side, filters), p)
        return np.ceil(sets * -(-filters // self._side) * fill * how.dram_share(work.layer))

    def _passing(self, place: Indices, inputs: Indices) -> Indices:
        """Cycles of a tile of one beat of channels."""
        return self._pairs.passing(self._owner, place, inputs)

    def _leave(self, output: Indices, place: Indices) -> None:
        """Cycles of a finished tile through the output unit, behind the commands of the loads."""
        work, p, pairs = self._work, self._p, self._pairs
        leaves, filters = output != NOTHING, self._filters(output)
        spots, places = pairs.t.spots, pairs.t.place[self._owner]
        positions = pairs.all_positions[self._owner, place]
        entries = leave_beats(self._hardware, positions * work.sums, filters, self._ways)
        outputs = spots.outputs[places, place]
        stores = leave_beats(self._hardware, outputs, filters, self._ways)
        if work.output_block > 1:
            stores = outputs * -(-filters * work.output_block // p.lanes)
        passing = Passing(outputs, positions, filters, filters)
        taken = np.maximum(entries, np.ceil(stores * p.beat_cycles))
        taken = np.maximum(taken, work.execution.returning_cycles(passing, p))
        self.leave = np.where(leaves, leave_cycles(self._hardware, self._commands, taken), 0)
        self.stores = np.where(leaves, stores, 0)

    def _filters(self, output: Indices) -> Indices:
        return self._pairs.filters[self._owner, output]

    def _channels(self, chunk: Indices) -> Indices:
        return self._pairs.channels[self._owner, chunk]


def _picked(p: Parameters, owner: Indices) -> Parameters:
    """The machine of each class of steps; one that all pairs share stays one."""
    if np.ndim(p.slices) == 0:
        return p
    return Parameters(*(getattr(p, field.name)[owner] for field in fields(p)))
