"""How much a form computes and moves: what its counts and estimates are made of."""

import math

from mlcnn.workload import ConvLayer, Operations

__all__ = [
    "MACS_PER_ELEMENT",
    "NODE",
    "STRIDED",
    "convolution",
    "fused_macs",
    "products",
    "traffic",
    "untouched",
]

# Relative costs, fitted to no network here: a convolution runs near the machine's peak, a strided
# one reads its input in pieces, and everything that only moves data is bound by memory.
MACS_PER_ELEMENT = 16.0
"""Multiply-accumulates in the time that one element is read or written."""
STRIDED = 1.4
"""How much longer a strided convolution takes for one multiply-accumulate."""
NODE = 20_000.0
"""Multiply-accumulates in the time that one more node takes to start."""


def products(layer: ConvLayer, outputs: int, terms: int) -> Operations:
    """``outputs`` sums of ``terms`` products each, for every image."""
    return layer.N * Operations(outputs * terms, outputs * (terms - 1))


def convolution(layer: ConvLayer) -> Operations:
    """The convolution behind the means: the original weights at the pooled outputs."""
    terms = layer.C // layer.G * layer.kernel_area
    return products(layer, layer.K * math.prod(layer.pooled), terms)


def fused_macs(layer: ConvLayer) -> float:
    """Multiply-accumulates of that convolution for one image."""
    return layer.K * math.prod(layer.pooled) * (layer.C // layer.G) * layer.kernel_area


def traffic(layer: ConvLayer) -> float:
    """Elements of the input and of the pooled output of one image."""
    return layer.C * layer.H * layer.W + layer.K * math.prod(layer.pooled)


def untouched(layer: ConvLayer) -> float:
    """Estimated cost of one image where convolution and pool stay as they are.

    In multiply-accumulates.
    """
    macs = layer.K * layer.products * layer.outputs
    if layer.pool is None:
        return macs + MACS_PER_ELEMENT * traffic(layer) + NODE
    outputs, conv_outputs = layer.K * math.prod(layer.pooled), layer.K * layer.P * layer.Q
    work = layer.macs + outputs * math.prod(layer.pool.kernel)
    moved = layer.C * layer.H * layer.W + 2 * conv_outputs + outputs
    return work + MACS_PER_ELEMENT * moved + 2 * NODE
