"""All tiles of a nest whose sizes divide the dimensions, as cells of an array.

The array has an axis for each prime of each dimension, along which its exponent grows. So the
divisors of a tile are the cells before it along every axis, a minimum over them runs along one axis
after the other, and a tile divided by factors lies at a fixed distance.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Level
from mlcnn.codesign.constraints import Constraints
from mlcnn.codesign.space import accesses
from mlcnn.codesign.windows import Copies, Tiles, touched
from mlcnn.codesign.windows import box as box_of
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = ["Lattice", "Shift", "Spread", "primes", "ratios", "side_by_side"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
Shift = tuple[int, ...]
"""Exponents of factors, by axis."""


def primes(number: int) -> Iterator[tuple[int, int]]:
    """The primes of a number and their exponents."""
    factor = 2
    while number > 1:
        exponent = 0
        while number % factor == 0:
            number, exponent = number // factor, exponent + 1
        if exponent:
            yield factor, exponent
        factor = factor + 1 if factor * factor <= number else max(number, factor + 1)


@dataclass(frozen=True, slots=True)
class Lattice:
    """The tiles of a nest.

    Attributes:
        nest: the layer.
        axes: (number of the dimension, prime) of each axis of the array.
        shape: of the array: exponents from 0.
        sizes: of each dimension in each tile, int64 of shape (dims, cells).
    """

    nest: LoopNest
    axes: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    sizes: Whole

    @classmethod
    def of(cls, nest: LoopNest) -> "Lattice":
        """The tiles of a nest."""
        found = [
            (dim, prime, most)
            for dim, size in enumerate(nest.sizes)
            for prime, most in primes(size)
        ]
        found = found or [(0, 2, 0)]
        shape = tuple(most + 1 for _, _, most in found)
        sizes = np.ones((len(nest.sizes), *shape), np.int64)
        for axis, (dim, prime, most) in enumerate(found):
            along = [1] * len(shape)
            along[axis] = most + 1
            sizes[dim] *= (prime ** np.arange(most + 1)).reshape(along)
        axes = tuple((dim, prime) for dim, prime, _ in found)
        return cls(nest, axes, shape, sizes.reshape(len(nest.sizes), -1))

    @property
    def cells(self) -> int:
        """How many tiles there are."""
        return self.sizes.shape[1]

    def steps(self) -> Whole:
        """How far the next cell along each axis is."""
        behind = [math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        return np.array(behind, np.int64)

    def box(self, cell: int) -> Whole:
        """The cells of all divisors of a tile."""
        most = np.unravel_index(cell, self.shape)
        result = np.zeros(1, np.int64)
        for step, exponent in zip(self.steps(), most, strict=True):
            result = (result[:, None] + step * np.arange(exponent + 1)).reshape(-1)
        return result

    def product(self, dims: Sequence[int]) -> Whole:
        """Product of some dimensions, of each tile."""
        return self.sizes[list(dims)].prod(0)

    def words(self, operand: int, *, box: bool = False) -> Array:
        """Words of an operand in each tile: those that are touched, or of the box around them."""
        access = accesses(self.nest)[operand]
        none = Copies(np.ones((0, self.cells)), np.ones((0, self.cells)))
        measure = box_of if box else touched
        result = self.product(access.plain).astype(float)
        for axis in access.windows:
            outputs, taps = (self.sizes[n].astype(float) for n in (axis.outputs, axis.taps))
            result = result * measure(axis, Tiles(outputs, taps, none, none))
        return result

    def shift(self, factors: Sequence[int]) -> Shift:
        """Exponents of a factor of each dimension, which divides it."""
        result: list[int] = []
        for dim, prime in self.axes:
            exponent, rest = 0, int(factors[dim])
            while rest % prime == 0:
                exponent, rest = exponent + 1, rest // prime
            result.append(exponent)
        return tuple(result)

    def cell(self, sizes: Whole) -> int:
        """The tile of some sizes, shape (dims,)."""
        return self.distance(self.shift([int(size) for size in sizes]))

    def distance(self, shift: Shift) -> int:
        """How many cells a tile divided by factors lies before it."""
        return int((self.steps() * np.array(shift, np.int64)).sum())

    def lower(self, array: Array, dims: Sequence[int]) -> Array:
        """The least of the values of all tiles that differ in some dimensions and divide it.

        Args:
            array: of shape (..., cells).
            dims: numbers of the dimensions.
        """
        shaped = array.reshape(*array.shape[:-1], *self.shape).copy()
        lead = len(array.shape) - 1
        for axis, (dim, _) in enumerate(self.axes):
            if dim in dims:
                np.minimum.accumulate(shaped, axis=lead + axis, out=shaped)
        return shaped.reshape(array.shape)

    def cuts(self, shift: Shift) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The cells that factors divide, and those that they are then."""
        upper = tuple(slice(one, None) for one in shift)
        under = tuple(slice(0, size - one) for one, size in zip(shift, self.shape, strict=True))
        return upper, under


@dataclass(frozen=True, slots=True)
class Spread:
    """Every choice of instances below some levels, one below the other.

    Attributes:
        level: number of the outermost of them.
        factors: of each level and dimension, int64 of shape (choices, levels, dims).
        shifts: exponents of the product over the levels, by choice.
    """

    level: int
    factors: Whole
    shifts: tuple[Shift, ...]

    @classmethod
    def of(
        cls,
        lattice: Lattice,
        level: int,
        machine: Architecture,
        levels: int = 1,
        rules: Constraints | None = None,
    ) -> "Spread":
        """All choices below ``levels`` levels from ``level`` on that keep to some rules.

        Raises:
            InfeasibleError: none does.
        """
        nest = lattice.nest
        below = [side_by_side(nest, machine.levels[level + n]) for n in range(levels)]
        chosen = np.array(list(itertools.product(*below)), np.int64)
        sizes = np.array(nest.sizes)
        chosen = chosen[(sizes % chosen.prod(1) == 0).all(1)]
        if rules is not None:
            for n, dim in np.ndindex(levels, len(sizes)):
                allowed = rules.factors_allowed(level + n, nest.dims[dim], spatial=True)
                chosen = chosen[allowed.among(chosen[:, n, dim])]
        if not len(chosen):
            raise InfeasibleError(
                f"{nest.name} on {machine.name}: no instances side by side below level "
                f"{machine.levels[level].name} keep to the constraints"
            )
        return cls(level, chosen, tuple(lattice.shift(one) for one in chosen.prod(1)))

    @property
    def instances(self) -> Whole:
        """Of each choice."""
        return self.factors.prod((1, 2))


def side_by_side(nest: LoopNest, level: Level) -> list[tuple[int, ...]]:
    """Every choice of instances below a level: a factor of each dimension of the nest."""
    most = level.fan_out.size
    choices: list[list[int]] = []
    for dim, size in zip(nest.dims, nest.sizes, strict=True):
        allowed = level.fan_out.dims is None or dim in level.fan_out.dims
        limit = min(size, most) if allowed else 1
        choices.append([n for n in range(1, limit + 1) if size % n == 0])
    return list(_products(choices, most))


def _products(choices: list[list[int]], most: int) -> Iterator[tuple[int, ...]]:
    if not choices:
        yield ()
        return
    for factor in choices[0]:
        if factor <= most:
            for rest in _products(choices[1:], most // factor):
                yield (factor, *rest)


def ratios(lattice: Lattice, dims: Sequence[int]) -> list[tuple[Shift, int]]:
    """Every factor of some dimensions: its exponents and the product."""
    ranges = [
        range(size) if dim in dims else range(1)
        for (dim, _), size in zip(lattice.axes, lattice.shape, strict=True)
    ]
    return [
        (shift, math.prod(p**e for (_, p), e in zip(lattice.axes, shift, strict=True)))
        for shift in itertools.product(*ranges)
    ]
