"""``block-circulant``: weights of convolutions and dense layers in circulant blocks [Wang 2018].

A weight becomes the nearest block-circulant one in the Frobenius norm: the mean of each wrapped
diagonal. That alone keeps about 1/k of its energy, so the network has to be trained afterwards.
Two things help: an order of channels that keeps more (``order=searched``), and smaller blocks
first, trained before they are doubled (``gradual``).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import clone, constant, is_standard, layer_name
from mlcnn.ops import Convolution, read_layer
from mlcnn.ops.block_circulant import (
    KIND,
    Blocks,
    KeptEnergy,
    blocks_of,
    convolve,
    dense_weight,
    multiply,
    projected,
    structure,
)
from mlcnn.passes.base import Change, PassResult
from mlcnn.passes.channel_order import ChannelOrder, search
from mlcnn.passes.channel_spaces import channel_spaces, permute
from mlcnn.passes.layer_sizes import LayerSizes
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.passes.sites import Selection
from mlcnn.passes.skeleton import Candidate, SitePass, names
from mlcnn.passes.structuring import Structuring
from mlcnn.workload import DENSE, RECORD_KEY, Record, read_record

__all__ = ["BlockCirculant"]

_POWERS = tuple(2**n for n in range(1, 8))
_ALREADY = "it has blocks already, of size"
_LARGER = "are larger than its"
_ENDS = "the first and the last layer stay dense, unless `ends` is given or they are named"


def _sizes(text: str) -> LayerSizes:
    return LayerSizes.parse(text, f"{KIND}: block", "8+classifier.1=64")


def _steps(sizes: LayerSizes) -> list[int]:
    """Powers of two on the way to these sizes, each of which makes some blocks larger."""
    final = [size for size in (sizes.usual, *sizes.single.values()) if size is not None]
    found: list[int] = []
    before, step = [1] * len(final), 2
    while step < max(final):
        now = [gcd(size, step) for size in final]
        if now not in (before, final):
            found.append(step)
        before, step = now, 2 * step
    return found


@dataclass(frozen=True, slots=True)
class BlockCirculant(Structuring, SitePass):
    """Give convolutions and dense layers block-circulant weights.

    Attributes:
        block: size of the blocks, ``8``; of single layers besides, ``8+classifier.1=64``.
        ends: the first and the last layer too.
        order: of the channels: as they are given, or searched, so that the projection keeps more.
        seed: of the search.
        gradual: where the network is trained, it is trained with blocks of 2, 4, ... before.
        step: blocks on the way to ``block``: each as large as its greatest common divisor with
            this.
        layers: see ``Structuring``, as ``only``, ``exclude`` and ``chooser``.
    """

    name: ClassVar[str] = KIND
    exact: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    block: str = "8"
    ends: bool = False
    order: ChannelOrder = ChannelOrder.GIVEN
    seed: int = 0
    gradual: bool = False
    step: int | None = None

    def __post_init__(self) -> None:
        _sizes(self.block)
        if self.step is not None and self.step < 1:
            raise InputError(f"{KIND}: step {self.step}: a positive integer is required")

    def training_steps(self) -> "Sequence[BlockCirculant]":
        """What is applied one after the other, with training in between; itself at last."""
        between = _steps(_sizes(self.block)) if self.gradual else []
        return [*(replace(self, gradual=False, step=step) for step in between), self]

    def nodes(self, model: ir.Model) -> Iterable[ir.Node]:
        """Convolutions and dense layers of the main graph, in order."""
        return [node for node in model.graph if _read(node) is not None]

    def structure(self, model: ir.Model) -> PassResult:
        """Return the network with the weights projected.

        Raises:
            InputError: a size that no layer can take, or is given to a layer that is not there or
                cannot take it.
        """
        sizes = _sizes(self.block)
        layers = [layer_name(node) for node in self.nodes(model)]
        sizes.require(layers)
        if self.order == ChannelOrder.SEARCHED:
            model = self._ordered(model)
        result = SitePass.apply(self, model)
        left_all = layers and not (result.changes or self.only or self.exclude)
        reasons = dict.fromkeys(skipped.reason for skipped in result.skipped)
        if left_all and not any(_ALREADY in reason for reason in reasons):
            told = "; ".join(self._told(model, reasons))
            raise InputError(f"{KIND}: no layer takes blocks of {self.block}: {told}")
        return result

    def _told(self, model: ir.Model, reasons: Collection[str]) -> list[str]:
        """The reasons, all layers that are too small told by the one that takes the largest."""
        told = [reason for reason in reasons if _LARGER not in reason]
        layers = [
            layer for node in self.nodes(model) if isinstance(layer := _read(node), Convolution)
        ]
        widest = max(layers, key=_largest, default=None)
        if widest is not None and len(told) < len(reasons):
            told.insert(0, f"the largest that one takes is {_largest(widest)} ({widest.name})")
        return told

    def sizes(self, model: ir.Model) -> Mapping[str, tuple[int, ...]]:
        """Powers of two that each layer can take, from 2 to 128."""
        found: dict[str, tuple[int, ...]] = {}
        for node in self.nodes(model):
            layer = _read(node)
            if layer is None or isinstance(layer, str) or layer.weights != DENSE:
                continue
            refuses = partial(self._refuses, model, node, layer, named=False)
            if taken := tuple(size for size in _POWERS if refuses(size) is None):
                found[layer_name(node)] = taken
        return found

    def sized(self, chosen: Mapping[str, int]) -> "BlockCirculant":
        """The same with these sizes, and every other layer dense."""
        return replace(self, block="+".join(f"{name}={size}" for name, size in chosen.items()))

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | str | None:
        """A layer whose size is known, with its weights in that."""
        layer = _read(node)
        if layer is None or isinstance(layer, str):
            return layer
        name, sizes = layer_name(node), _sizes(self.block)
        size, named = sizes.of(name), name in sizes.single
        if size is None:
            return "no block size is given for it"
        reason = self._refuses(model, node, layer, size, named=named)
        if reason is not None and named and not reason.startswith(_ALREADY):
            raise InputError(f"{KIND}: block={name}={size}: {reason}")
        if reason is None and self.step is not None:
            size, before = gcd(size, self.step), 1
            if layer.weights.kind == KIND:
                before = blocks_of(layer).size
            if size <= before:
                reason = f"a step of {self.step} makes no larger blocks of it than {before}"
        return reason or Candidate((name,), name, partial(self._rewrite, model, layer, size))

    def _ordered(self, model: ir.Model) -> ir.Model:
        """The network with its channels in an order that the projections keep more in."""
        model = clone(model)
        energies: dict[ir.Value, KeptEnergy] = {}
        selection, sizes = Selection(self.only, self.exclude), _sizes(self.block)
        for node in self.nodes(model):
            layer, name = _read(node), layer_name(node)
            size = sizes.of(name)
            taken = isinstance(self.look(model, node), Candidate) and not selection.refuses((name,))
            if size is None or not taken or not isinstance(layer, Convolution):
                continue
            if layer.groups > 1 or layer.weights != DENSE:
                continue  # the order of their channels is not free
            blocks = Blocks(size, layer.filters, layer.channels)
            energies[layer.weight] = KeptEnergy(
                _dense(layer), blocks, transposed=_is_transposed(layer)
            )
        spaces = channel_spaces(model)
        for space, order in zip(spaces, search(spaces, energies, seed=self.seed), strict=True):
            permute(space, order)
        return model

    def _refuses(
        self, model: ir.Model, node: ir.Node, layer: Convolution, size: int, *, named: bool
    ) -> str | None:
        """Why a layer cannot have blocks of this size, or need not."""
        blocks = Blocks(size, layer.filters, layer.channels, layer.groups)
        if layer.weights.kind == KIND:
            before = blocks_of(layer).size
            if size == before:
                return f"{_ALREADY} {size}"
            if size % before:
                raise InputError(
                    f"{KIND}: {layer.name} has blocks of {before} already: a multiple of that is "
                    f"required, got {size}"
                )
        elif layer.weights != DENSE:
            return f"its weights are {layer.weights} already"
        if layer.bits is not None:
            return f"its weights are {layer.bits}-bit codes: this pass goes before quantising"
        if size > _largest(layer) and size > 1:
            return (
                f"blocks of {size} {_LARGER} {layer.channels // layer.groups} inputs or "
                f"{layer.filters // layer.groups} outputs; {_largest(layer)} is the largest that "
                "pads less than half"
            )
        if layer.weights == DENSE and not (named or self.ends):
            order = [other for other in self.nodes(model) if not isinstance(_read(other), str)]
            if node in {order[0], order[-1]}:
                return _ENDS
        return blocks.refuses()

    def _rewrite(self, model: ir.Model, layer: Convolution, size: int) -> Change:
        node, output = layer.node, layer.node.outputs[0]
        weight, before = _dense(layer), read_record(node)
        blocks = Blocks(size, layer.filters, layer.channels, layer.groups)
        emitter = emitter_for(model, layer)
        known = before if isinstance(before, Record) else None
        is_conv = "Conv" in node.op_type
        emitter.metadata[RECORD_KEY] = Record(
            output.name or "",
            layer.nest,
            KIND,
            operator=known.operator if known else node.op_type,
            weights=structure(size),
            parameters=known.parameters if known else layer.parameters,
            weight_bytes=known.weight_bytes if known else layer.weight_bytes,
            density=known.density if known else layer.density,
        ).text()
        compact = emitter.weight(projected(weight, blocks), "weight")
        source = node.inputs[0]
        if is_conv:
            result = convolve(
                emitter, [source, compact, layer.bias], blocks, layer.kernel,
                strides=layer.strides, pads=layer.pads, dilations=layer.dilations,
            )  # fmt: skip
        else:
            result = multiply(emitter, [source, compact, layer.bias], blocks)
        kept = _energy(projected(weight, blocks), blocks) / max(float((weight**2).sum()), 1e-300)
        change = Change(
            self.name, (layer.name,), exact=False, inputs=names(source), outputs=names(output),
            reason=f"blocks of {size}: the projection keeps {100 * kept:.1f} % of its energy",
            kept=kept,
        )  # fmt: skip
        install(model, emitter, output, result, anchor=node)
        return change


def _largest(layer: Convolution) -> int:
    """The largest block that is no larger than the layer: it pads less than half."""
    return min(layer.filters, layer.channels) // layer.groups


def _energy(compact: NDArray[np.float64], blocks: Blocks) -> float:
    """Sum of the squares of the dense weight that compact ones stand for."""
    return float((dense_weight(compact, blocks) ** 2).sum())


def _dense(layer: Convolution) -> NDArray[np.float64]:
    """The weight written out, shape (filters, channels / groups, ...)."""
    weight = constant(layer.weight)
    if weight is None:
        raise ValueError("a layer without weight")
    wide = weight.astype(np.float64)
    if layer.weights.kind == KIND:
        return dense_weight(wide, blocks_of(layer))
    return wide.T if _is_transposed(layer) else wide


def _is_transposed(layer: Convolution) -> bool:
    """Whether a dense layer's matrix is stored inputs by outputs."""
    node = layer.node
    if node.op_type not in {"Gemm", "MatMul"}:
        return False
    return "transB" not in node.attributes or not node.attributes["transB"].as_int()


def _read(node: ir.Node) -> Convolution | str | None:
    """A convolution, a dense layer, or either with a structure; why not; None for others."""
    if RECORD_KEY in node.metadata_props and is_standard(node):
        return None  # a part of a layer, which a pass made
    if is_standard(node) and node.op_type in {"Gemm", "MatMul"}:
        return _read_dense(node)
    return read_layer(node)


def _read_dense(node: ir.Node) -> Convolution | str | None:
    source, weight = node.inputs[0], node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    array = None if weight is None else constant(weight)
    if array is None or weight is None or array.ndim != 2:
        return None  # a product of two values that the network computes
    if source is None or source.shape is None or len(source.shape) != 2:
        return "a matrix product over more than images and features"
    attributes = {name: value.value for name, value in node.attributes.items()}
    if attributes.get("alpha", 1.0) != 1 or attributes.get("transA", 0):
        return "the dense layer scales or transposes its input"
    outputs, inputs = array.shape if attributes.get("transB", 0) else array.shape[::-1]
    if bias is not None:
        values = constant(bias)
        if values is None or values.size != outputs or attributes.get("beta", 1.0) != 1:
            return "its bias is no constant of one number for each output"
    return Convolution(
        node, weight, bias, outputs, inputs, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1, (1, 1)
    )
