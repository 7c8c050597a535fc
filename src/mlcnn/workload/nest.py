"""A layer as loops and operands: the iteration space that a mapping cuts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mlcnn.errors import UnsupportedError
from mlcnn.workload.layer import ConvAxis, ConvLayer, Pool

__all__ = ["LoopNest", "NestForm", "Projection", "Term", "loop_nest"]


class NestForm(StrEnum):
    """How a convolution with a pool behind it is computed."""

    PLAIN = "plain"
    """The convolution alone; the pool is no part of the nest."""
    BOX = "box"
    """A strided convolution over box sums; a word of the input is a box sum."""
    EXPANDED = "expanded"
    """A strided convolution of the expanded kernel over the input itself."""


@dataclass(frozen=True, slots=True)
class Term:
    """A part of an axis: ``step`` positions for each iteration of a dimension.

    Attributes:
        dim: the dimension.
        step: positions, at least 1.
    """

    dim: str
    step: int = 1


@dataclass(frozen=True, slots=True)
class Projection:
    """The word of an operand that a point of the nest touches.

    Attributes:
        axes: one coordinate each: the sum of its terms.
    """

    axes: tuple[tuple[Term, ...], ...]

    @property
    def dims(self) -> frozenset[str]:
        """The dimensions that move it."""
        return frozenset(term.dim for axis in self.axes for term in axis)

    def word(self, point: Mapping[str, int]) -> tuple[int, ...]:
        """Coordinates of the word.

        Args:
            point: index of each dimension.
        """
        return tuple(sum(term.step * point[term.dim] for term in axis) for axis in self.axes)


@dataclass(frozen=True, slots=True)
class LoopNest:
    """Dimensions, and what a multiply-accumulate at each point of them touches.

    Positions of the input count from the first one that a window covers, padding with them: what
    lies in the padding is a word as any other, as Timeloop has it.

    Attributes:
        name: name of the layer.
        dims: names of the dimensions: N K C P Q R S, G where there are groups (K and C are those
            of one group), D and T (outputs and taps) where there is a depth.
        sizes: iterations of each.
        weight: of the weights.
        input: of the input; of box sums where the form has them.
        output: of the output.
    """

    name: str
    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    weight: Projection
    input: Projection
    output: Projection

    @property
    def macs(self) -> int:
        """Multiply-accumulates: points of the nest."""
        return math.prod(self.sizes)

    @property
    def operands(self) -> tuple[Projection, Projection, Projection]:
        """Weight, input and output."""
        return self.weight, self.input, self.output

    def size(self, dim: str) -> int:
        """Iterations of a dimension; 1 for one that the nest has not."""
        return self.sizes[self.dims.index(dim)] if dim in self.dims else 1


def loop_nest(layer: ConvLayer, form: NestForm = NestForm.PLAIN) -> LoopNest:
    """The loop nest of a layer.

    Args:
        layer: plain, grouped, depth-wise, dense (a 1x1 kernel on one position), dilated; with or
            without a depth; fused with a pool where ``form`` has one.
        form: what is computed.

    Raises:
        UnsupportedError: the form needs a pool that the layer has not, or its windows are not
            whole, or its kernel has gaps that an expanded one would fill; or the kernel is larger
            than the padded input.

    Example:
        >>> nest = loop_nest(ConvLayer("c", 1, 8, 4, 9, 9, 3, 3, G=2, strides=(2, 2)))
        >>> dict(zip(nest.dims, nest.sizes, strict=True))
        {'N': 1, 'K': 4, 'C': 2, 'P': 4, 'Q': 4, 'R': 3, 'S': 3, 'G': 2}
        >>> nest.macs
        2304
    """
    axes = _axes(layer, form)
    sizes = {"N": layer.N, "K": layer.K // layer.G, "C": layer.C // layer.G}
    for outputs, taps, axis in axes:
        sizes[outputs], sizes[taps] = axis.outputs, axis.kernel
    if min(sizes.values()) < 1:
        raise UnsupportedError(f"layer {layer.name}: its kernel fits nowhere, so it has no nest")
    order = [dim for dim in ("N", "K", "C", "P", "Q", "R", "S", "D", "T") if dim in sizes]
    group: tuple[str, ...] = ()
    if layer.G > 1:
        sizes["G"], group = layer.G, ("G",)
        order.append("G")
    windows = tuple(
        (Term(outputs, axis.stride), Term(taps, axis.dilation)) for outputs, taps, axis in axes
    )
    return LoopNest(
        layer.name,
        tuple(order),
        tuple(sizes[dim] for dim in order),
        weight=_plain(*group, "K", "C", *(taps for _, taps, _ in axes)),
        input=Projection((*_plain("N", *group, "C").axes, *windows)),
        output=_plain("N", *group, "K", *(outputs for outputs, _, _ in axes)),
    )


def _plain(*dims: str) -> Projection:
    return Projection(tuple((Term(dim),) for dim in dims))


def _axes(layer: ConvLayer, form: NestForm) -> list[tuple[str, str, ConvAxis]]:
    """Dimensions of the outputs and of the taps along each axis, and what they do there."""
    result: list[tuple[str, str, ConvAxis]] = []
    if layer.depth is not None:
        result.append(("D", "T", layer.depth))
    sides = zip(("P", "Q"), ("R", "S"), (layer.H, layer.W), (layer.R, layer.S), strict=True)
    for side, (outputs, taps, size, kernel) in enumerate(sides):
        pads = layer.pads[side], layer.pads[side + 2]
        axis = ConvAxis(size, kernel, layer.strides[side], layer.dilations[side], pads)
        if form is not NestForm.PLAIN:
            axis = _fused(layer, axis, side, form)
        result.append((outputs, taps, axis))
    return result


def _fused(layer: ConvLayer, axis: ConvAxis, side: int, form: NestForm) -> ConvAxis:
    """One axis with the pool in it: as many outputs as the pool has."""
    pool = _whole_pool(layer, form)
    stride = axis.stride * pool.strides[side]
    reach = (pool.kernel[side] - 1) * axis.stride
    if form is NestForm.BOX:
        # Box sums start where their windows fit: there are ``reach`` fewer of them than inputs.
        inputs = axis.size + sum(axis.pads) - reach
        return ConvAxis(inputs, axis.kernel, stride, axis.dilation)
    if axis.dilation > 1 and axis.kernel > 1:
        raise UnsupportedError(
            f"layer {layer.name}: the expanded kernel of a dilated convolution (dilation "
            f"{axis.dilation}) is not built; use the form {NestForm.BOX.value}"
        )
    return ConvAxis(axis.size, axis.kernel + reach, stride, 1, axis.pads)


def _whole_pool(layer: ConvLayer, form: NestForm) -> Pool:
    if layer.pool is None:
        raise UnsupportedError(
            f"layer {layer.name}: the form {form.value} fuses a pool, and the layer has none; use "
            f"the form {NestForm.PLAIN.value}"
        )
    if not layer.pool.is_plain(layer.P, layer.Q):
        raise UnsupportedError(
            f"layer {layer.name}: windows of its pool are not whole ({layer.pool} over "
            f"{layer.P}x{layer.Q}); use the form {NestForm.PLAIN.value}"
        )
    return layer.pool
