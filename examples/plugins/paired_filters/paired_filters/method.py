"""The method: operator, forms and module."""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import nn
from torch.nn.functional import conv2d, pad

from mlcnn.graph import constant
from mlcnn.nn import Layer, Site, Weight
from mlcnn.ops import Convolution, Emitter, Ints, Method, Pooling, Tensor, function, op
from mlcnn.ops.geometry import spatial_size
from mlcnn.workload import ConvLayer, Operations, Weights
from mlcnn.workload import Layer as WorkloadLayer

DOMAIN, OPERATOR = "paired", "PairedConv"
STRUCTURE = Weights("paired")
_ATTRIBUTES = ("strides", "pads", "dilations")


@function(OPERATOR, DOMAIN)
def paired_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, w: Tensor, s: Tensor, b: Tensor, strides: Ints, pads: Ints, dilations: Ints
) -> Tensor:
    """``paired::PairedConv(X, W, S, B)``: W has K/2 filters, S (K/2, 1, 1), B (K, 1, 1)."""
    half = op.Conv(x, w, strides=strides, pads=pads, dilations=dilations)
    return op.Add(op.Concat(half, op.Mul(half, s), axis=1), b)


def _inner(
    emitter: Emitter,
    layer: Convolution,
    source: ir.Value,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> ir.Value:
    inputs = [source, *layer.node.inputs[1:]]
    return emitter.call(paired_conv, inputs, strides=strides, pads=pads, dilations=layer.dilations)


def read(node: ir.Node) -> Convolution | str:
    """The operator as a convolution."""
    weight, size = node.inputs[1], spatial_size(node.inputs[0])
    if constant(weight) is None or size is None:
        return "its weights are not constants, or its shapes are unknown"
    half, channels, *kernel = weight.shape.numpy()
    strides, pads, dilations = (tuple(node.attributes[name].as_ints()) for name in _ATTRIBUTES)
    return Convolution(
        node=node,
        weight=weight,
        bias=None,
        filters=2 * half,
        channels=channels,
        kernel=tuple(kernel),
        strides=strides,
        dilations=dilations,
        pads=pads,
        groups=1,
        size=size,
        weights=STRUCTURE,
        emitter=_inner,
    )


class _Form:
    rank = None

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if convolution.weights != STRUCTURE:
            return "its filters are not paired"
        return None if pooling is None else "this form has no pool"


class Halves(_Form):
    """Half of the filters, and a factor for the other half."""

    name = "paired-halves"

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes."""
        del pooling  # `refuses` lets no layer with one through
        source, weight, scale, bias = convolution.node.inputs
        half = emitter.op(
            "Conv",
            [source, weight],
            strides=convolution.strides,
            pads=convolution.pads,
            dilations=convolution.dilations,
        )
        scaled = emitter.op("Mul", [half, scale])
        both = emitter.op("Concat", [half, scaled], axis=1)
        return emitter.op("Add", [both, bias])

    def operations(self, layer: WorkloadLayer) -> Operations | None:
        """Half of the convolution, and a product for each output of the other half."""
        nest = layer.nest
        outputs = nest.N * nest.K // 2 * nest.outputs
        return Operations(outputs * (nest.products + 1), outputs * (nest.products - 1))

    def estimate(self, layer: ConvLayer) -> float:
        """Half of the multiply-accumulates."""
        return layer.macs / layer.N / 2 + 16.0 * layer.K * layer.outputs


class Dense(_Form):
    """All filters written out: a plain convolution."""

    name = "paired-dense"

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes."""
        del pooling
        source, *values = convolution.node.inputs
        weight, scale, bias = (constant(value).astype(np.float64) for value in values)
        kernel = np.concatenate([weight, scale[..., None] * weight])
        return emitter.op(
            "Conv",
            [
                source,
                emitter.weight(kernel, "weight", filters=0),
                emitter.weight(bias.reshape(-1), "bias"),
            ],
            strides=convolution.strides,
            pads=convolution.pads,
            dilations=convolution.dilations,
        )

    def operations(self, layer: WorkloadLayer) -> Operations | None:
        """Those of the convolution."""
        return layer.nest.operations

    def estimate(self, layer: ConvLayer) -> float:
        """All multiply-accumulates."""
        return layer.macs / layer.N


class PairedConv(nn.Module):
    """The operator as a module."""

    def __init__(self, half: int, channels: int, kernel: Sequence[int], site: Site) -> None:
        """Make it with empty weights."""
        super().__init__()
        meta = {"device": "meta"}
        self.weight = nn.Parameter(torch.empty(half, channels, *kernel, **meta))
        self.scale = nn.Parameter(torch.empty(half, 1, 1, **meta))
        self.bias = nn.Parameter(torch.empty(2 * half, 1, 1, **meta))
        strides, pads, dilations = (site.spec.integers(name) for name in _ATTRIBUTES)
        top, left, bottom, right = pads
        self.pad, self.strides, self.dilations = (left, right, top, bottom), strides, dilations

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (N, C, H, W) to (N, K, P, Q)."""
        half = conv2d(pad(x, self.pad), self.weight, stride=self.strides, dilation=self.dilations)
        return torch.cat([half, half * self.scale], 1) + self.bias


def layer(site: Site) -> Layer:
    """The module of a node, its weights still to be filled in."""
    half, channels, *kernel = site.node.inputs[1].shape.numpy()
    module = PairedConv(half, channels, kernel, site)
    return Layer(module, (Weight("weight", 1), Weight("scale", 2), Weight("bias", 3)))


PAIRED = Method(
    name="paired",
    forms=(Halves(), Dense()),
    operators=((DOMAIN, OPERATOR),),
    read=read,
    layer=layer,
    penalty=lambda module: module.scale.square().sum() / math.prod(module.scale.shape),
    summary="every second filter is a multiple of another",
)
