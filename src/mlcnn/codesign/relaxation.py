"""What the inner levels cost at least, for every tile that an outer level may hold.

Energy is a sum over levels, so the least of it is a shortest path through the tiles that the levels
hold, from the outermost inwards, if what a level costs depends on the tiles on both sides of its
loops alone. That it nearly does: with Pi(t) = MACs / MACs inside t passes over all instances of a
tile t, an operand y is sent Pi(t) * words(t) words, less what stays. And only one operand x may
stay as a whole: the innermost loop outside the tile leaves exactly the operand still that does not
depend on it. It stays for the product r of the loops in a row that it does not depend on:

* r is at most the ratio of these dimensions on both sides of the level's loops;
* where the level has no loop that moves x, loops further out leave x still as well if it is the one
  that stays there: r is the product of both. Where no loop moves it, it is fetched once.

So what an operand costs hangs on what stays at a tile seen from outside (``Rows``), and the least
is found for each of that.

What is read above and sent to several instances at once is that of the tile of all of them
together: Pi(u) * words(u) / r. So between levels stand two tiles, u = t * (instances), and the
minimum over the instances is taken first, for each x and r, then that over the loops.

Left out, so that all this is a bound: rounding to blocks; of the input's windows all but the least
that the innermost loop can bring; conflicts between levels about what stays.
"""

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Table
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, EnergyLaw, Operand
from mlcnn.codesign.constraints import Constraints
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.lattice_words import Rows, Stays, TileWords
from mlcnn.codesign.nodes import Narrow
from mlcnn.codesign.sending import Sending
from mlcnn.codesign.sharing import Block, sharing_of
from mlcnn.codesign.tiles import Lattice, Spread

__all__ = ["Relaxation", "priced"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
_OUTPUT = 2


class Relaxation:
    """The bounds of a nest on a machine whose levels keep what a mask says.

    Attributes:
        lattice: the tiles.
        tiles: their words.
        blocks: outermost first.
        sending: energy of what is sent; ``to_go`` of a level has no part in what is late further
            out.
        base: energy that every mapping takes at least beside what is counted elsewhere, in pJ.
        rows: of each block, what the loops outside its tile may leave still that levels inside it
            keep.
        to_go: by number of a level with loops, the least energy of everything inside it, by row
            and tile that it may hold, infinite where that does not fit. Of the outermost level,
            whose tile is the nest, for that alone.
        parallel: by the same, arithmetic units that a tile can keep busy at most.
    """

    def __init__(
        self,
        lattice: Lattice,
        architecture: Architecture,
        keep: NDArray[np.bool_],
        rule: Convention,
        constraints: Constraints | None = None,
    ) -> None:
        self.lattice, self.architecture, self.keep, self.rule = lattice, architecture, keep, rule
        self.constraints = constraints
        self.tiles = TileWords.of(lattice, rule)
        self.access = self.tiles.access
        self.depth = len(architecture.levels)
        sharing = sharing_of(lattice, architecture, constraints)
        self.blocks = sharing.blocks
        self.sending = Sending(lattice, self.tiles, sharing, architecture, keep)
        self.base = lattice.nest.macs * architecture.mac_energy_pj
        self._every = np.arange(lattice.cells)
        self._alone: Whole | None = None
        self.to_go: dict[int, Array] = {}
        self.parallel: dict[int, Array] = {}
        self._spread: list[list[Array]] = []
        self._busy: list[list[Array]] = []
        self._read: list[Array] = []
        inner, busy = np.full((1, lattice.cells), np.inf), np.zeros(lattice.cells)
        inner[0, 0], busy[0] = 0.0, 1.0
        self.rows = [
            Rows.made(np.flatnonzero(keep[block.inner :].any(0)).tolist(), self.tiles.stays)
            for block in self.blocks
        ]
        for number in reversed(range(len(self.blocks))):
            inner, busy = self._block(number, inner, busy)
        self._spread.reverse()
        self._busy.reverse()
        self._read.reverse()

    def _block(self, number: int, inner: Array, busy: Array) -> tuple[Array, Array]:
        """What is to go at the level of a block, of what is to go at the next one with loops."""
        block, rows = self.blocks[number], self.rows[number]
        if number == 0 and all(self._still_whole(spread) for spread in block.spread):
            # Outside stands the nest alone, so that each tile has few rows.
            outside = np.full_like(self._every, rows.everything)
            outer = np.full_like(self._every, self.lattice.cells - 1)
            self._alone = self._rows(0, outer, self._every, outside)
        if number + 1 < len(self.blocks):
            among = self.rows[number + 1].among(rows)
            inner = inner[among] if self._alone is None else inner[among[self._alone], self._every]
        stages, units = [inner + self._fills(block, rows)], [busy]
        for spread in reversed(block.spread):
            stages.append(self._least(stages[-1], spread))
            units.append(self._most(units[-1], spread))
        reads = self._reads(block, rows)
        self._read.append(reads)
        self._spread.append(stages[::-1])
        self._busy.append(units[::-1])
        whole = stages[-1] + reads
        busy = -self.lattice.lower(-units[-1], range(len(self.lattice.nest.dims)))
        unfit = ~self._fits(block.level)
        busy[unfit] = 0.0
        if number == 0:
            least = np.inf if unfit[-1] else self._from_outermost(whole)
            result = np.broadcast_to(np.array(least), (rows.many, self.lattice.cells))
        else:
            result = self._loops(whole, rows, block.level)
            result[:, unfit] = np.inf
        self.to_go[block.level], self.parallel[block.level] = result, busy
        return result, busy

    def _kept(self, level: int) -> list[int]:
        if level == self.depth:
            return []
        return [int(operand) for operand in np.flatnonzero(self.keep[level])]

    # What a level takes in, and what that takes above.

    def _fills(self, block: Block, rows: Rows) -> Array:
        """Energy of what the level inside a block takes in, by row."""
        if block.inner == self.depth:
            return np.zeros((1, self.lattice.cells))
        write_pj = self.architecture.levels[block.inner].write_pj

        def filled(operand: int, words: Array) -> Array:
            if operand == _OUTPUT and not self.rule.first_fill:
                words = np.maximum(words - self.sending.seen(block.inner, self._every), 0.0)
            return words * write_pj

        return self._by_row(rows, self._kept(block.inner), filled)

    def _reads(self, block: Block, rows: Rows) -> Array:
        """Energy of what is read for it, by row."""
        if block.inner == self.depth:
            late = {one.operand for some in self.sending.late.values() for one in some}
            result = np.zeros((1, self.lattice.cells))
            for operand in range(len(self.access)):
                if operand not in late:
                    once = self.tiles.passes * self.tiles.words[operand]  # each product reads anew
                    result += self._read_pj(operand, block, once)
            return result
        return self._by_row(
            rows,
            self._kept(block.inner),
            lambda operand, words: self._read_pj(operand, block, words),
        )

    def _read_pj(self, operand: int, block: Block, words: Array) -> Array:
        above = self.sending.above(operand, block.inner)
        shared = self.sending.sharing.outside(
            operand, above, block.level, self._every, arithmetic=False
        )
        return self.sending.level_pj(operand, above, words / shared, self._every)

    def _by_row(
        self, rows: Rows, operands: Iterable[int], cost: Callable[[int, Array], Array]
    ) -> Array:
        """Sums over operands of what their words cost, by what stays.

        Args:
            rows: what may stay.
            operands: those that cost something.
            cost: of words, shape (..., cells).
        """
        if self._alone is not None:
            return self._of_the_nest(self._alone, operands, cost)
        moved = {one: cost(one, self.tiles.stays[one].moved[0]) for one in operands}
        result = np.zeros((rows.many, self.lattice.cells))
        for one in moved.values():
            result += one
        whole = np.zeros(self.lattice.cells)
        for operand in operands:
            part = result[rows.of(operand)]
            part[:] = cost(operand, self.tiles.stays[operand].moved)
            whole += part[-1]
            for other, one in moved.items():
                if other != operand:
                    part += one
        result[rows.everything] = whole
        return result

    def _of_the_nest(
        self, places: Whole, operands: Iterable[int], cost: Callable[[int, Array], Array]
    ) -> Array:
        """The same, in the few rows that each tile has inside the loops of the outermost level."""
        rows, result = self.rows[0], np.zeros(places.shape)
        for operand in operands:
            first, last = rows.first[operand], rows.last[operand]
            place = np.where((first <= places) & (places <= last), places - first, 0)
            place[places == rows.everything] = last - first
            result += cost(operand, self.tiles.stays[operand].moved[place, self._every])
        return result

    # Minima.

    def _still_whole(self, spread: Spread) -> bool:
        """Whether a tile is not spread at all below some levels."""
        return not any(map(any, spread.shifts)) and spread.level not in self.sending.late

    def _least(self, array: Array, spread: Spread) -> Array:
        """The least over the instances that a tile may be spread on."""
        if self._still_whole(spread):
            return array
        shaped = array.reshape(-1, *self.lattice.shape)
        result = np.full_like(shaped, np.inf)
        late = [one.share for one in self.sending.late.get(spread.level, ())]
        some = dict.fromkeys(zip(spread.shifts, *late, strict=True))
        cells = np.arange(self.lattice.cells).reshape(self.lattice.shape)
        numbers = {one: n for n, one in enumerate(zip(spread.shifts, *late, strict=True))}
        for one in some:
            upper, under = self.lattice.cuts(one[0])
            target, part = result[(slice(None), *upper)], shaped[(slice(None), *under)]
            if late:
                choice = np.array(numbers[one])
                part = part + self.sending.spread_pj(spread, choice, cells[upper], cells[under])
            np.minimum(target, part, out=target)
        return result.reshape(array.shape)

    def _most(self, busy: Array, spread: Spread) -> Array:
        shaped = busy.reshape(self.lattice.shape)
        result = np.zeros_like(shaped)
        for shift, instances in set(zip(spread.shifts, spread.instances.tolist(), strict=True)):
            upper, under = self.lattice.cuts(shift)
            target = result[upper]
            np.maximum(target, shaped[under] * instances, out=target)
        return result.reshape(-1)

    def _from_outermost(self, array: Array) -> float:
        """The least over the loops of the outermost level."""
        last, dims = np.array(self.lattice.cells - 1), self._looping(self.blocks[0].level)
        still = [dim for dim in range(len(self.lattice.nest.dims)) if dim not in dims]
        sizes = self.lattice.sizes[still]
        inside = np.flatnonzero((sizes == sizes[:, -1:]).all(0))
        outer = np.broadcast_to(last, inside.shape)
        rows = self.rows_of(0, outer, inside, np.full(inside.shape, self.rows[0].everything))
        return float(array[rows, inside].min())

    def _loops(self, array: Array, rows: Rows, level: int) -> Array:
        """The least over the loops of a level, for each tile outside them and row there."""
        dims = self._looping(level)
        moving = self.lattice.lower(array[0], dims)
        result = np.empty_like(array)
        for operand in rows.kept:
            mine, stays = rows.of(operand), self.tiles.stays[operand]
            result[mine] = self._still(array[mine], stays, dims)
            # Outside the loops that leave it still may be others of the level, which move it.
            moves = [dim for dim in dims if dim not in stays.idle]
            np.minimum(moving, self.lattice.lower(result[mine][0], moves), out=moving)
        result[rows.everything] = array[rows.everything]
        for operand in rows.kept:
            once = result[rows.last[operand]]
            np.minimum(result[rows.everything], once, out=result[rows.everything])
        result[0] = moving
        return np.minimum(result, moving, out=result)

    def _still(self, array: Array, stays: Stays, dims: list[int]) -> Array:
        """The least where an operand stays outside, and no loop of a level moves it either.

        Args:
            array: of the operand's rows, by tile inside the loops.
            stays: of the operand.
            dims: that may have loops.

        Returns:
            By the operand's rows outside, and tile there.
        """
        result, behind = array.copy(), self.lattice.cells
        for size, (dim, prime) in zip(self.lattice.shape, self.lattice.axes, strict=True):
            behind //= size
            if dim in dims and dim in stays.idle:
                longer = stays.times[np.searchsorted(stays.lengths, prime)]
                shaped = result.reshape(len(result), -1, size, behind)
                for exponent in range(1, size):
                    target = shaped[:, :, exponent]
                    np.minimum(target, shaped[longer, :, exponent - 1], out=target)
        return result

    def _looping(self, level: int) -> list[int]:
        """Dimensions that may have a loop at a level."""
        dims = self.lattice.nest.dims
        if self.constraints is None:
            return list(range(len(dims)))
        allowed = [self.constraints.factors_allowed(level, dim, spatial=False) for dim in dims]
        return [n for n, one in enumerate(allowed) if one.exact != 1 and one.most != 1]

    def _fits(self, number: int) -> NDArray[np.bool_]:
        """Whether each tile fits a level."""
        capacity = self.architecture.levels[number].capacity
        kept = self._kept(number)
        if capacity is None:
            return np.ones(self.lattice.cells, bool)
        words = [self.tiles.taken[operand] for operand in kept]
        if isinstance(capacity, Table):
            room = [capacity.get(operand, 0) for operand in Operand]
            fit = [one <= room[operand] for operand, one in zip(kept, words, strict=True)]
            return np.logical_and.reduce([np.ones(self.lattice.cells, bool), *fit])
        return np.sum([np.zeros(self.lattice.cells), *words], 0) <= capacity

    # What a search asks.

    @cached_property
    def flow(self) -> "Relaxation | None":
        """Bounds of the cycles that the outermost level takes to move its words, as energies.

        None where it moves any amount in no time.
        """
        free = EnergyLaw(0.0)
        levels = [replace(one, energy=free, write_energy=None) for one in self.architecture.levels]
        machine = replace(self.architecture, levels=tuple(levels), mac_energy_pj=0.0)
        machine = priced(machine, 1.0)
        if machine is None:
            return None
        return Relaxation(self.lattice, machine, self.keep, self.rule, self.constraints)

    def rows_of(self, block: int, outer: Whole, inside: Whole, outside: Whole) -> Whole:
        """For each operand that may stay, the row of each tile inside the loops of a block.

        Args:
            block: number of the block.
            outer: the tiles that its level holds, shape (many,).
            inside: tiles inside its loops, shape (many,).
            outside: rows of the outer tiles, shape (many,).

        Returns:
            Shape (operands, many); one row where no operand may.
        """
        if block == 0 and self._alone is not None:
            return np.broadcast_to(
                np.arange(len(self._alone))[:, None], (len(self._alone), len(inside))
            )
        return self._rows(block, outer, inside, outside)

    def _rows(self, block: int, outer: Whole, inside: Whole, outside: Whole) -> Whole:
        rows = self.rows[block]
        result = np.zeros((max(len(rows.kept), 1), len(inside)), np.int64)
        everything = outside == rows.everything
        for operand, row in zip(rows.kept, result, strict=False):
            stays, first, last = self.tiles.stays[operand], rows.first[operand], rows.last[operand]
            found = stays.number[stays.still[outer] - stays.still[inside]]
            further = np.where((first <= outside) & (outside <= last), outside - first, 0)
            further = stays.times[found, np.where(everything, last - first, further)]
            whole = stays.moving[outer] == stays.moving[inside]
            row[:] = np.where(whole, further, found) + first
        result[:, outer == inside] = outside[outer == inside]
        return result

    def row(self, level: int, temporal: Narrow, order: Narrow) -> Whole:
        """What the loops outside a level leave still, as a row of the block that begins there.

        Args:
            level: number of a level with loops.
            temporal: iterations of all levels, shape (many, levels, dims).
            order: of their loops.
        """
        rows = self.rows[[one.level for one in self.blocks].index(level)]
        result = np.full(len(temporal), rows.everything)
        loops = np.take_along_axis(temporal[:, :level], order[:, :level].astype(np.int64), 2)
        loops = loops.reshape(len(loops), -1)[:, ::-1]
        dims = order[:, :level].reshape(len(loops), -1)[:, ::-1]
        first = (loops > 1).argmax(1)
        any_ = loops[np.arange(len(loops)), first] > 1
        result[any_] = 0
        for operand in rows.kept:
            stays = self.tiles.stays[operand]
            idle = np.isin(dims, stays.idle) | (loops == 1)
            run = np.logical_and.accumulate(idle, 1)
            length = np.where(run, loops, 1).prod(1, dtype=np.int64)
            place = np.searchsorted(stays.lengths, length)
            place[run.all(1)] = len(stays.lengths)
            mine = any_ & (length > 1)
            result[mine] = rows.first[operand] + place[mine]
        return result

    def stage(self, block: int, number: int) -> Array:
        """Least energy inside, by row and tile: before the spread over a level of a block.

        ``number`` 0 is of the tiles inside the loops; each next one of those after one more level
        of the block was spread. What is read above is not in it.
        """
        return self._spread[block][number]

    def busy(self, block: int, number: int) -> Array:
        """Units of the arithmetic that may be busy inside, as ``stage`` counts."""
        return self._busy[block][number]

    def reads(self, block: int) -> Array:
        """Energy of what is read above, by row and tile inside the loops."""
        return self._read[block]


def priced(architecture: Architecture, pj_per_cycle: float) -> Architecture | None:
    """A machine whose energy holds the cycles that the outermost level takes for what it moves.

    None where that moves any amount in no time.

    Args:
        architecture: the machine.
        pj_per_cycle: what a cycle costs.
    """
    first = architecture.levels[0]
    both = first.shared_bandwidth
    read, write = (both, both) if both else (first.read_bandwidth, None)
    if not read:
        return None
    # Cycles are sums and quotients that are rounded, so that a little less is sure.
    price = pj_per_cycle * (1 - 1e-12)
    outermost = replace(
        first,
        capacity=None,
        energy=EnergyLaw(first.read_pj + price / read),
        write_energy=EnergyLaw(first.write_pj + (price / write if write else 0.0)),
    )
    return replace(architecture, levels=(outermost, *architecture.levels[1:]))
