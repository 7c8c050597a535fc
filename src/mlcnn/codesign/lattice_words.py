"""Words of every tile of a nest, and what loops outside may leave still: the layer's alone.

Nothing here depends on the machine, so searches on many machines share it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.space import Access, accesses
from mlcnn.codesign.tiles import NESTS, Lattice, ratios
from mlcnn.codesign.windows import Copies, Tiles, box, fresh, touched

__all__ = ["Rows", "Stays", "TileWords", "moved_words"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stays:
    """How long an operand may stay at each tile.

    Attributes:
        idle: numbers of the dimensions that do not move it.
        lengths: every r, the product of a factor of each of these, ascending.
        moved: words that all passes of each tile bring: for each r, and last if it is fetched once;
            float64 of shape (lengths + 1, cells).
        still: number of each tile along the idle dimensions; differences of these are numbers of
            factors.
        moving: number of each tile along the others.
        number: of each factor of the idle dimensions, the place of its r.
        times: place of the product of two r, by their places, whole of shape (lengths + 1,
            lengths + 1); what is fetched once stays so. (Of factors that are not of the nest
            together: some place.)
    """

    idle: tuple[int, ...]
    lengths: Whole
    moved: Array
    still: Whole
    moving: Whole
    number: Whole
    times: Whole

    @classmethod
    def of(cls, lattice: Lattice, moved: Array, words: Array, idle: tuple[int, ...]) -> "Stays":
        """Of an operand.

        Args:
            lattice: the tiles.
            moved: words that all passes of each tile bring where the operand does not stay.
            words: of each tile.
            idle: dimensions that do not move the operand.
        """
        reach = tuple(ratios(lattice, idle))
        lengths = np.array(sorted({length for _, length in reach}), np.int64)
        rows = np.concatenate([moved / lengths[:, None], np.zeros((1, lattice.cells))])
        still = lattice.numbers(idle)
        number = np.zeros(int(still.max()) + 1, np.int64)
        for shift, length in reach:
            number[still[lattice.distance(shift)]] = np.searchsorted(lengths, length)
        moving = lattice.numbers([n for n in range(len(lattice.nest.dims)) if n not in idle])
        times = np.full((len(lengths) + 1, len(lengths) + 1), len(lengths))
        places = np.searchsorted(lengths, np.multiply.outer(lengths, lengths))
        times[:-1, :-1] = np.minimum(places, len(lengths) - 1)
        moved = np.maximum(rows, words[-1])
        return cls(idle, lengths, moved, still, moving, number, times)


@dataclass(frozen=True, slots=True, eq=False)
class TileWords:
    """Words of the tiles of a nest.

    Attributes:
        access: of the operands.
        passes: of each tile over all instances: MACs / MACs inside.
        words: of each operand in each tile, touched.
        taken: of each operand in each tile, as they fill a memory.
        stays: of each operand.
    """

    access: tuple[Access, Access, Access]
    passes: Array
    words: tuple[Array, ...]
    taken: tuple[Array, ...]
    stays: tuple[Stays, ...]

    @classmethod
    def of(cls, lattice: Lattice, rule: Convention) -> "TileWords":
        """Of the tiles of a nest; the same object for the same nest and rule."""
        return _tile_words(lattice, rule)


@lru_cache(maxsize=NESTS)
def _tile_words(lattice: Lattice, rule: Convention) -> TileWords:
    access = accesses(lattice.nest)
    passes = lattice.nest.macs / lattice.sizes.prod(0)
    operands = range(len(access))
    words = tuple(lattice.words(operand) for operand in operands)
    taken = tuple(lattice.words(operand, box=True) for operand in operands) if rule.box else words
    stays: list[Stays] = []
    for operand, one in enumerate(access):
        idle = tuple(n for n, moves in enumerate(one.relevant) if not moves)
        moved = moved_words(lattice, operand, rule)
        stays.append(Stays.of(lattice, moved, words[operand], idle))
    return TileWords(access, passes, words, taken, tuple(stays))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of arrays: what the loops outside a tile leave still.

    First that of no operand; then each operand's r, last of these if it is fetched once; and last
    that of all operands, where there are no loops outside.

    Attributes:
        kept: operands that may stay.
        first: of each of them, its first row.
        last: of each of them, its last row.
        many: how many there are.
    """

    kept: tuple[int, ...]
    first: dict[int, int]
    last: dict[int, int]
    many: int

    @classmethod
    def made(cls, kept: Iterable[int], stays: tuple[Stays, ...]) -> "Rows":
        """Rows of operands that may stay."""
        operands, first, last, many = tuple(kept), dict[int, int](), dict[int, int](), 1
        for one in operands:
            first[one], many = many, many + len(stays[one].moved)
            last[one] = many - 1
        return cls(operands, first, last, many + bool(operands))

    def of(self, operand: int) -> slice:
        """The rows of an operand."""
        return slice(self.first[operand], self.last[operand] + 1)

    @property
    def everything(self) -> int:
        """The row of all operands."""
        return self.many - 1

    def among(self, outer: "Rows") -> Whole:
        """The row here of each row of a block further out, where these and others may stay."""
        result = np.zeros(outer.many, np.int64)
        for one in self.kept:
            result[outer.first[one] : outer.last[one] + 1] = range(
                self.first[one], self.last[one] + 1
            )
        result[-1] = self.everything
        return result


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
