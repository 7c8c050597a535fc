"""Algorithm 1 of [MLCNN], executed with numbers that count every addition and multiplication.

Nothing here knows a closed form: the loops run on real values, each sum is formed when it is
needed and kept for as long as the chosen reuse allows, and the tally says what happened. It is
slow on purpose and meant for small layers.

The algorithm as printed reads ``FA[i + r, j + c]``; behind a pool of stride s the window moves by
s convolution outputs, so the sums of output (r, c) are ``FA[i + s*r, j + s*c]`` (times the
convolution's stride).
"""

import functools
import operator
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np

from mlcnn.counting import Reuse
from mlcnn.errors import UnsupportedError
from mlcnn.workload import ConvLayer, Operations, Pool

Grid = list[list["_Number"]]
_NO_POOL = Pool((1, 1), (1, 1))


@dataclass(slots=True)
class _Tally:
    multiplications: int = 0
    additions: int = 0


@dataclass(slots=True)
class _Number:
    """A value that reports what is done with it."""

    value: float
    tally: _Tally

    def __add__(self, other: "_Number") -> "_Number":
        self.tally.additions += 1
        return _Number(self.value + other.value, self.tally)

    def __mul__(self, other: "_Number") -> "_Number":
        self.tally.multiplications += 1
        return _Number(self.value * other.value, self.tally)


def _total(numbers: Iterable[_Number]) -> _Number:
    return functools.reduce(operator.add, numbers)


def _larger(first: _Number, second: _Number) -> _Number:
    """A comparison: a subtraction of which only the sign is used."""
    first.tally.additions += 1
    return first if first.value >= second.value else second


@dataclass(frozen=True, slots=True)
class Executed:
    """What an instrumented run gave.

    Attributes:
        output: float64, shape (N, K, pooled height, pooled width), after bias and ReLU.
        operations: what it took; bias, division by the window's size and ReLU are not counted.
    """

    output: np.ndarray
    operations: Operations


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the loops stand: filter, row and column of the output."""

    to: int
    r: int
    c: int


def _padded(image: np.ndarray, layer: ConvLayer, tally: _Tally) -> list[Grid]:
    top, left, bottom, right = layer.pads
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right)))
    return [[[_Number(float(x), tally) for x in row] for row in channel] for channel in padded]


def _weights(weight: np.ndarray, tally: _Tally) -> list[list[Grid]]:
    return [
        [[[_Number(float(w), tally) for w in row] for row in kernel] for kernel in kernels]
        for kernels in weight
    ]


def _taps(layer: ConvLayer) -> Iterator[tuple[int, int, int]]:
    """(channel within the group, row, column) of every weight of a filter."""
    for channel in range(layer.C // layer.G):
        for i in range(layer.R):
            for j in range(layer.S):
                yield channel, i, j


def _pool_of(layer: ConvLayer) -> Pool:
    if layer.depth is not None:
        raise UnsupportedError(f"layer {layer.name}: Algorithm 1 runs over height and width only")
    pool = layer.pool or _NO_POOL
    if not pool.is_plain(layer.P, layer.Q):
        msg = (
            f"layer {layer.name}: the pool pads or cuts off windows ({pool}); Algorithm 1 is not "
            "exact there, it can only be executed where every window is whole"
        )
        raise UnsupportedError(msg)
    return pool


def execute_original(
    layer: ConvLayer,
    images: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    *,
    kind: Literal["average", "max"] = "average",
) -> Executed:
    """Convolve, pool, then apply ReLU, counting.

    Args:
        layer: the layer and its pool, whose windows must all be whole.
        images: shape (N, C, H, W).
        weight: shape (K, C/G, R, S).
        bias: shape (K,).
        kind: of the pool.

    Raises:
        UnsupportedError: the pool has padding or partial windows.
    """
    pool, tally = _pool_of(layer), _Tally()
    weights, (height, width) = _weights(weight, tally), layer.pooled
    output = np.empty((layer.N, layer.K, height, width))
    for n, image in enumerate(images):
        padded = _padded(image, layer, tally)
        for to in range(layer.K):
            unpooled = [
                [_convolve(layer, padded, weights, _Place(to, p, q)) for q in range(layer.Q)]
                for p in range(layer.P)
            ]
            for r in range(height):
                for c in range(width):
                    window = [
                        unpooled[r * pool.strides[0] + a][c * pool.strides[1] + b]
                        for a in range(pool.kernel[0])
                        for b in range(pool.kernel[1])
                    ]
                    output[n, to, r, c] = _pooled(window, kind) + bias[to]
    return Executed(np.maximum(output, 0), Operations(tally.multiplications, tally.additions))


def _convolve(
    layer: ConvLayer, padded: list[Grid], weights: list[list[Grid]], at: _Place
) -> _Number:
    first = at.to // (layer.K // layer.G) * (layer.C // layer.G)
    top, left = at.r * layer.strides[0], at.c * layer.strides[1]
    return _total(
        weights[at.to][channel][i][j]
        * padded[first + channel][top + i * layer.dilations[0]][left + j * layer.dilations[1]]
        for channel, i, j in _taps(layer)
    )


def _pooled(window: list[_Number], kind: Literal["average", "max"]) -> float:
    if kind == "max":
        return functools.reduce(_larger, window).value
    return _total(window).value / len(window)


@dataclass(slots=True)
class _Sums:
    """Half and full sums of the inputs, kept as long as ``reuse`` allows.

    Attributes:
        layer: the layer.
        window: (height, width) of the pool.
        padded: the input channels, padded.
        reuse: how long sums are kept.
        kept: the sums formed so far.
    """

    layer: ConvLayer
    window: tuple[int, int]
    padded: list[Grid]
    reuse: Reuse
    kept: dict[Hashable, _Number]

    def half(self, at: _Place, channel: int, i: int, j: int) -> _Number:
        """HA: the inputs of one column of the window."""
        stride = self.layer.strides[0]
        grid = self.padded[channel]
        return self._keep(
            _KEPT[self.reuse][0].key(at),
            ("half", channel, i, j),
            lambda: _total(grid[i + a * stride][j] for a in range(self.window[0])),
        )

    def full(self, at: _Place, channel: int, i: int, j: int) -> _Number:
        """FA: the whole window, from its columns."""
        stride = self.layer.strides[1]
        columns = range(self.window[1])
        return self._keep(
            _KEPT[self.reuse][1].key(at),
            ("full", channel, i, j),
            lambda: _total(self.half(at, channel, i, j + b * stride) for b in columns),
        )

    def _keep(
        self, scope: Hashable | None, sum_of: Hashable, form: Callable[[], _Number]
    ) -> _Number:
        if scope is None:
            return form()
        if (scope, sum_of) not in self.kept:
            self.kept[scope, sum_of] = form()
        return self.kept[scope, sum_of]


class _Kept(Enum):
    """How long a sum is kept; ``key`` changes when it is dropped, and is None for never kept."""

    NEVER = "never"
    OUTPUT = "output"
    ROW = "row"
    FILTER = "filter"
    CHANNEL = "channel"

    def key(self, place: _Place) -> Hashable | None:
        match self:
            case _Kept.NEVER:
                return None
            case _Kept.OUTPUT:
                return place
            case _Kept.ROW:
                return place.to, place.r
            case _Kept.FILTER:
                return place.to
            case _Kept.CHANNEL:
                return "all filters"


# How long half and full sums are kept.
_KEPT = {
    Reuse.NONE: (_Kept.NEVER, _Kept.NEVER),
    Reuse.LAR: (_Kept.OUTPUT, _Kept.OUTPUT),
    Reuse.GAR: (_Kept.NEVER, _Kept.ROW),
    Reuse.PAPER: (_Kept.ROW, _Kept.ROW),
    Reuse.ALGORITHM: (_Kept.CHANNEL, _Kept.FILTER),
    Reuse.SHARED: (_Kept.CHANNEL, _Kept.CHANNEL),
}


def execute_fused(
    layer: ConvLayer, images: np.ndarray, weight: np.ndarray, bias: np.ndarray, reuse: Reuse
) -> Executed:
    """Run Algorithm 1: half additions, full additions, multiply and accumulate; then ReLU.

    Args:
        layer: the layer and its pool, whose windows must all be whole.
        images: shape (N, C, H, W).
        weight: shape (K, C/G, R, S).
        bias: shape (K,).
        reuse: how long sums are kept.

    Raises:
        UnsupportedError: the pool has padding or partial windows.
    """
    pool, tally = _pool_of(layer), _Tally()
    weights, (height, width) = _weights(weight, tally), layer.pooled
    divisor = pool.kernel[0] * pool.kernel[1]
    output = np.empty((layer.N, layer.K, height, width))
    for n, image in enumerate(images):
        sums = _Sums(layer, pool.kernel, _padded(image, layer, tally), reuse, {})
        for to in range(layer.K):
            for r in range(height):
                for c in range(width):
                    total = _accumulate(layer, pool, weights, sums, _Place(to, r, c))
                    output[n, to, r, c] = total.value / divisor + bias[to]
    return Executed(np.maximum(output, 0), Operations(tally.multiplications, tally.additions))


def _accumulate(
    layer: ConvLayer, pool: Pool, weights: list[list[Grid]], sums: _Sums, at: _Place
) -> _Number:
    """``O[to, r, c]``: the weights times the full sums at (i + s*r, j + s*c)."""
    first = at.to // (layer.K // layer.G) * (layer.C // layer.G)
    top = at.r * pool.strides[0] * layer.strides[0]
    left = at.c * pool.strides[1] * layer.strides[1]
    return _total(
        weights[at.to][channel][i][j]
        * sums.full(
            at,
            first + channel,
            top + i * layer.dilations[0],
            left + j * layer.dilations[1],
        )
        for channel, i, j in _taps(layer)
    )
