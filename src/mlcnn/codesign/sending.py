"""Energy of the words that levels send inwards, where instances share all that they may.

What the arithmetic reads of an operand hangs on how many units share it, over all levels below the
one that keeps it. It is counted at the level whose instances can share most: there it is known how
many do, and of the others no more than fit the rest of the nest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.lattice_words import TileWords
from mlcnn.codesign.nodes import Narrow
from mlcnn.codesign.sharing import Sharing
from mlcnn.codesign.tiles import Lattice, Spread

__all__ = ["Late", "Sending"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
_OUTPUT = 2


@dataclass(frozen=True, slots=True)
class Late:
    """What the arithmetic reads of an operand, counted where instances further out share it.

    Attributes:
        operand: the operand.
        above: number of the level that it is read at.
        spread: the choices of these instances.
        share: instances by words that they need at the same time, at most, by choice.
    """

    operand: int
    above: int
    spread: Spread
    share: Array


class Sending:
    """Energy of what levels send that keep what a mask says.

    Args:
        lattice: the tiles.
        tiles: their words.
        sharing: of the instances.
        architecture: the machine.
        keep: the mask.

    Attributes:
        late: what the arithmetic reads where that hangs most on instances further out than its
            block, by number of the first of the levels whose instances share it.
    """

    def __init__(
        self,
        lattice: Lattice,
        tiles: TileWords,
        sharing: Sharing,
        architecture: Architecture,
        keep: NDArray[np.bool_],
    ) -> None:
        self.lattice, self.tiles, self.sharing = lattice, tiles, sharing
        self.architecture, self.keep = architecture, keep
        self.late = self._late()

    def above(self, operand: int, level: int) -> int:
        """The next level further out that keeps an operand."""
        return int(np.flatnonzero(self.keep[:level, operand])[-1])

    def level_pj(self, operand: int, level: int, words: Array, tiles: Whole) -> Array:
        """Energy that a level takes to send words inwards, or to take outputs in from there.

        Args:
            operand: the operand.
            level: number of the level.
            words: of all instances.
            tiles: inside, of one instance.
        """
        one = self.architecture.levels[level]
        if operand != _OUTPUT:
            return words * one.read_pj
        again = np.maximum(words - self.seen(level, tiles), 0.0)  # first visits read nothing
        return words * one.write_pj + again * one.read_pj

    def seen(self, level: int, tiles: Whole) -> Array:
        """Different outputs that all instances of a level see at most, each with a tile inside."""
        shared = self.sharing.outside(_OUTPUT, 0, level, tiles, arithmetic=False)
        return self.tiles.words[_OUTPUT][-1] * shared

    def _late(self) -> dict[int, list[Late]]:
        result: dict[int, list[Late]] = {}
        depth = len(self.architecture.levels)
        for operand in range(len(self.tiles.access)):
            above = self.above(operand, depth)
            spreads = self.sharing.between(above, depth)
            shares = [self.sharing.of(operand, one, above) for one in spreads]
            most = max(range(len(shares)), key=lambda n: (shares[n].max(), n))
            if (level := spreads[most].level) < self.sharing.blocks[-1].level:
                one = Late(operand, above, spreads[most], shares[most])
                result.setdefault(level, []).append(one)
        return result

    def spread_pj(self, spread: Spread, choice: Whole, outer: Whole, inner: Whole) -> Array:
        """Energy of what the arithmetic reads that hangs on some instances.

        Args:
            spread: the choices of instances.
            choice: numbers of some.
            outer: tiles that these make up.
            inner: tiles of one instance.
        """
        result = np.zeros(np.broadcast_shapes(choice.shape, outer.shape))
        for late in self.late.get(spread.level, ()):
            others = self.sharing.outside(late.operand, late.above, spread.level, outer)
            others = others * self.sharing.inside(late.operand, late.above, spread.end, inner)
            words = self.lattice.nest.macs / (late.share[choice] * others)
            result += self.level_pj(late.operand, late.above, words, outer)
        return result

    def late_pj(self, level: int, spatial: Narrow, tiles: Whole) -> Array:
        """Energy of what the arithmetic reads that hangs on instances outside a level.

        Args:
            level: number of a level with loops.
            spatial: instances of all levels, shape (many, levels, dims).
            tiles: that the level holds.
        """
        result = np.zeros(len(tiles))
        for late in (one for start, some in self.late.items() if start < level for one in some):
            shared = self.sharing.inside(late.operand, late.above, level, tiles)
            for one in self.sharing.between(late.above, level):
                chosen = spatial[:, one.level : one.end]
                shared = shared * self.sharing.of_some(late.operand, one, chosen, late.above)
            words = self.lattice.nest.macs / shared
            result += self.level_pj(late.operand, late.above, words, tiles)
        return result
