"""What the inner levels cost at least, for every tile that an outer level may hold.

Energy is a sum over levels, so the least of it is a shortest path through the tiles that the levels
hold, from the outermost inwards, if what a level costs depends on the tiles on both sides of its
loops alone. That it nearly does: with Pi(t) = MACs / MACs inside t passes over all instances of a
tile t, an operand y is sent Pi(t) * words(t) words, less what stays. And only one operand x may
stay as a whole: the innermost loop outside the tile leaves exactly the operand still that does not
depend on it. It stays for the product r of the loops in a row that it does not depend on:

* r is at most the ratio of these dimensions on both sides of the level's loops;
* where the level has no loop that moves x, loops further out may leave it still as well: then x is
  fetched once, as a whole, at least.

What is read above and sent to several instances at once is that of the tile of all of them
together: Pi(u) * words(u) / r. So between levels stand two tiles, u = t * (instances), and the
minimum over the instances is taken first, for each x and r, then that over the loops.

Left out, so that all this is a bound: rounding to blocks; of the input's windows all but the least
that the innermost loop can bring; conflicts between levels about what stays.
"""

import math
from collections.abc import Mapping as Table
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.constraints import Constraints
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.space import accesses
from mlcnn.codesign.tiles import Lattice, Shift, Spread, ratios, side_by_side
from mlcnn.codesign.windows import Copies, Tiles, box, fresh, touched

__all__ = ["Block", "Relaxation"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
_OUTPUT = 2
_TOGETHER = 1000
"""Choices of instances below several levels that are looked at together."""
_ONCE = -1
"""Stands for r where an operand is fetched once."""


@dataclass(frozen=True, slots=True)
class Block:
    """A level with loops, and those below it that only spread instances.

    Attributes:
        level: number of the level.
        spread: choices of instances below all levels from ``level`` to the next with loops,
            outermost first; several levels together where that is not too many choices.
        inner: number of that next level; the number of levels for the arithmetic.
    """

    level: int
    spread: tuple[Spread, ...]
    inner: int


class Relaxation:
    """The bounds of a nest on a machine whose levels keep what a mask says.

    Attributes:
        lattice: the tiles.
        blocks: outermost first.
        base: energy that every mapping takes at least beside what is counted elsewhere, in pJ.
        to_go: by number of a level with loops, the least energy of everything inside it for each
            tile that it may hold, infinite where that does not fit.
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
        nest, self.constraints = lattice.nest, constraints
        self.access = accesses(nest)
        self.depth = len(architecture.levels)
        self.passes = nest.macs / lattice.sizes.prod(0)
        self.words = tuple(lattice.words(operand) for operand in range(len(self.access)))
        self.moved = tuple(moved_words(lattice, n, rule) for n in range(len(self.access)))
        self.idle = tuple(
            [n for n in range(len(nest.dims)) if not one.relevant[n]] for one in self.access
        )
        self.reach = tuple(ratios(lattice, dims) for dims in self.idle)
        self.blocks = _blocks(lattice, architecture, constraints)
        self.base = nest.macs * architecture.mac_energy_pj
        self._late = self._arithmetic()
        self.to_go: dict[int, Array] = {}
        self.parallel: dict[int, Array] = {}
        self.rows: list[Rows] = []
        self._spread: list[list[Array]] = []
        self._busy: list[list[Array]] = []
        self._read: list[Array] = []
        inner, busy = np.full((1, lattice.cells), np.inf), np.zeros(lattice.cells)
        inner[0, 0], busy[0] = 0.0, 1.0
        for block in reversed(self.blocks):
            inner, busy = self._block(block, inner, busy)
        self._spread.reverse()
        self._busy.reverse()
        self._read.reverse()
        self.rows.reverse()

    def _block(self, block: Block, inner: Array, busy: Array) -> tuple[Array, Array]:
        """What is to go at the level of a block, of what is to go at the next one with loops."""
        rows = Rows.of(self._kept(block.inner), self.reach)
        stages, units = [inner + self._fills(block, rows)], [busy]
        for spread in reversed(block.spread):
            stages.append(self._least(stages[-1], spread))
            units.append(self._most(units[-1], spread))
        reads = self._reads(block, rows)
        stages[-1] = stages[-1] + reads
        self._read.append(reads)
        self.rows.append(rows)
        self._spread.append(stages[::-1])
        self._busy.append(units[::-1])
        result = self._loops(stages[-1], rows, block.level)
        busy = -self.lattice.lower(-units[-1], range(len(self.lattice.nest.dims)))
        unfit = ~self._fits(block.level)
        result[unfit], busy[unfit] = np.inf, 0.0
        self.to_go[block.level], self.parallel[block.level] = result, busy
        return result[None], busy

    def _kept(self, level: int) -> list[int]:
        if level == self.depth:
            return []
        return [int(operand) for operand in np.flatnonzero(self.keep[level])]

    # What a level takes in, and what that takes above.

    def _fills(self, block: Block, rows: "Rows") -> Array:
        """Energy of what the level inside a block takes in, by row."""
        result = np.zeros((len(rows.r), self.lattice.cells))
        if block.inner == self.depth:
            return result
        write_pj = self.architecture.levels[block.inner].write_pj
        for operand in self._kept(block.inner):
            words = self._moved(operand, rows)
            if operand == _OUTPUT and not self.rule.first_fill:
                words = np.maximum(words - self._seen(block.inner), 0.0)
            result += words * write_pj
        return result

    def _reads(self, block: Block, rows: "Rows") -> Array:
        """Energy of what is read for it, by row."""
        result = np.zeros((len(rows.r), self.lattice.cells))
        arithmetic = block.inner == self.depth
        elsewhere = {operand for late in self._late.values() for operand, _ in late}
        for operand in range(len(self.access)):
            if not arithmetic and not self.keep[block.inner, operand]:
                continue
            if arithmetic and operand in elsewhere:
                continue
            above = self._above(operand, block.inner)
            once = self.passes * self.words[operand]  # each product reads anew
            words = once if arithmetic else self._moved(operand, rows)
            result += self._sent_pj(
                operand, above, words / self._shared(operand, above, block.level)
            )
        return result

    def _above(self, operand: int, level: int) -> int:
        """The next level further out that keeps an operand."""
        return int(np.flatnonzero(self.keep[:level, operand])[-1])

    def _sent_pj(self, operand: int, number: int, words: Array) -> Array:
        """Energy that a level takes to send words inwards, or to take outputs in from there."""
        level = self.architecture.levels[number]
        if operand != _OUTPUT:
            return words * level.read_pj
        again = np.maximum(words - self._seen(number), 0.0)  # first visits read nothing
        return words * level.write_pj + again * level.read_pj

    def _seen(self, level: int) -> float:
        """Different outputs that all instances of a level see at most."""
        return float(self.words[_OUTPUT][-1]) * self._shared(_OUTPUT, 0, level)

    def _moved(self, operand: int, rows: "Rows") -> Array:
        """Words of an operand, by row."""
        scale = np.where(rows.operand == operand, 1.0 / rows.r, 1.0)
        result = scale[:, None] * self.moved[operand]
        result[(rows.operand == operand) & (rows.r == _ONCE)] = 0.0
        return np.maximum(result, self.words[operand][-1])

    def _arithmetic(self) -> dict[int, list[tuple[int, float]]]:
        """What the arithmetic reads where that hangs most on instances further out than its block.

        Returns:
            By number of the first of the levels whose instances share it, the operand and the
            words that are sent where none of them share.
        """
        result: dict[int, list[tuple[int, float]]] = {}
        block = self.blocks[-1]
        for operand in range(len(self.access)):
            above = self._above(operand, self.depth)
            spreads = [one for other in self.blocks for one in other.spread]
            spreads = [one for one in spreads if one.level + one.factors.shape[1] > above]
            shared = [self._sharing(operand, one, above).max() for one in spreads]
            most = max(range(len(shared)), key=lambda n: (shared[n], n))
            if spreads[most].level < block.level:
                others = math.prod(shared[:most]) * math.prod(shared[most + 1 :])
                whole = self.lattice.nest.macs / float(others)
                result.setdefault(spreads[most].level, []).append((operand, whole))
        return result

    def spread_pj(self, spread: Spread) -> Array:
        """Energy of what the arithmetic reads that hangs on some instances, by choice."""
        result = np.zeros(len(spread.factors))
        for operand, words in self._late.get(spread.level, ()):
            above = self._above(operand, self.depth)
            result += self._sent_pj(operand, above, words / self._sharing(operand, spread, above))
        return result

    def _sharing(
        self, operand: int, spread: Spread, above: int, *, arithmetic: bool = True
    ) -> Array:
        """Instances by words that they need at the same time, at most, by choice.

        Along an axis that slides, a outputs and b taps of the arithmetic meet in a + b - 1
        positions at least, however far they are apart. Where other levels spread the axis as well,
        and where whole tiles reach over each other, they may meet in one.

        Args:
            operand: the operand.
            spread: the choices.
            above: level that the words come from; instances above it share nothing.
            arithmetic: whether they are sent to the arithmetic, one at a time.
        """
        factors = spread.factors[:, max(above - spread.level, 0) :].prod(1)
        access, sizes = self.access[operand], self.lattice.nest.sizes
        words = factors[:, list(access.plain)].prod(1)
        for axis in access.windows:
            dims = [axis.outputs, axis.taps]
            if 1 in (sizes[axis.outputs], sizes[axis.taps]):
                words = words * factors[:, dims].prod(1)
            elif arithmetic and self._alone(dims, spread, above):
                words = words * (factors[:, dims].sum(1) - 1)
        return factors.prod(1) / words

    def _alone(self, dims: list[int], spread: Spread, above: int) -> bool:
        """Whether no other level spreads dimensions, down to the arithmetic."""
        others = [one for block in self.blocks for one in block.spread]
        return spread.level + spread.factors.shape[1] > above and all(
            one.level == spread.level
            or one.level + one.factors.shape[1] <= above
            or (one.factors[:, :, dims] == 1).all()
            for one in others
        )

    def _shared(self, operand: int, above: int, level: int) -> float:
        """Instances of a level, below one of another, that may share all their words."""
        spreads = [one for block in self.blocks for one in block.spread]
        return math.prod(
            float(self._sharing(operand, one, above, arithmetic=False).max())
            for one in spreads
            if above < one.level + one.factors.shape[1] and one.level < level
        )

    # Minima.

    def _least(self, array: Array, spread: Spread) -> Array:
        """The least over the instances that a tile may be spread on."""
        shaped = array.reshape(-1, *self.lattice.shape)
        result = np.full_like(shaped, np.inf)
        costs: dict[Shift, float] = {}
        for shift, cost in zip(spread.shifts, self.spread_pj(spread), strict=True):
            costs[shift] = min(costs.get(shift, np.inf), cost)
        for shift, cost in costs.items():
            upper, under = self.lattice.cuts(shift)
            target = result[(slice(None), *upper)]
            part = shaped[(slice(None), *under)]
            np.minimum(target, part + cost if cost else part, out=target)
        return result.reshape(array.shape)

    def _most(self, busy: Array, spread: Spread) -> Array:
        shaped = busy.reshape(self.lattice.shape)
        result = np.zeros_like(shaped)
        for shift, instances in set(zip(spread.shifts, spread.instances.tolist(), strict=True)):
            upper, under = self.lattice.cuts(shift)
            target = result[upper]
            np.maximum(target, shaped[under] * instances, out=target)
        return result.reshape(-1)

    def _loops(self, array: Array, rows: "Rows", level: int) -> Array:
        """The least over the loops of a level, for each tile outside them."""
        dims = self._looping(level)
        result = self.lattice.lower(array[rows.row(0, 1)], dims)
        shaped = result.reshape(self.lattice.shape)
        for operand in rows.kept:
            once = array[rows.row(operand, _ONCE)]
            still = [dim for dim in self.idle[operand] if dim in dims]
            np.minimum(result, self.lattice.lower(once, still), out=result)
            moves = [dim for dim in dims if dim not in self.idle[operand]]
            first, last = rows.row(operand, 1), rows.row(operand, _ONCE)
            lower = self.lattice.lower(array[first:last], moves)
            lower = lower.reshape(-1, *self.lattice.shape)
            for shift, r in self.reach[operand]:
                if any(
                    n and axis[0] not in dims
                    for n, axis in zip(shift, self.lattice.axes, strict=True)
                ):
                    continue
                upper, under = self.lattice.cuts(shift)
                target = shaped[upper]
                np.minimum(target, lower[(rows.row(operand, r) - first, *under)], out=target)
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
        words = [self.lattice.words(operand, box=self.rule.box) for operand in kept]
        if isinstance(capacity, Table):
            room = [capacity.get(operand, 0) for operand in Operand]
            fit = [one <= room[operand] for operand, one in zip(kept, words, strict=True)]
            return np.logical_and.reduce([np.ones(self.lattice.cells, bool), *fit])
        return np.sum([np.zeros(self.lattice.cells), *words], 0) <= capacity

    # What a search asks.

    def rows_of(self, block: int, outer: Whole, tiles: Whole) -> Whole:
        """For each operand that may stay, the row of each tile inside the loops of a block.

        Args:
            block: number of the block.
            outer: the tiles that its level holds, shape (many,).
            tiles: cells inside its loops, shape (many,).

        Returns:
            Shape (rows, many); one row where no operand may.
        """
        rows, sizes = self.rows[block], self.lattice.sizes
        result = [np.full(len(tiles), rows.row(0, 1))] if not rows.kept else []
        ratio = sizes[:, outer] // sizes[:, tiles]
        for operand in rows.kept:
            idle = self.idle[operand]
            still = np.delete(ratio, idle, 0).prod(0) == 1
            found = rows.find(operand, ratio[idle].prod(0))
            result.append(np.where(still, rows.row(operand, _ONCE), found))
        return np.stack(result)

    def stage(self, block: int, number: int) -> Array:
        """Least energy inside, by row and tile: before the spread over a level of a block.

        ``number`` 0 is of the tiles inside the loops; each next one of those after one more level
        of the block was spread, without what is read above.
        """
        return self._spread[block][number]

    def busy(self, block: int, number: int) -> Array:
        """Units of the arithmetic that may be busy inside, as ``stage`` counts."""
        return self._busy[block][number]

    def reads(self, block: int) -> Array:
        """What ``stage`` 0 has more."""
        return self._read[block]


@dataclass(frozen=True, slots=True)
class Rows:
    """The operands that may stay, each with its r, as rows of arrays.

    Attributes:
        kept: operands that may.
        operand: of each row.
        r: of each row; ``_ONCE`` where the operand is fetched once.
        first: of each kept operand, its first row.
    """

    kept: tuple[int, ...]
    operand: Whole
    r: Whole
    first: Table[int, int]

    @classmethod
    def of(cls, kept: list[int], reach: tuple[list[tuple[Shift, int]], ...]) -> "Rows":
        """Rows of operands that may stay."""
        operand, r, first = [-1], [1], {}
        for one in kept:
            first[one] = len(r)
            lengths = sorted({length for _, length in reach[one]})
            operand += [one] * (len(lengths) + 1)
            r += [*lengths, _ONCE]
        return cls(tuple(kept), np.array(operand), np.array(r), first)

    def row(self, operand: int, r: int) -> int:
        """The row of an operand and its r; (0, 1) is also that where none stays."""
        if operand not in self.first:
            return 0
        return int(self.find(operand, np.array([r]))[0]) if r != _ONCE else self._last(operand)

    def find(self, operand: int, r: Whole) -> Whole:
        """The rows of an operand and several r."""
        first, last = self.first[operand], self._last(operand)
        return first + np.searchsorted(self.r[first:last], r)

    def _last(self, operand: int) -> int:
        later = [first for first in self.first.values() if first > self.first[operand]]
        return min(later, default=len(self.r)) - 1


def _blocks(
    lattice: Lattice, architecture: Architecture, rules: Constraints | None
) -> tuple[Block, ...]:
    looping = [n for n, level in enumerate(architecture.levels) if n == 0 or level.keeps]
    result: list[Block] = []
    ends = [*looping[1:], len(architecture.levels)]
    for level, inner in zip(looping, ends, strict=True):
        whole = math.prod(
            len(side_by_side(lattice.nest, one)) for one in architecture.levels[level:inner]
        )
        if whole <= _TOGETHER:
            spread = [Spread.of(lattice, level, architecture, inner - level, rules)]
        else:
            spread = [Spread.of(lattice, n, architecture, 1, rules) for n in range(level, inner)]
        result.append(Block(level, tuple(spread), inner))
    return tuple(result)


def moved_words(lattice: Lattice, operand: int, rule: Convention) -> Array:
    """Words that all passes of each tile bring at least where its operand does not stay whole.

    Of its moves the innermost loop, of n >= 2 iterations, makes (n - 1) / n. Along an axis by
    itself each brings the whole tile; along a sliding one it brings what one step has anew. What
    the moves of other loops bring of a sliding tile is not counted.
    """
    nest, access = lattice.nest, accesses(lattice.nest)[operand]
    passes = nest.macs / lattice.sizes.prod(0)
    whole = lattice.words(operand, box=rule.box)
    least = np.full(lattice.cells, np.inf)
    none = Copies(np.ones((0, lattice.cells)), np.ones((0, lattice.cells)))
    for axis in access.windows:
        if 1 in (nest.sizes[axis.outputs], nest.sizes[axis.taps]):
            continue  # every step brings all of the tile
        outputs, taps = (lattice.sizes[n].astype(float) for n in (axis.outputs, axis.taps))
        tiles = Tiles(outputs, taps, none, none)
        length = (box if rule.box else touched)(axis, tiles)
        for dim, step in ((axis.outputs, axis.stride), (axis.taps, axis.dilation)):
            away = lattice.sizes[dim] * float(step)
            anew = np.ones(lattice.cells)
            if rule.box:
                anew = np.minimum(away, length)
            elif axis.reduced[1] == 1:
                # Longer steps, over several instances, bring no less; between taps that leave
                # gaps they may.
                sure = dim == axis.outputs or (taps >= axis.reduced[0])
                anew = np.where(sure, fresh(axis, tiles, away), anew)
            moves = lattice.sizes[dim] < nest.sizes[dim]
            least = np.where(moves, np.minimum(least, anew * whole / length), least)
    return passes * np.where(np.isinf(least), whole, np.minimum(whole, least) / 2)
