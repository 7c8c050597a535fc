"""The forms: two convolutions, one depthwise convolution for each basis kernel, or a dense one.

All keep the weights as they are stored: engines lay them out when they load the network.
"""

import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE, traffic, untouched
from mlcnn.ops.box import means
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.shared_kernels.operator import KIND, basis_of, shared_kernel_conv
from mlcnn.workload import ConvLayer, Layer, Operations

__all__ = ["Rebuilt", "Split", "TwoStage", "kept", "nonzero"]

_USUAL = 5
"""Basis kernels in an estimate: a loop nest does not tell their number."""

two_stage = function("SharedKernelTwoStage")(shared_kernel_conv.body)


@function("SharedKernelRebuilt")
def rebuilt(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, basis: Tensor, coefficients: Tensor, b: Tensor, shape: Ints,
    strides: Ints, pads: Ints, dilations: Ints, group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::SharedKernelRebuilt(X, BASIS, COEFFICIENTS, B)``: the dense kernels, multiplied."""
    flat = op.Reshape(basis, op.Constant(value_ints=[0, -1]))
    weight = op.Reshape(op.MatMul(coefficients, flat), op.Constant(value_ints=shape))
    return op.Conv(x, weight, b, strides=strides, pads=pads, dilations=dilations, group=group)


@function("SharedKernelMap")
def single_map(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, basis: Tensor, shape: Ints, channels: int,
    strides: Ints, pads: Ints, dilations: Ints,
) -> Tensor:  # fmt: skip
    """``mlcnn::SharedKernelMap(X, BASIS (R, S))``: every channel with one basis kernel."""
    each = op.Expand(basis, op.Constant(value_ints=shape))
    return op.Conv(x, each, strides=strides, pads=pads, dilations=dilations, group=channels)


def nonzero(layer: Layer) -> int:
    """``P Q (C d R S + nnz)``, as the authors' profiler counts, for all images.

    P and Q are those behind the pool, if the layer is fused with one; means that are convolutions
    multiply, too.
    """
    nest, ((_, basis), *_) = layer.nest, layer.weights.options
    count = int(basis)
    kept = round(layer.density * nest.K * (nest.C // nest.G) * count)
    each = nest.C * count * nest.kernel_area + kept
    return nest.N * math.prod(nest.pooled) * each + means(layer).multiplications


def kept(layer: Layer) -> NDArray[np.bool_] | None:
    """Which coefficients are not zero, shape (K, C / G, d); None where the network hides them."""
    nest, ((_, basis), *_) = layer.nest, layer.weights.options
    channels, count = nest.C // nest.G, int(basis)
    if layer.mask is None:
        return None
    if layer.form == Split.name:  # side by side, map by map
        found = layer.mask.kept(nest.K, count, channels)
        return None if found is None else found.transpose(0, 2, 1)
    return layer.mask.kept(nest.K, channels, count)


class _OfBasis:
    """What the forms have in common."""

    rank: ClassVar[int | None] = None

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if convolution.weights.kind != KIND:
            return f"its weights are not {KIND}"
        return None if pooling is None else "this form has no pool: fuse puts it in front"

    def operations(self, layer: Layer) -> Operations | None:
        """Its operators, as they stand: engines multiply by zeros, too."""
        del layer

    def _stages(self, layer: ConvLayer, nodes: int) -> float:
        """Estimated cost of the basis, the mixture, and the maps between them."""
        maps = _USUAL * layer.C * layer.outputs
        work = maps * layer.kernel_area + layer.K * maps // layer.G
        return work + MACS_PER_ELEMENT * (traffic(layer) + 2 * maps) + nodes * NODE


class TwoStage(_OfBasis):
    """One depthwise convolution with d outputs a channel, then a 1x1 convolution."""

    name: ClassVar[str] = "two-stage"

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        node, channels = convolution.node, convolution.channels
        return emitter.call(
            two_stage,
            [node.inputs[0], basis_of(convolution), convolution.weight, convolution.bias],
            copies=(channels, 1, 1, 1),
            channels=channels,
            strides=convolution.strides,
            pads=convolution.pads,
            dilations=convolution.dilations,
            group=convolution.groups,
        )

    def estimate(self, layer: ConvLayer) -> float:
        """Cost of one image with five basis kernels."""
        return self._stages(layer, 2)


class Split(_OfBasis):
    """A depthwise convolution for each basis kernel, their maps side by side, a 1x1 convolution."""

    name: ClassVar[str] = "split"

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if convolution.groups > 1:
            return f"the maps of its {convolution.groups} groups would not lie side by side"
        return super().refuses(convolution, pooling)

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        basis, weight = constant(basis_of(convolution)), constant(convolution.weight)
        if basis is None or weight is None:
            raise ValueError("not a layer of this form")
        channels = convolution.channels
        maps = [
            emitter.call(
                single_map,
                [convolution.node.inputs[0], emitter.weight(kernel, "basis")],
                shape=(channels, 1, *convolution.kernel),
                channels=channels,
                strides=convolution.strides,
                pads=convolution.pads,
                dilations=convolution.dilations,
            )
            for kernel in basis
        ]
        joined = maps[0] if len(maps) == 1 else emitter.op("Concat", maps, axis=1)
        mix = weight.transpose(0, 2, 1).reshape(len(weight), -1, 1, 1)
        return emitter.op("Conv", [joined, emitter.weight(mix, "weight"), convolution.bias])

    def estimate(self, layer: ConvLayer) -> float:
        """Cost of one image with five basis kernels."""
        return self._stages(layer, _USUAL + 2)


class Rebuilt(_OfBasis):
    """One convolution with the dense kernels, which are multiplied when an engine loads them."""

    name: ClassVar[str] = "rebuilt"
    rank: ClassVar[int | None] = 0

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        return emitter.call(
            rebuilt,
            [convolution.node.inputs[0], basis_of(convolution), convolution.weight,
             convolution.bias],
            shape=(0, 0, *convolution.kernel),
            strides=convolution.strides,
            pads=convolution.pads,
            dilations=convolution.dilations,
            group=convolution.groups,
        )  # fmt: skip

    def estimate(self, layer: ConvLayer) -> float:
        """As the dense layer."""
        return untouched(layer)
