"""``compare-taps``: convolutions of a network that is to be trained compare taps [CMPNET].

A convolution, and the ReLU and 1x1 convolution behind it where these alone read it, become one
layer that compares pairs of taps of each channel and adds the weights that the bits choose: what
[LBCNN] does by fixed taps of 1 and -1. Weights begin as those whose sums come nearest to the
convolution's where bits are taken for differences; only training makes a network of it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar
from zlib import crc32

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import constant, is_standard, layer_name
from mlcnn.ops import Convolution, read_convolution
from mlcnn.ops.comparator import KIND, SHARED, Pairs, compare, drawn, structure
from mlcnn.passes.base import Change
from mlcnn.passes.inner_layers import inner_convolution, inner_convolutions
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.passes.skeleton import Candidate, SitePass, names
from mlcnn.workload import RECORD_KEY, Arithmetic, Record

__all__ = ["CompareTaps"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CompareTaps(SitePass):
    """Let convolutions behind the first one compare taps.

    Attributes:
        pairs: of each channel.
        share: neighbouring channels that compare the same taps; 1 for pairs of their own.
        centre: compare taps with the middle of the window, as local binary patterns do.
        seed: the same seed gives the same pairs.
        only: layer names; touch only these layers.
        exclude: layer names; leave these layers alone.
    """

    name: ClassVar[str] = "compare-taps"
    exact: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    pairs: int = 4
    share: int = SHARED
    centre: bool = False
    seed: int = 0
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.pairs, self.share) < 1:
            raise InputError(
                f"{self.name}: pairs={self.pairs}, share={self.share}: 1 or more is required"
            )

    def nodes(self, model: ir.Model) -> Iterable[ir.Node]:
        """Convolutions of the main graph, in order."""
        return inner_convolutions(model)

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | str | None:
        """A dense convolution of more than one tap that does not read the images."""
        if node.graph is None:  # gone with the convolution in front
            return None
        layer = inner_convolution(model, node)
        if layer is None or isinstance(layer, str):
            return layer
        behind = _pointwise(layer)
        nodes = [node] if behind is None else [node, behind.node]
        told = tuple(map(layer_name, nodes))
        return Candidate(told, told[0], partial(self._rewrite, model, layer, behind))

    def _rewrite(
        self, model: ir.Model, layer: Convolution, behind: Convolution | None
    ) -> Change | str:
        last = behind or layer
        kernels, bias = _linear(layer, behind)
        # By its name, since its place among convolutions changes as others become comparisons.
        pairs = drawn(
            self.pairs, layer.channels, layer.kernel, shared=self.share, centre=self.centre,
            seed=(self.seed, crc32(layer.name.encode())),
        )  # fmt: skip
        weight, shift = _nearest(kernels, pairs)
        output = last.node.outputs[0]
        both = {layer.node: layer, last.node: last}.values()
        emitter = emitter_for(model, layer)
        emitter.metadata[RECORD_KEY] = Record(
            output.name or "",
            replace(layer.nest, K=last.filters),
            KIND,
            weights=structure(pairs),
            arithmetic=Arithmetic.COMPARE,
            parameters=sum(one.parameters for one in both),
            weight_bytes=sum(one.weight_bytes for one in both),
        ).text()
        result = compare(
            emitter, layer.node.inputs[0], pairs, emitter.weight(weight, "weight"),
            emitter.weight(bias + shift, "bias"), strides=layer.strides, pads=layer.pads,
            dilations=layer.dilations,
        )  # fmt: skip
        change = Change(
            self.name, tuple(layer_name(one.node) for one in both), exact=False,
            inputs=names(layer.node.inputs[0]), outputs=names(output),
            reason=f"{pairs.maps} comparisons of {pairs.count} pairs in each of {pairs.channels} "
            f"channels in place of {math.prod(layer.kernel) * layer.channels} products an output",
        )  # fmt: skip
        install(model, emitter, output, result, anchor=last.node)
        return change


def _pointwise(layer: Convolution) -> Convolution | None:
    """The 1x1 convolution behind a ReLU that alone reads a layer; None where there is none."""
    value = layer.node.outputs[0]
    for wanted in ("Relu", "Conv"):
        readers = {use.node for use in value.uses()}
        reader = next(iter(readers)) if len(readers) == 1 else None
        if reader is None or reader.op_type != wanted or not is_standard(reader):
            return None
        if value.is_graph_output() or reader.inputs[0] is not value:
            return None
        value = reader.outputs[0]
    found = read_convolution(value.producer() or layer.node)
    if isinstance(found, str) or found.kernel != (1, 1) or found.strides != (1, 1):
        return None
    return None if any(found.pads) or found.groups > 1 or found.bits is not None else found


def _array(value: ir.Value | None, size: int) -> Floats:
    found = constant(value)
    return np.zeros(size) if found is None else found.astype(np.float64)


def _linear(layer: Convolution, behind: Convolution | None) -> tuple[Floats, Floats]:
    """Kernels (K, C, R, S) and biases of both without the ReLU between them."""
    kernels, bias = _array(layer.weight, 0), _array(layer.bias, layer.filters)
    if behind is None:
        return kernels, bias
    mix = _array(behind.weight, 0)[:, :, 0, 0]
    return np.tensordot(mix, kernels, 1), mix @ bias + _array(behind.bias, behind.filters)


def _nearest(kernels: Floats, pairs: Pairs) -> tuple[Floats, Floats]:
    """Weights of the bits, shape (K, maps, 1, 1), and what makes their mean that of differences.

    A bit b stands for a difference of taps by 2 b - 1.
    """
    filters, channels = kernels.shape[:2]
    flat = kernels.reshape(filters, channels, -1)
    found = np.zeros((filters, pairs.count, channels))
    for channel in range(channels):
        differences = np.zeros((flat.shape[2], pairs.count))
        at = np.arange(pairs.count)
        differences[pairs.first[:, channel], at] += 1
        differences[pairs.second[:, channel], at] -= 1
        found[:, :, channel] = flat[:, channel] @ np.linalg.pinv(differences).T
    weight = 2 * found.reshape(filters, -1)
    return weight[:, :, None, None], -weight.sum(1) / 2
