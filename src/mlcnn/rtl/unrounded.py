"""Results on the way to their codes: what a quantised network computes before it rounds.

A layer's sums become codes where ``QuantizeLinear`` stands: behind a bias, a pool that takes means,
a ReLU, and what moves numbers without changing them. Until then they are kept as what they are made
of; ``close`` makes steps of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InfeasibleError, UnsupportedError
from mlcnn.rtl.host import Joined, Mean, PoolWindows, Recoded
from mlcnn.rtl.integer import fixed_point, require_32_bits
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.network import CodeGrid, HardwareStep, HostStep, Step

__all__ = ["Bounds", "Coded", "Given", "Linear", "Means", "Moved", "Sums", "Unrounded"]

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coded:
    """A value that is codes.

    Attributes:
        name: of the codes.
        grid: what they stand for.
        shape: without the images.
    """

    name: str
    grid: CodeGrid
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where numbers are cut off before they are rounded.

    Attributes:
        low: None for nowhere.
        high: likewise.
    """

    low: float | None = None
    high: float | None = None

    def within(self, low: float | None, high: float | None) -> "Bounds":
        """The same, cut off there too."""
        lows = [end for end in (self.low, low) if end is not None]
        highs = [end for end in (self.high, high) if end is not None]
        return Bounds(max(lows, default=None), min(highs, default=None))

    def codes(self, grid: CodeGrid) -> tuple[int, int]:
        """The least and the largest code: rounding keeps the order of numbers."""

        def code(end: float) -> int:
            return round(Fraction(end) / Fraction(grid.step)) + grid.zero

        low = grid.low if self.low is None else min(max(grid.low, code(self.low)), grid.high)
        high = grid.high if self.high is None else max(min(grid.high, code(self.high)), low)
        return low, high


@dataclass(frozen=True, slots=True)
class Given:
    """The network's input, which the host rounds.

    Attributes:
        shape: without the images.
        bounds: where it is cut off.
    """

    shape: tuple[int, ...]
    bounds: Bounds = Bounds()


@dataclass(frozen=True, slots=True)
class Means:
    """Of the windows of codes: a pool on the host, or what a fused layer convolves.

    Attributes:
        name: of the layer.
        operator: ONNX's.
        source: what is averaged.
        windows: of the pool.
        padding: whether declared padding counts.
        bounds: where the means are cut off.
    """

    name: str
    operator: str
    source: Coded
    windows: PoolWindows
    padding: bool
    bounds: Bounds = Bounds()

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the images."""
        return self.source.shape[0], *self.windows.outputs

    def close(self, grid: CodeGrid, output: str) -> list[Step]:
        """The step that gives their codes."""
        ends = self.bounds.codes(grid)
        run = Mean(self.name, self.windows, self.padding, self.source.grid, grid, *ends)
        return [HostStep(self.name, self.operator, (self.source.name,), output, run, grid)]


@dataclass(frozen=True, slots=True)
class Sums:
    """Of codes of several grids, or their concatenation.

    Attributes:
        name: of the layer.
        operator: ``Add``, ``Concat``, or what else gives numbers of one or several others.
        sources: what is added or joined.
        shape: without the images.
        axis: of a concatenation, the images being axis 0; None for a sum.
        bounds: where the results are cut off.
    """

    name: str
    operator: str
    sources: tuple[Coded, ...]
    shape: tuple[int, ...]
    axis: int | None = None
    bounds: Bounds = Bounds()

    def close(self, grid: CodeGrid, output: str) -> list[Step]:
        """The step that gives their codes."""
        ends = self.bounds.codes(grid)
        grids = tuple(source.grid for source in self.sources)
        run: Callable[..., Whole] = Recoded(self.name, grids, grid, *ends)
        if self.axis is not None:
            parts = (Recoded(self.name, (one,), grid, *ends) for one in grids)
            run = Joined(tuple(parts), self.axis)
        names = tuple(source.name for source in self.sources)
        return [HostStep(self.name, self.operator, names, output, run, grid)]


@dataclass(frozen=True, slots=True)
class Linear:
    """The sums of a convolution or of a dense layer.

    Attributes:
        layer: with weights and geometry; no bias and no scale yet.
        source: what it reads.
        steps: of the weights, one for each filter.
        bias: in steps of the convolution's sums, one for each filter.
        bounds: where the results are cut off.
        flat: whether the network has its outputs as a vector.
    """

    layer: IntegerLayer
    source: Coded
    steps: tuple[Fraction, ...]
    bias: NDArray[np.float64]
    bounds: Bounds = Bounds()
    flat: bool = False

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.layer.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the images."""
        filters = len(self.layer.weights)
        return (filters,) if self.flat else (filters, *self.layer.outputs)

    def pooled(self, name: str, windows: PoolWindows) -> "Linear":
        """The same with an average pool behind it.

        Args:
            name: of the pool.
            windows: of the pool.

        Raises:
            UnsupportedError: the array cannot add up the windows.
        """
        reason = None
        if self.bounds != Bounds():
            reason = "a ReLU stands before it; put it behind (mlcnn optimize --passes reorder)"
        elif self.layer.window != (1, 1):
            reason = "another pool stands before it"
        elif any(windows.before) or any(windows.after) or windows.dilations != (1, 1):
            reason = "it is padded or dilated"
        if reason is not None:
            raise UnsupportedError(
                f"{name}: this mean reads sums that are not rounded, and cannot be part of the "
                f"layer {self.name}: {reason}"
            )
        layer = replace(self.layer, window=windows.kernel, pool_strides=windows.strides)
        if layer.outputs != windows.outputs:
            raise UnsupportedError(
                f"{name}: its last windows lie partly outside (ceil_mode), and such a mean cannot "
                f"be part of the layer {self.name}"
            )
        return replace(self, layer=layer)

    def close(self, grid: CodeGrid, output: str) -> list[Step]:
        """The layer with its scale: the window's division is part of it, zeros of the bias."""
        layer, given = self.layer, self.source.grid
        size = layer.window[0] * layer.window[1]
        scales = [
            fixed_point(Fraction(given.step) * step / (size * Fraction(grid.step)), self.name)
            for step in self.steps
        ]
        significand, shift = np.array(scales, np.int64).T
        of_zero = given.zero * layer.weights.sum((1, 2, 3))
        low, high = self.bounds.codes(grid)
        made = replace(
            layer,
            bias=_whole(self.name, size * self.bias) - size * of_zero,
            significand=significand,
            shift=shift,
            signed=given.signed,
            pad_value=given.zero,
            zero=grid.zero,
            low=low,
            high=high,
        )
        require_32_bits(made)
        return [HardwareStep(made, self.source.name, output, grid)]


def _whole(name: str, bias: NDArray[np.float64]) -> Whole:
    most = np.abs(bias).max(initial=0)
    if not most < 2.0**31:
        raise InfeasibleError(
            f"{name}: its bias is {most:.3g} steps of its sums, and the hardware takes 32 bits: a "
            "filter has hardly any weights; take it out, or leave its batch norm unfolded"
        )
    return np.rint(bias).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Moved:
    """What another result becomes by an operator that changes no number.

    Attributes:
        name: of the layer.
        operator: ONNX's.
        inner: what is moved.
        run: how codes are moved, given their grid.
        shape: without the images.
    """

    name: str
    operator: str
    inner: "Means | Sums | Linear | Moved"
    run: Callable[[CodeGrid], Callable[[Whole], Whole]]
    shape: tuple[int, ...]

    def close(self, grid: CodeGrid, output: str) -> list[Step]:
        """The steps of what is moved, and the one that moves its codes."""
        before = f"{output} before {self.name}"
        moved = HostStep(self.name, self.operator, (before,), output, self.run(grid), grid)
        return [*self.inner.close(grid, before), moved]


Unrounded = Means | Sums | Linear | Moved
