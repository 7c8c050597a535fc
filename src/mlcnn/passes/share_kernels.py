"""``share-kernels``: the kernels of a layer become sums of a few shared ones [PENNI].

The basis is the best one in the Frobenius norm, by singular values. Trained 3x3 kernels are not of
low rank: fewer than seven of nine lose accuracy, and seven cost more multiplications than the dense
layer. What pays are zeros among the coefficients, so the network has to be trained afterwards.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import constant, layer_name
from mlcnn.ops import Convolution, read_layer
from mlcnn.ops.shared_kernels import (
    KIND,
    basis_of,
    convolve,
    decomposed,
    dense_weight,
    energies,
    structure,
)
from mlcnn.passes.base import Change, PassResult
from mlcnn.passes.layer_sizes import LayerSizes
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.passes.skeleton import Candidate, SitePass, names
from mlcnn.passes.structuring import Structuring
from mlcnn.workload import DENSE, RECORD_KEY, Record, read_record

__all__ = ["ShareKernels"]

_POINTWISE = "its kernels are 1x1: nothing to share"


@dataclass(frozen=True, slots=True)
class ShareKernels(Structuring, SitePass):
    """Give convolutions kernels that are sums of a few shared ones.

    Attributes:
        basis: how many shared kernels, ``5``; of single layers besides, ``5+layer1.0.conv1=4``.
            As many as a kernel has taps are exact.
        layers: see ``Structuring``, as ``only``, ``exclude`` and ``chooser``.
    """

    name: ClassVar[str] = "share-kernels"
    exact: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    basis: str = "5"

    def __post_init__(self) -> None:
        self._sizes()

    def _sizes(self) -> LayerSizes:
        return LayerSizes.parse(self.basis, f"{self.name}: basis", "5+layer1.0.conv1=4")

    def nodes(self, model: ir.Model) -> Iterable[ir.Node]:
        """Convolutions of the main graph, in order."""
        return [node for node in model.graph if _read(node) is not None]

    def structure(self, model: ir.Model) -> PassResult:
        """Return the network with the kernels decomposed.

        Raises:
            InputError: more basis kernels than a layer's kernels have taps, a layer that is not
                there, or none whose kernels can be shared.
        """
        nodes = [*self.nodes(model)]
        self._sizes().require([layer_name(node) for node in nodes])
        result = SitePass.apply(self, model)
        reasons = {skipped.reason for skipped in result.skipped}
        if not result.changes and reasons <= {_POINTWISE} and not (self.only or self.exclude):
            what = "its convolutions are 1x1" if reasons else "it has no convolutions"
            raise InputError(f"{self.name}: nothing to share in this network: {what}")
        return result

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | str | None:
        """A layer whose number is known, with its kernels as sums of so many."""
        layer = _read(node)
        if layer is None or isinstance(layer, str):
            return layer
        name, sizes = layer_name(node), self._sizes()
        count, taps = sizes.of(name), prod(layer.kernel)
        if count is None:
            return "no number of basis kernels is given for it"
        reason = _refuses(layer, count)
        if reason is None and count > taps:
            height, width = layer.kernel
            given = f"{name}={count}" if name in sizes.single else str(count)
            raise InputError(
                f"{self.name}: basis={given}: the kernels of {name} have {height}x{width} taps: 1 "
                f"to {taps} can be shared"
            )
        return reason or Candidate((name,), name, partial(self._rewrite, model, layer, count))

    def left(self, model: ir.Model) -> dict[str, str]:
        """Why layers stay as they are whose kernels have more than one tap, by name.

        Raises:
            InputError: as for ``structure``, but where nothing can be shared.
        """
        nodes = [*self.nodes(model)]
        self._sizes().require([layer_name(node) for node in nodes])
        looked = {layer_name(node): self.look(model, node) for node in nodes}
        return {
            name: found
            for name, found in looked.items()
            if isinstance(found, str) and found != _POINTWISE
        }

    def _rewrite(self, model: ir.Model, layer: Convolution, count: int) -> Change:
        node, output = layer.node, layer.node.outputs[0]
        weight, before = _dense(layer), read_record(node)
        emitter = emitter_for(model, layer)
        known = before if isinstance(before, Record) else None
        emitter.metadata[RECORD_KEY] = Record(
            output.name or "",
            layer.nest,
            KIND,
            weights=structure(count),
            parameters=known.parameters if known else layer.parameters,
            weight_bytes=known.weight_bytes if known else layer.weight_bytes,
            density=known.density if known else layer.density,
        ).text()
        basis, coefficients = decomposed(weight, count)
        result = convolve(
            emitter,
            [node.inputs[0], emitter.weight(basis, "basis"),
             emitter.weight(coefficients, "weight"), layer.bias],
            layer.channels, strides=layer.strides, pads=layer.pads, dilations=layer.dilations,
            groups=layer.groups,
        )  # fmt: skip
        change = Change(
            self.name, (layer.name,), exact=count == prod(layer.kernel),
            inputs=names(node.inputs[0]), outputs=names(output), reason=_told(layer, weight, count),
        )  # fmt: skip
        install(model, emitter, output, result, anchor=node)
        return change


def _read(node: ir.Node) -> Convolution | str | None:
    """A convolution, or one with a structure; why not; None for others and parts of layers."""
    if RECORD_KEY in node.metadata_props and node.op_type == "Conv":
        return None
    return read_layer(node)


def _refuses(layer: Convolution, count: int) -> str | None:
    """Why the kernels of a layer stay as they are."""
    if prod(layer.kernel) == 1:
        return _POINTWISE
    if layer.weights.kind == KIND:
        (_, before), *_ = layer.weights.options
        return None if count < int(before) else f"it has {before} basis kernels already"
    if layer.weights != DENSE:
        return f"its weights are {layer.weights} already"
    if layer.bits is not None:
        return f"its weights are {layer.bits}-bit codes: this pass goes before quantising"
    if layer.channels == layer.groups:
        return "it is depthwise: the basis alone would cost as much"
    others = [layer_name(use.node) for use in layer.weight.uses() if use.node is not layer.node]
    return f"its weight is also that of {others[0]}" if others else None


def _dense(layer: Convolution) -> NDArray[np.float64]:
    """The weight written out, shape (K, C / G, R, S)."""
    weight = constant(layer.weight)
    kernels = constant(basis_of(layer)) if layer.weights.kind == KIND else None
    if weight is None:
        raise ValueError("a layer without weight")
    wide = weight.astype(np.float64)
    return wide if kernels is None else dense_weight(kernels.astype(np.float64), wide)


def _told(layer: Convolution, weight: NDArray[np.float64], count: int) -> str:
    """What the basis keeps, and what it costs whatever the coefficients are."""
    kept = energies(weight)[:count][-1]
    share = count * layer.groups / layer.filters
    return (
        f"{count} of {prod(layer.kernel)} directions keep {100 * kept:.1f} % of its energy; the "
        f"basis convolutions alone are {100 * share:.0f} % of its multiplications"
    )
