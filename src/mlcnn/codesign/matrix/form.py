"""The counts of a class of orders as two matrices.

With x the logarithms of all factors, every count of the convention ``exact-box`` is made of rows of
``A exp(G x)``: G says which factors are multiplied, A adds such products with whole coefficients.
G and A depend on the nest, on what is kept and on the class of orders alone:

* A plain operand takes in, at level c, a tile for each iteration of the loops above from the
  innermost that moves it outwards: one row of G, ``log F = G x``. Which loops these are is all that
  an order decides.
* A tile of the input has ``(P - 1) * stride + (R - 1) * dilation + 1`` positions along a sliding
  axis, and its instances' box more: no monomial, but a sum of them, so a row of A.
* What stays of it at a step of a loop is ``max(size - |distance|, 0)`` along each axis, where the
  distance is a sum of such products, too; and the step happens ``(n - 1) * (iterations outside)``
  times. So halos are saved as in ``exact-box``, and each count is a polynomial of exponentials but
  for that maximum.

A loop of one iteration is no loop, and the scorer in numpy looks for them. A class takes each of
its loops for one. So its counts are those of the scorer where it has exactly the loops of two
iterations and more, and upper bounds where it has more: there a loop of one iteration ends the stay
of what it would move. A mapping's count is the least over the classes that cover its loops. Loops
that a class has not are outermost in their level and end no stay, should a factor of theirs exceed
1 all the same: that is another mapping, of another class, and nothing is said of its count.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.matrix.orders import OrderClass
from mlcnn.codesign.matrix.polynomials import Polynomial, Rows
from mlcnn.codesign.space import Access, accesses
from mlcnn.codesign.windows import WindowAxis
from mlcnn.errors import InputError
from mlcnn.workload import LoopNest

__all__ = ["Link", "MatrixForm", "Words"]


@dataclass(frozen=True, slots=True)
class Words:
    """How a number of words is made of rows t of ``A exp(G x)``.

    It is::

        t[lead] * prod(t[sizes])
            - sum over moves of t[times] * prod(max(t[sizes] - |t[distance]|, 0))

    Attributes:
        lead: tiles, or words along axes that do not slide, over all iterations.
        sizes: positions along each axis that slides.
        times: the same as ``lead`` for each move that may leave something.
        distances: of each move along each axis.
    """

    lead: int
    sizes: tuple[int, ...] = ()
    times: tuple[int, ...] = ()
    distances: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """What goes between a level and the next inner one that keeps an operand.

    Attributes:
        operand: its number.
        above: the outer level.
        level: the inner one; the number of levels for the arithmetic.
        each: words into one instance of the inner one; None for the arithmetic.
        together: words out of one instance of the outer one.
        seen: row of the outputs that one instance of the outer one ever has.
    """

    operand: int
    above: int
    level: int
    each: Words | None
    together: Words
    seen: int


@dataclass(frozen=True, slots=True)
class MatrixForm:
    """All counts of the mappings of one class of orders.

    Attributes:
        nest: what is mapped.
        keep: bool of shape (levels, operands).
        exponents: G, float64 of shape (monomials, levels * 2 * dims): factors by level, temporal
            before spatial, and dimension.
        sums: A, float64 of shape (rows, monomials), whole numbers.
        links: of all operands.
        tiles: of each level and operand, the tile's words.
        instances: row of each level, and last of the arithmetic: instances that work.
        cycles: row of the arithmetic's cycles.
        macs: row of the multiply-accumulates.
    """

    nest: LoopNest
    keep: NDArray[np.bool_]
    exponents: NDArray[np.float64]
    sums: NDArray[np.float64]
    links: tuple[Link, ...]
    tiles: tuple[tuple[Words, ...], ...]
    instances: tuple[int, ...]
    cycles: int
    macs: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the factors of a mapping: (levels, 2, dims)."""
        return self.keep.shape[0], 2, len(self.nest.dims)

    @classmethod
    def of(
        cls,
        nest: LoopNest,
        keep: NDArray[np.bool_],
        orders: OrderClass,
        free: NDArray[np.bool_] | None = None,
    ) -> "MatrixForm":
        """The form of a class.

        Args:
            nest: what is mapped; its dimensions of one iteration have no factors.
            keep: what each level keeps, shape (levels, operands); the outermost everything.
            orders: the class, of as many levels.
            free: factors that there are, shape (levels, 2, dims); the others are 1, whatever ``x``
                says, which makes the matrices smaller. All by default.

        Raises:
            InputError: the class is of other levels or names a dimension that the nest has not.
            UnsupportedError: the nest's operands are of no form that is scored.
        """
        if keep.ndim != 2 or keep.shape[1] != len(Operand) or not keep[:1].all():
            raise InputError(
                "what is kept must be of shape (levels, 3), the outermost level keeping all, got "
                f"shape {keep.shape}"
            )
        _check(nest, keep.shape[0], orders)
        there = np.broadcast_to(np.array(nest.sizes) > 1, (keep.shape[0], 2, len(nest.dims)))
        return _Builder(nest, keep, orders, there if free is None else there & free).form()


def _check(nest: LoopNest, depth: int, orders: OrderClass) -> None:
    if len(orders.loops) != depth:
        raise InputError(f"a class of orders of {len(orders.loops)} levels, and there are {depth}")
    for number, level in enumerate(orders.loops):
        for dim in level:
            if dim not in nest.dims:
                raise InputError(
                    f"class of orders: level {number} has a loop over {dim}, and {nest.name} has "
                    f"{' '.join(nest.dims)}"
                )


@dataclass(frozen=True, slots=True)
class _Loop:
    """A temporal loop above a tile."""

    dim: int
    there: bool
    factor: Polynomial
    inside: Polynomial
    """Iterations of its dimension in one step."""


class _Builder:
    """Collects rows."""

    def __init__(
        self,
        nest: LoopNest,
        keep: NDArray[np.bool_],
        orders: OrderClass,
        free: NDArray[np.bool_],
    ) -> None:
        self.nest, self.keep, self.orders, self.free = nest, keep, orders, free
        self.depth, self.dims = keep.shape[0], range(len(nest.dims))
        self.rows = Rows(self.depth * 2 * len(nest.dims))
        self.access = accesses(nest)

    def form(self) -> MatrixForm:
        """The form."""
        links = tuple(link for operand in range(len(Operand)) for link in self.links(operand))
        tiles = tuple(
            tuple(self.tile(access, level) for access in self.access) for level in range(self.depth)
        )
        instances = tuple(
            self.rows.row(self.spread(self.dims, 0, level)) for level in range(self.depth + 1)
        )
        cycles = Polynomial.product(loop.factor for loop in self.above(self.depth))
        macs = cycles * self.spread(self.dims, 0, self.depth)
        last = self.rows.row(cycles), self.rows.row(macs)
        exponents, sums = self.rows.matrices()
        return MatrixForm(self.nest, self.keep, exponents, sums, links, tiles, instances, *last)

    def factor(self, level: int, kind: int, dim: int) -> Polynomial:
        """A factor; 1 where there is none."""
        if not self.free[level, kind, dim]:
            return Polynomial.number(1)
        return Polynomial.variable((level * 2 + kind) * len(self.dims) + dim)

    def inside(self, level: int, dim: int) -> Polynomial:
        """Iterations inside the tile of a level."""
        levels = range(level, self.depth)
        return Polynomial.product(self.factor(n, kind, dim) for n in levels for kind in (0, 1))

    def spread(self, dims: Sequence[int], above: int, level: int) -> Polynomial:
        """Instances of a level below one of another along some dimensions."""
        levels = range(above, level)
        return Polynomial.product(self.factor(n, 1, dim) for n in levels for dim in dims)

    def above(self, level: int) -> Iterator[_Loop]:
        """Loops above the tile of a level, innermost first."""
        for outer in range(level - 1, -1, -1):
            there = [self.nest.dims.index(dim) for dim in reversed(self.orders.loops[outer])]
            for dim in (*there, *(dim for dim in self.dims if dim not in there)):
                if self.free[outer, 0, dim]:
                    inside = self.inside(outer + 1, dim) * self.factor(outer, 1, dim)
                    yield _Loop(dim, dim in there, self.factor(outer, 0, dim), inside)

    def links(self, operand: int) -> Iterator[Link]:
        """Links of an operand, outermost first."""
        access = self.access[operand]
        keeping = [int(level) for level in np.flatnonzero(self.keep[:, operand])]
        for above, level in pairwise((*keeping, self.depth)):
            copies = self.spread(access.plain, above, level)
            seen = self.rows.row(self.plain(access, above) * self.passing(access, above))
            one = Polynomial.number(1)
            if level == self.depth:
                together = self.at_once(access, above, copies)
                yield Link(operand, above, level, None, together, seen)
            else:
                each = self.taken(access, level, level, one)
                yield Link(
                    operand, above, level, each, self.taken(access, above, level, copies), seen
                )

    def passing(self, access: Access, level: int) -> Polynomial:
        """Iterations of the loops above a level that move its tile along those axes."""
        levels = range(level)
        return Polynomial.product(self.factor(n, 0, dim) for n in levels for dim in access.plain)

    def plain(self, access: Access, level: int) -> Polynomial:
        """Words of a tile along the axes that do not slide."""
        return Polynomial.product(self.inside(level, dim) for dim in access.plain)

    def sizes(self, access: Access, above: int, level: int) -> tuple[int, ...]:
        """Positions along the others, of all instances below one of level ``above``."""
        return tuple(self.rows.row(self.box(axis, above, level)) for axis in access.windows)

    def box(self, axis: WindowAxis, above: int, level: int) -> Polynomial:
        """From the first position that the instances touch to the last."""
        one = Polynomial.number(1)
        result = one
        for dim, rate in ((axis.outputs, axis.stride), (axis.taps, axis.dilation)):
            span = self.inside(level, dim)
            for n in range(above, level):
                span += (self.factor(n, 1, dim) - one) * self.inside(n + 1, dim)
            result += (span - one) * Polynomial.number(rate)
        return result

    def tile(self, access: Access, level: int) -> Words:
        """The tile of a level."""
        lead = self.rows.row(self.plain(access, level))
        return Words(lead, self.sizes(access, level, level))

    def at_once(self, access: Access, above: int, copies: Polynomial) -> Words:
        """What the arithmetic below one instance of a level needs, over all cycles."""
        cycles = Polynomial.product(loop.factor for loop in self.above(self.depth))
        return Words(self.rows.row(cycles * copies), self.sizes(access, above, self.depth))

    def taken(self, access: Access, above: int, level: int, copies: Polynomial) -> Words:
        """What the tiles of a level below one instance of ``above`` take in together."""
        words = self.plain(access, level) * copies
        if access.windows:
            return self.sliding(access, above, level, words)
        moved = False
        for loop in self.above(level):
            relevant = access.relevant[loop.dim]
            moved = moved or (relevant and loop.there)
            if relevant or moved:
                words *= loop.factor
        return Words(self.rows.row(words))

    def sliding(self, access: Access, above: int, level: int, words: Polynomial) -> Words:
        """The same of an operand that slides."""
        loops = list(self.above(level))
        lead = words * Polynomial.product(loop.factor for loop in loops)
        times: list[int] = []
        distances: list[tuple[int, ...]] = []
        one = Polynomial.number(1)
        before = [Polynomial.number(0) for _ in access.windows]
        for number, loop in enumerate(loops):
            if access.direct[loop.dim]:
                if loop.there:  # a step of any loop outside moves all of the tile
                    break
                continue
            steps = [loop.inside * _rate(axis, loop.dim) for axis in access.windows]
            outside = Polynomial.product(outer.factor for outer in loops[number + 1 :])
            times.append(self.rows.row((loop.factor - one) * outside * words))
            moves = (step - back for step, back in zip(steps, before, strict=True))
            distances.append(tuple(self.rows.row(move) for move in moves))
            before = [
                back + (loop.factor - one) * step for back, step in zip(before, steps, strict=True)
            ]
        sizes = self.sizes(access, above, level)
        return Words(self.rows.row(lead), sizes, tuple(times), tuple(distances))


def _rate(axis: WindowAxis, dim: int) -> Polynomial:
    """Positions along an axis for an iteration of a dimension."""
    if dim == axis.outputs:
        return Polynomial.number(axis.stride)
    return Polynomial.number(axis.dilation if dim == axis.taps else 0)
