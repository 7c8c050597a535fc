"""A lower bound of the cycles of a tiling, in few operations.

It rules out most tilings, so that the exact search looks at few; where compute hides everything
else it is exact, but for tiles of unequal size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import (
    begin_of,
    held_places,
    input_words,
    row_bytes,
    split,
)
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.steps import issues_of
from mlcnn.accelerators.array.tiling import Amounts, Indices
from mlcnn.accelerators.array.work import Work

__all__ = ["Bounds", "Needs", "halvings_of", "needs"]

# What is rounded is so much less, which keeps the bound below.
_BELOW = 1 - 1e-12
_FAR = 2.0**80


def halvings_of(p: Parameters) -> int:
    """How often slices are halved, at most: fewer than fill one beat of weights gain nothing."""
    most, fill = int(p.slices.max()), max(int(p.groups.min()), 1)
    return 1 + max(math.ceil(math.log2(most / fill)) if most > fill else 0, 0)


# What sets how long an array computes, and what fits beside it.
_ARRAY = (
    "slices", "multipliers", "lanes", "groups", "beat_bytes", "most_ways", "wide_bits",
    "accumulator_entries", "accumulator_latency", "pipeline_depth", "output_stages",
)  # fmt: skip
_MEMORY = ("input_bytes", "weight_bytes", "row_buffer_bytes", "dram_latency", "input_stages")


@dataclass(frozen=True, slots=True)
class Needs:
    """What the tilings of a layer need on machines of one word, beat and slice; one entry each.

    Attributes:
        sets: of weights of all input channels of a group.
        blocks: beats of a position of all input channels of a group.
        first_sets: of the first chunk.
        first_blocks: of the first chunk.
        pairs: tiles of outputs of all groups.
        outer: tiles of the outer loop, of all groups.
        weight_loads: how often each weight comes in.
        input_loads: how often each input comes in.
        input_steps: steps that load inputs.
        weight_places: chunks of weights that are held.
        input_bits: bits of inputs that are held.
        row_bytes: of the row buffer.
        dram_bytes: that are moved at least, however the slices are split; without those of bias,
            scale and configuration.
    """

    sets: Amounts
    blocks: Amounts
    first_sets: Amounts
    first_blocks: Amounts
    pairs: Amounts
    outer: Amounts
    weight_loads: Amounts
    input_loads: Amounts
    input_steps: Amounts
    weight_places: Amounts
    input_bits: Amounts
    row_bytes: Amounts
    dram_bytes: Amounts


def needs(work: Work, p: Parameters) -> Needs:
    """The needs of all tilings of a layer.

    Args:
        work: the layer.
        p: the machine, or several that are alike in these.
    """
    names = ("multipliers", "lanes", "groups", "beat_bytes", "wide_bits")
    alike = _Words(*(int(np.asarray(getattr(p, name)).flat[0]) for name in names))
    return _needs(replace(work, scaled=False), alike)


@dataclass(frozen=True, slots=True)
class _Words:
    """What the needs of a layer depend on, of a machine."""

    multipliers: int
    lanes: int
    groups: int
    beat_bytes: int
    wide_bits: int


@lru_cache(maxsize=512)
def _needs(work: Work, p: _Words) -> Needs:
    t, layer, how, spots = tilings(work), work.layer, work.execution, tilings(work).spots
    tiles, kept, outer = spots.tiles[t.place], t.kept > 0, t.weights_outer > 0
    whole, chunks = t.input_channels, t.input_chunks

    def all_chunks(of: Any) -> Amounts:
        return ((chunks - 1) * of(whole) + of(t.last_channels)).astype(np.float64)

    def sets(channels: Indices) -> Indices:
        return -(-channels // p.multipliers) * work.taps if how.in_sets else channels

    def blocks(channels: Indices) -> Amounts:
        return np.ceil(channels * work.loaded_words / p.lanes)

    input_loads = np.where(kept & ~outer, 1, t.output_tiles)
    weight_loads = np.where(kept & outer, 1, tiles)
    of_weights, of_inputs = held_places(t, tiles, layer.G)
    words = input_words(work, whole, p.multipliers, p.wide_bits)
    beats = layer.G * spots.loaded[t.place] * all_chunks(blocks) * input_loads
    beats = beats + _weight_beats(work, p) * weight_loads
    stored = layer.N * math.prod(layer.pooled) * layer.G * t.output_tiles
    stored = stored * np.ceil(t.last_outputs * work.output_block / p.lanes)
    return Needs(
        sets=all_chunks(sets),
        blocks=all_chunks(blocks),
        first_sets=sets(whole).astype(np.float64),
        first_blocks=blocks(whole),
        pairs=(layer.G * t.output_tiles * tiles).astype(np.float64),
        outer=(layer.G * np.where(outer, t.output_tiles, tiles)).astype(np.float64),
        weight_loads=weight_loads.astype(np.float64),
        input_loads=input_loads.astype(np.float64),
        input_steps=(layer.G * chunks * tiles * input_loads).astype(np.float64),
        weight_places=of_weights.astype(np.float64),
        input_bits=(spots.stored[t.place] * words * of_inputs).astype(np.float64),
        row_bytes=row_bytes(work, spots.columns[t.place], p.lanes).astype(np.float64),
        dram_bytes=(beats + stored) * p.beat_bytes,
    )


def _weight_beats(work: Work, p: _Words) -> float:
    """Beats of all weights, however they are cut."""
    layer, how = work.layer, work.execution
    channels = layer.C // layer.G
    if not how.in_sets:
        return math.floor(layer.K * channels * how.dram_bits(layer) / 8 / p.beat_bytes)
    sets = -(-channels // p.multipliers) * work.taps
    each = sets * -(-(layer.K // layer.G) // p.groups) * how.dram_share(layer)
    return layer.G * math.floor(each)


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Tiles of outputs on machines whose arrays are alike; arrays of shape (halvings, tiles).

    Attributes:
        sets: cycles of a set over all tiles of a group; infinite where a tile does not fit.
        begins: cycles of each step beside these, at least.
        words: beats of a set over all output channels of a group.
        first_words: beats of a set of the first tile.
        step_set: cycles of a set of the largest tile.
        step_begins: cycles of a step of it beside these.
        leaves: beats of all tiles but the last, of all groups.
        leaving: beats of the last, which is the smallest.
        last: cycles of the last tile on its way out.
    """

    sets: Amounts
    begins: Amounts
    words: Amounts
    first_words: Amounts
    step_set: Amounts
    step_begins: Amounts
    leaves: Amounts
    leaving: Amounts
    last: Amounts


class Bounds:
    """Lower bounds of the cycles of all tilings of a layer on several machines.

    All steps compute, behind the first load and before the last store; and all steps load. First
    come bounds of whole tiles of outputs, over all ways to cut the input channels and to order the
    loops; then those of the tilings of one tile, with each split of the slices.
    """

    def __init__(self, work: Work, p: Parameters) -> None:
        """Bound the tiles.

        Args:
            work: the layer.
            p: the machines, shape (machines, 1).
        """
        self._work, self._t, self._p = work, tilings(work), p
        self.halvings = halvings_of(p)
        some, self._alike = _different(p, _ARRAY)
        rows = [p.take(np.array([index])) for index in some]
        self._needs_of = [needs(work, row) for row in rows]
        alike = all(need is self._needs_of[0] for need in self._needs_of)
        self._needs = self._needs_of[0] if alike else None
        found = [self._tiles(row) for row in rows]
        fields = _Tiles.__slots__
        self._of_tiles = _Tiles(*(np.stack([getattr(one, f) for one in found]) for f in fields))
        self._begin = begin_of(work, p)[:, 0]
        self._starts = self._t.starts[:-1]
        spots = self._t.spots
        self._passing = np.repeat(
            (spots.passing * spots.counts).sum(axis=1), len(self._t.cuts)
        ).astype(np.float64)
        self._first_passing = np.repeat(spots.passing[:, 0], len(self._t.cuts)).astype(np.float64)
        self._tile = np.repeat(np.arange(len(self._starts)), np.diff(self._t.starts))
        some, self._roomy = _different(p, (*_ARRAY, *_MEMORY))
        least = [
            self._least(found[row], self._needs_of[row], p.take(np.array([index])))
            for index, row in zip(some, self._alike[some].tolist(), strict=True)
        ]
        self._least_of = tuple(np.stack(one) for one in zip(*least, strict=True))

    def _tiles(self, p: Parameters) -> _Tiles:
        work, t, spots = self._work, self._t, self._t.spots
        halvings = np.arange(self.halvings)[:, None]
        filters = work.layer.K // work.layer.G
        tiles = -(-filters // t.cuts)
        last = filters - (tiles - 1) * t.cuts
        one = split(p, halvings, t.cuts)
        side = np.maximum(one.side, 1)
        turns, fewer = -(-t.cuts // side), -(-last // side)
        fill, last_fill = (self._fill(np.minimum(side, n), p) for n in (t.cuts, last))
        delay = p.accumulator_latency
        positions = -(-spots.lines // one.ways[:, :, None]) * spots.line
        issues = issues_of(p.hardware(side), positions, work.window)
        least = np.where(spots.counts > 0, issues, _FAR).min(axis=2)
        # In a set and turn: where operands set the interval, or weights, or the accumulators.
        passes = work.execution.passes(t.cuts, side)[..., None, :]
        busy = (issues * spots.counts).sum(axis=2)[:, :, None]
        busy = busy * ((tiles - 1) * turns + fewer)[:, None, :]
        waits = (tiles - 1) * np.maximum(turns * (fill + 2), delay)
        waits = waits + np.maximum(fewer * (last_fill + 2), delay)
        rounds = np.maximum(busy, spots.tiles[:, None] * waits[:, None, :]) * passes
        rounds = rounds * work.sweeps(p.wide_bits)
        # The last set of a step takes no whole interval; the first one waits for its weights.
        longest = np.maximum(fill, last_fill) + 2
        longest = np.maximum(longest, -(-delay // np.minimum(turns, fewer)))[:, None, :]
        begins = (np.minimum(fill, last_fill) + 1)[:, None, :]
        begins = begins - np.maximum(longest - least[:, :, None], 0)
        largest = issues[:, :, 0, None]
        interval = np.maximum(largest, np.maximum(fill + 2, -(-delay // turns))[:, None, :])
        last_interval = np.maximum(
            largest, np.maximum(last_fill + 2, -(-delay // fewer))[:, None, :]
        )
        step_set = np.maximum(turns[:, None, :] * interval, fewer[:, None, :] * last_interval)
        step_begins = (fill + 1)[:, None, :] + largest
        held = 2 * turns[:, None, :] * positions[:, :, 0, None] * work.sums
        fits = (held <= p.accumulator_entries) & (one.side > 0)[:, None, :]
        lanes = np.minimum(side, p.lanes)
        all_positions = (spots.lines * spots.line * spots.counts).sum(axis=1)[:, None]
        final = np.take_along_axis(
            spots.lines * spots.line,
            (3 - np.argmax(spots.counts[:, ::-1] > 0, axis=1))[:, None], axis=1,
        )  # fmt: skip
        beats = -(-last // lanes)[:, None, :]
        leaves = all_positions * ((tiles - 1) * -(-t.cuts // lanes))[:, None, :]
        leaves = (leaves + all_positions * beats) * work.sums * work.layer.G
        leaving = final * beats * work.sums
        shape = len(halvings), -1

        def flat(values: Any) -> Amounts:
            whole = np.broadcast_to(values, (len(halvings), len(spots.tiles), len(t.cuts)))
            return whole.reshape(shape).astype(np.float64)

        return _Tiles(
            sets=flat(np.where(fits, rounds, _FAR)),
            begins=flat(begins),
            words=flat(((tiles - 1) * turns * fill + fewer * last_fill)[:, None, :]),
            first_words=flat((turns * fill)[:, None, :]),
            step_set=flat(step_set * passes * work.sweeps(p.wide_bits)),
            step_begins=flat(step_begins - np.minimum(interval, last_interval)),
            leaves=flat(leaves - leaving),
            leaving=flat(leaving),
            last=flat(p.pipeline_depth + p.output_stages + leaving),
        )

    def _fill(self, side: Indices, p: Parameters) -> Indices:
        return np.ceil(self._work.execution.fill(side, p)).astype(np.int64)

    def _least(self, one: _Tiles, need: Needs, p: Parameters) -> tuple[Amounts, ...]:
        """Of the tilings of each tile: what computes, by halvings; what is loaded and stored."""
        tile, share, groups = self._tile, self._share, self._work.layer.G
        chunks = self._t.input_chunks
        fits = (need.input_bits <= 8 * p.input_bytes) & (need.row_bytes <= p.row_buffer_bytes)
        if self._work.execution.in_sets:
            held = need.first_sets * self._work.execution.held_share(self._work.layer)
            held = held * one.first_words.min(axis=0)[tile] * need.weight_places
            fits &= held * p.beat_bytes <= p.weight_bytes
        fits = np.flatnonzero(fits)
        ends = np.searchsorted(fits, self._t.starts)
        some = np.flatnonzero(ends[1:] > ends[:-1])  # tiles with a tiling that fits
        starts, tile = ends[some], tile[fits]

        def of_each(least: np.ufunc, values: Amounts, none: float) -> Amounts:
            """Of the tilings of each tile that fit."""
            found = np.full(len(self._starts), none)
            if len(some):
                found[some] = least.reduceat(values, starts)
            return found

        def low(values: Amounts) -> Amounts:
            return of_each(np.minimum, values, _FAR)

        pairs, first_sets = need.pairs[fits], need.first_sets[fits]
        steps, all_sets = pairs * chunks[fits], need.sets[fits]
        sets, fewest = low(all_sets), low(pairs)  # one chunk a tile, or more
        most = of_each(np.maximum, steps, 0.0)
        begins = one.begins * np.where(one.begins > 0, fewest, most)
        first = np.floor(low(first_sets) * one.first_words * share)
        compute = groups * sets * one.sets + begins + one.last
        words, passing = one.words.min(axis=0), self._passing
        loaded = all_sets * words[tile] * need.weight_loads[fits] * share
        loaded += need.blocks[fits] * need.input_loads[fits] * passing[tile]
        waits = steps * p.dram_latency + need.input_steps[fits] * p.input_stages
        return (
            compute, first, low(need.first_blocks[fits]) * self._first_passing,
            low(groups * loaded), low(waits), low(need.dram_bytes[fits]), fewest,
            one.last.min(axis=0),
        )  # fmt: skip

    def of_tiles(self) -> Amounts:
        """Bounds of the tiles, shape (machines, tiles); infinite where none fits."""
        p, which = self._p, self._roomy
        compute, first, blocks, *others = self._least_of
        compute, first = compute.min(axis=1)[which], (first.min(axis=1) + blocks)[which]
        loaded, waits, moved, steps, last = (one[which] for one in others)
        beat_cycles = p.beat_cycles * _BELOW
        bound = compute + first * beat_cycles + (p.dram_latency + p.input_stages)
        np.maximum(bound, loaded * beat_cycles + waits + last, out=bound)
        stored = moved * (beat_cycles / p.beat_bytes) + steps * p.output_stages
        np.maximum(bound, stored, out=bound)
        bound += self._begin[:, None]
        bound[bound >= _FAR] = np.inf
        return bound

    def of_splits(self, machine: Indices, tile: Indices) -> Amounts:
        """Bounds of pairs of a machine and a tile by halvings, shape (pairs, halvings).

        Args:
            machine: rows of the parameters.
            tile: index of the tile.
        """
        which, p = self._roomy[machine], self._p
        compute, first, blocks = self._least_of[:3]
        commands = first[which, :, tile] + blocks[which, tile][:, None]
        bound = compute[which, :, tile] + commands * (p.beat_cycles[machine] * _BELOW)
        waits = p.dram_latency[machine] + p.input_stages[machine] + self._begin[machine][:, None]
        bound = bound + waits
        bound[bound >= _FAR] = np.inf
        return bound

    def tilings(self, tile: Indices) -> Indices:
        """The tilings of each of several tiles, shape (tiles, tilings of a tile)."""
        count = int(self._t.starts[1] - self._t.starts[0])
        return self._t.starts[tile][:, None] + np.arange(count)

    def of_tilings(self, machine: Indices, halvings: Indices, tile: Indices) -> Amounts:
        """Bounds of the tilings of machines, halvings of their slices, and tiles.

        Args:
            machine: rows of the parameters.
            halvings: of the slices.
            tile: index of the tile.

        Returns:
            Shape (entries, tilings of a tile), infinite where one does not fit.
        """
        which, some = self._alike[machine], self.tilings(tile)
        p = Parameters(*(getattr(self._p, name)[machine] for name in Parameters.__slots__))
        need = self._need(which, some)
        one = _Tiles(
            *(getattr(self._of_tiles, f)[which, halvings, tile][:, None] for f in _Tiles.__slots__)
        )
        chunks, outer = self._t.input_chunks[some], self._t.weights_outer[some] > 0
        groups, share, beat_cycles = self._work.layer.G, self._share, p.beat_cycles * _BELOW
        steps = need.pairs * chunks
        all_words = groups * need.sets * one.words * share * need.weight_loads
        all_inputs = groups * need.blocks * need.input_loads * self._passing[tile][:, None]
        first_passing = self._first_passing[tile][:, None]
        first = np.floor(need.first_sets * one.first_words * share)
        first = (first + need.first_blocks * first_passing) * beat_cycles
        first += p.dram_latency + p.input_stages
        computed = groups * need.sets * one.sets + one.begins * steps
        # All that is loaded, and behind the loads of a step its tile that leaves.
        waits = p.dram_latency + p.input_stages
        loading = (all_words + all_inputs) * beat_cycles + steps * p.dram_latency
        loading += need.input_steps * p.input_stages
        leaving = (need.pairs - 1) * (p.output_stages - waits)
        loading += np.maximum(leaving + one.leaves, 0)
        bound = np.maximum(computed + first, loading)
        # What loads of steps that have both operands, and of the others, take beyond computing.
        tops = np.where(outer, all_inputs, all_words)
        firsts = np.where(outer, need.blocks * first_passing, need.sets * one.first_words * share)
        firsts = firsts * need.outer
        fresh = need.outer * np.where(self._t.kept[some] > 0, chunks, 1)
        fresh = np.where((self._t.kept[some] > 0), fresh, steps)
        again = steps - fresh
        stale = np.where(again > 0, tops - firsts, 0)
        each = one.step_begins + need.first_sets * one.step_set
        behind = np.where(chunks == 1, np.maximum(p.output_stages + one.leaving - waits, 0), 0)
        more = (all_words + all_inputs - stale) * beat_cycles - first
        more += (fresh - 1) * (waits + behind - each) + waits - behind
        others = stale * beat_cycles - behind  # nothing leaves yet while the second tile comes in
        others += again * (np.where(outer, waits, p.dram_latency) + behind - each)
        more = np.maximum(more, 0) + np.maximum(others, 0)
        np.maximum(bound, computed + first + more, out=bound)
        bound += one.last
        moved = need.dram_bytes / p.beat_bytes * beat_cycles
        np.maximum(bound, moved + need.pairs * p.output_stages, out=bound)
        bound += self._begin[machine][:, None]
        no_room = need.input_bits > 8 * p.input_bytes
        no_room = no_room | (need.row_bytes > p.row_buffer_bytes)
        no_room = no_room | (self._weights(need, one, some, p) > p.weight_bytes)
        bound[no_room | (one.sets >= _FAR)] = np.inf
        return bound

    def least_weights(self) -> float:
        """Bytes of the smallest weights that are held, on the first machine."""
        shape = self._of_tiles.sets.shape[1:]
        halvings, tile = (one.reshape(-1) for one in np.indices(shape))
        which, some = np.zeros_like(tile), self.tilings(tile)
        p = Parameters(*(getattr(self._p, name)[:1] for name in Parameters.__slots__))
        one = _Tiles(
            *(getattr(self._of_tiles, f)[which, halvings, tile][:, None] for f in _Tiles.__slots__)
        )
        held = self._weights(self._need(which, some), one, some, p)
        return float(held.min())

    @property
    def _share(self) -> float:
        return self._work.execution.dram_share(self._work.layer)

    def _weights(self, need: Needs, one: _Tiles, some: Indices, p: Parameters) -> Amounts:
        """Bytes of weights that are held."""
        how, layer = self._work.execution, self._work.layer
        if not how.in_sets:
            t = self._t
            bits = how.tile_weight_bits(layer, t.output_channels[some], t.input_channels[some])
            return need.weight_places * bits / 8
        words = np.ceil(need.first_sets * one.first_words * how.held_share(layer))
        return need.weight_places * words * p.beat_bytes

    def _need(self, which: Indices, some: Indices) -> Needs:
        """The needs of tilings on machines of several sorts."""
        names = Needs.__slots__
        if self._needs is self._needs_of[0]:
            return Needs(*(getattr(self._needs, name)[some] for name in names))
        return Needs(
            *(
                np.stack([getattr(one, name) for one in self._needs_of])[which[:, None], some]
                for name in names
            )
        )


def _different(p: Parameters, names: Sequence[str]) -> tuple[list[int], Indices]:
    """One machine of each sort, and the sort of each machine."""
    columns = np.concatenate([getattr(p, name) for name in names], axis=1)
    _, some, which = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    return some.tolist(), which.reshape(-1)
