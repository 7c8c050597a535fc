"""Positions along one axis of the input: ``stride * p + dilation * r``.

A tile of ``a`` outputs and ``b`` taps touches the set F = {stride * i + dilation * j: i < a,
j < b}, moved to where it starts. With g = gcd(stride, dilation), s = stride / g and
t = dilation / g, two pairs (i, j) touch one position exactly if they differ by a multiple of
(t, -s); so F has as many positions as pairs that no such step leads to inside the tile::

    |F| = a * b - max(a - t, 0) * max(b - s, 0)
"""

import itertools
import math
import operator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Copies", "Tiles", "WindowAxis", "box", "fresh", "touched"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WindowAxis:
    """An axis of the input.

    Attributes:
        outputs: number of its dimension of outputs, in the order of the nest.
        taps: number of its dimension of taps.
        stride: positions from one output to the next.
        dilation: positions from one tap to the next.
    """

    outputs: int
    taps: int
    stride: int
    dilation: int

    @property
    def reduced(self) -> tuple[int, int]:
        """Stride and dilation without what divides both."""
        step = math.gcd(self.stride, self.dilation)
        return self.stride // step, self.dilation // step


@dataclass(frozen=True, slots=True)
class Copies:
    """Instances that share a dimension; arrays of shape (levels, tiles), outermost level first.

    Attributes:
        factor: instances side by side.
        apart: iterations of the dimension from one to the next: more than a tile where a
            temporal loop stands between them and it.
    """

    factor: Array
    apart: Array

    def at(self, index: NDArray[np.int64]) -> "Copies":
        """Of some of the tiles."""
        return Copies(self.factor[:, index], self.apart[:, index])

    def span(self, size: Array) -> Array:
        """Iterations from the first to the last of tiles of ``size``."""
        if not len(self.factor):
            return size
        return size + ((self.factor - 1.0) * self.apart).sum(0)

    def adjacent(self, size: Array) -> Mask:
        """Whether the tiles leave no gap."""
        return self.span(size) == size * self.factor.prod(0)

    def alone(self) -> Mask:
        """Whether there is one instance only."""
        return (self.factor == 1).all(0)


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of one axis.

    Attributes:
        outputs: of one instance, shape (tiles,).
        taps: of one instance.
        output_copies: instances along the outputs.
        tap_copies: instances along the taps; of as many levels.
    """

    outputs: Array
    taps: Array
    output_copies: Copies
    tap_copies: Copies

    def at(self, index: NDArray[np.int64]) -> "Tiles":
        """Some of them."""
        copies = self.output_copies.at(index), self.tap_copies.at(index)
        return Tiles(self.outputs[index], self.taps[index], *copies)

    def spans(self) -> tuple[Array, Array]:
        """Outputs and taps from the first instance's first to the last one's last."""
        return self.output_copies.span(self.outputs), self.tap_copies.span(self.taps)

    def alone(self) -> Mask:
        """Whether there is one instance only."""
        return self.output_copies.alone() & self.tap_copies.alone()

    def adjacent(self) -> Mask:
        """Whether together they are one larger tile."""
        adjacent = self.output_copies.adjacent(self.outputs)
        return adjacent & self.tap_copies.adjacent(self.taps)


def touched(axis: WindowAxis, tiles: Tiles) -> Array:
    """Positions that the instances touch together: |F| where they leave no gap, else listed."""
    result = _size(axis, *tiles.spans())
    return _where_not(tiles.adjacent(), result, axis, tiles, None)


def box(axis: WindowAxis, tiles: Tiles) -> Array:
    """Positions from the first that the instances touch to the last."""
    outputs, taps = tiles.spans()
    return (outputs - 1.0) * axis.stride + (taps - 1.0) * axis.dilation + 1.0


def fresh(axis: WindowAxis, tiles: Tiles, distance: Array) -> Array:
    """Positions that some instance touches and had not touched before it was moved.

    Args:
        axis: the axis.
        tiles: where they are now; all of them moved together.
        distance: positions by which they moved; its sign does not matter, as a tile mirrored is
            a tile.

    Returns:
        |union over instances of (F minus F moved by ``distance``)|: in closed form for one
        instance where the stride divides the dilation or the other way round, else listed.
    """
    stride, dilation = axis.reduced
    away = np.abs(distance) / math.gcd(axis.stride, axis.dilation)
    known = tiles.alone()
    if dilation == 1:
        overlap = _overlap(tiles.outputs, stride, tiles.taps, away)
    elif stride == 1:
        overlap = _overlap(tiles.taps, dilation, tiles.outputs, away)
    else:
        overlap, known = np.zeros_like(away), np.zeros_like(known)
    result = _size(axis, tiles.outputs, tiles.taps) - overlap
    return _where_not(known, result, axis, tiles, away)


def _size(axis: WindowAxis, outputs: Array, taps: Array) -> Array:
    """|F|."""
    stride, dilation = axis.reduced
    hidden = np.maximum(outputs - dilation, 0.0) * np.maximum(taps - stride, 0.0)
    return outputs * taps - hidden


def _overlap(runs: Array, period: int, length: Array, away: Array) -> Array:
    """Positions that ``runs`` runs of ``length``, ``period`` apart, share with themselves moved.

    Runs that reach the next are one run. Else run i meets run i - q and run i - q - 1 of those
    moved by away = q * period + e, in length - e and length - (period - e) positions.
    """
    whole = np.maximum((runs - 1.0) * period + length - away, 0.0)
    if period == 1:
        return whole
    count = np.floor(away / period)
    rest = away - count * period
    apart = np.maximum(length - rest, 0.0) * np.maximum(runs - count, 0.0)
    apart += np.maximum(length - (period - rest), 0.0) * np.maximum(runs - count - 1.0, 0.0)
    return np.where(length >= period, whole, apart)


def _where_not(
    known: Mask, result: Array, axis: WindowAxis, tiles: Tiles, away: Array | None
) -> Array:
    """``result``, and where it is not known what listing gives."""
    if known.all():
        return result
    index = np.flatnonzero(~known)
    some = tiles.at(index)
    distance = np.full((1, len(index)), -1.0) if away is None else away[None, index]
    copies = (some.output_copies, some.tap_copies)
    columns = [some.outputs[None], some.taps[None], distance]
    columns += [array for one in copies for array in (one.factor, one.apart)]
    cases, back = np.unique(np.concatenate(columns).astype(np.int64), axis=1, return_inverse=True)
    listed = [_listed(axis.reduced, *map(int, case)) for case in cases.T]
    result[index] = np.array(listed, float)[back.reshape(-1)]
    return result


@lru_cache(maxsize=65536)
def _listed(reduced: tuple[int, int], outputs: int, taps: int, away: int, *copies: int) -> int:
    """``fresh`` of one case, position by position; ``touched`` where ``away`` is -1.

    ``copies`` are the levels' factors and distances along the outputs, then along the taps.
    """
    stride, dilation = reduced
    tile = {stride * i + dilation * j for i in range(outputs) for j in range(taps)}
    if away >= 0:
        tile -= {position + away for position in tile}
    levels = len(copies) // 4
    factors = (*copies[:levels], *copies[2 * levels : 3 * levels])
    apart = [stride * distance for distance in copies[levels : 2 * levels]]
    apart += [dilation * distance for distance in copies[3 * levels :]]
    starts = {
        sum(map(operator.mul, place, apart))
        for place in itertools.product(*(range(factor) for factor in factors))
    }
    return len({start + position for start in starts for position in tile})
