"""Instances of a nest side by side on a machine, and how many of them may share words.

It depends on the fan-outs alone, so machines of other memories share it.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.constraints import Constraints
from mlcnn.codesign.space import accesses
from mlcnn.codesign.tiles import Lattice, Shift, Spread, side_by_side

__all__ = ["Block", "Sharing", "sharing_of"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
_TOGETHER = 1000
"""Choices of instances below several levels that are looked at together."""
_MACHINES = 128
"""Nests on machines of other fan-outs that are kept for searches to come."""


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


class Sharing:
    """What instances side by side may share.

    Args:
        lattice: the tiles.
        blocks: the levels, outermost first.
    """

    def __init__(self, lattice: Lattice, blocks: tuple[Block, ...]) -> None:
        self.lattice, self.blocks, self.depth = lattice, blocks, blocks[-1].inner
        self.access = accesses(lattice.nest)
        self.spreads = [one for block in blocks for one in block.spread]
        self._apart: dict[tuple[int, int, tuple[int, ...]], bool] = {}
        self._joints: dict[tuple[int, int, tuple[int, int], bool], Array] = {}

    def of(self, operand: int, spread: Spread, above: int, *, arithmetic: bool = True) -> Array:
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
        return self.of_some(operand, spread, spread.factors, above, arithmetic=arithmetic)

    def of_some(
        self,
        operand: int,
        spread: Spread,
        chosen: NDArray[np.integer],
        above: int,
        *,
        arithmetic: bool = True,
    ) -> Array:
        """``of`` of some choices, shape (many, levels, dims)."""
        factors = chosen[:, max(above - spread.level, 0) :].prod(1)
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
        key = (spread.level, above, tuple(dims))
        if key not in self._apart:
            self._apart[key] = spread.end > above and all(
                one.level == spread.level
                or one.end <= above
                or (one.factors[:, :, dims] == 1).all()
                for one in self.spreads
            )
        return self._apart[key]

    def between(self, above: int, level: int) -> list[Spread]:
        """Choices of instances of a level that lie below one of another."""
        return [one for one in self.spreads if above < one.end and one.level < level]

    def outside(
        self, operand: int, above: int, level: int, tiles: Whole, *, arithmetic: bool = True
    ) -> Array:
        """Instances of a level, below one of another, that may share all their words.

        Args:
            operand: the operand.
            above: number of the other level.
            level: number of the level.
            tiles: that lie inside these instances.
            arithmetic: whether words are sent to the arithmetic.
        """
        found = self._joint(operand, above, (above, level), arithmetic=arithmetic)
        return found[self.lattice.cells - 1 - tiles]

    def inside(self, operand: int, above: int, level: int, tiles: Whole) -> Array:
        """Units of the arithmetic, below one instance of a level, that may share their words.

        Args:
            operand: the operand.
            above: number of the level that the words come from.
            level: number of the level, further inwards.
            tiles: that it holds.
        """
        return self._joint(operand, above, (level, self.depth), arithmetic=True)[tiles]

    def _joint(
        self, operand: int, above: int, levels: tuple[int, int], *, arithmetic: bool
    ) -> Array:
        """Most instances by words that they need, by the tile that all of them divide.

        Args:
            operand: the operand.
            above: number of the level that the words come from.
            levels: instances below the first down to the second.
            arithmetic: as for ``of``.
        """
        key = (operand, above, levels, arithmetic)
        if key not in self._joints:
            known = {(0,) * len(self.lattice.shape): 1.0}
            for one in self.between(*levels):
                shares = self.of(operand, one, above, arithmetic=arithmetic)
                known = self.lattice.combined(known, _greatest(one.shifts, shares))
            self._joints[key] = self.lattice.greatest(known)
        return self._joints[key]


def _greatest(shifts: tuple[Shift, ...], values: Array) -> dict[Shift, float]:
    """The greatest of the values of each shift."""
    result: dict[Shift, float] = {}
    for shift, value in zip(shifts, values.tolist(), strict=True):
        result[shift] = max(result.get(shift, value), value)
    return result


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


def sharing_of(lattice: Lattice, architecture: Architecture, rules: Constraints | None) -> Sharing:
    """What instances of a nest may share; the same object for machines of the same fan-outs.

    Args:
        lattice: the tiles.
        architecture: the machine.
        rules: what instances must keep to.

    Raises:
        InfeasibleError: no instances do.
    """
    if rules is not None:
        return Sharing(lattice, _blocks(lattice, architecture, rules))
    levels = tuple(
        replace(Level(str(number), level.keeps and tuple(Operand), 1), fan_out=level.fan_out)
        for number, level in enumerate(architecture.levels)
    )
    return _shared(lattice, Architecture("", levels, 0.0))


@lru_cache(maxsize=_MACHINES)
def _shared(lattice: Lattice, architecture: Architecture) -> Sharing:
    return Sharing(lattice, _blocks(lattice, architecture, None))
