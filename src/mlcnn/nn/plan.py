"""What each node becomes: its module, and what that is called with."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir
from torch import nn

from mlcnn.errors import UnsupportedError
from mlcnn.graph.operators import find, python_value
from mlcnn.nn.layers import LAYERS, Layer
from mlcnn.nn.site import Site, site_of, sizes_of
from mlcnn.nn.stateless import stateless_module
from mlcnn.ops import method_of

__all__ = ["Argument", "Literal", "Numbers", "Part", "plan"]


@dataclass(frozen=True, slots=True)
class Literal:
    """An argument that is known before the network runs."""

    value: object


@dataclass(frozen=True, slots=True)
class Numbers:
    """An argument that the module takes as Python numbers, computed by the network."""

    value: ir.Value


Argument = ir.Value | Literal | Numbers


@dataclass(frozen=True, slots=True)
class Part:
    """One node's module and what it is called with."""

    site: Site
    module: nn.Module
    arguments: tuple[Argument, ...]
    layer: Layer | None = None
    returns_tuple: bool = False

    @property
    def values(self) -> Iterator[ir.Value]:
        """The values that it needs."""
        for argument in self.arguments:
            if isinstance(argument, ir.Value):
                yield argument
            elif isinstance(argument, Numbers):
                yield argument.value


def plan(model: ir.Model) -> list[Part]:
    """The parts that the outputs need, in the graph's order."""
    needed = set(model.graph.outputs)
    parts: list[Part] = []
    for node in reversed(model.graph):
        if needed.isdisjoint(node.outputs):
            continue
        part = _part_of(site_of(node, model.opset_imports))
        needed.update(part.values)
        parts.append(part)
    return parts[::-1]


def _part_of(site: Site) -> Part:
    layer = _layer_of(site)
    if layer is not None:
        return Part(site, layer.module, (_required_input(site),), layer)
    module, first_only = stateless_module(site)
    if first_only:
        return Part(site, module, (_required_input(site),))
    known = find(site.spec)
    arguments = tuple(
        _argument(site, index, as_numbers=index in known.python_inputs)
        for index in range(len(site.node.inputs))
    )
    return Part(site, module, arguments, returns_tuple=known.returns_tuple)


def _layer_of(site: Site) -> Layer | None:
    """The module with weights of a node: torch's own, or that of the method whose operator it is.

    Raises:
        UnsupportedError: a method's module takes a weight that the network computes.
    """
    if site.spec.is_standard:
        build = LAYERS.get(site.spec.op_type)
        return None if build is None else build(site)
    method = method_of(site.node)
    if method is None or method.layer is None:
        return None
    layer: Layer = method.layer(site)
    for weight in layer.weights:
        if site.value(weight.index) is not None and site.tensor(weight.index) is None:
            msg = f"{site.spec.where}: its weight {weight.name!r} is computed by the network"
            raise UnsupportedError(f"{msg}, and a constant is required to train it")
    return layer


def _required_input(site: Site) -> ir.Value:
    value = site.value(0)
    if value is None:
        msg = f"{site.spec.where}: its first input is missing"
        raise UnsupportedError(msg)
    return value


def _argument(site: Site, index: int, *, as_numbers: bool) -> Argument:
    value = site.value(index)
    if value is None:
        return Literal(None)
    if not as_numbers:
        return value
    tensor = site.tensor(index)
    if tensor is not None:
        return Literal(python_value(tensor))
    shape = _known_shape(site) if index == 1 else None
    return Numbers(value) if shape is None else Literal(shape)


def _known_shape(site: Site) -> tuple[int, ...] | None:
    """The target of a Reshape or Expand that shape inference knows, but for -1.

    Exporters compute it from the batch size, node by node; that costs time and stops compilers.
    """
    sizes = sizes_of(site.node.outputs[0])
    if sizes is None or 0 in sizes:
        return None
    if site.spec.op_type == "Reshape" and sizes.count(None) <= 1:
        return tuple(-1 if size is None else size for size in sizes)
    if site.spec.op_type == "Expand":
        before, after = site.node.inputs[0], site.node.outputs[0]
        if before is None or before.shape is None or after.shape is None:
            return None
        same_rank = len(before.shape) == len(after.shape)
        dynamic = [axis for axis, size in enumerate(sizes) if size is None]
        if same_rank and all(before.shape[axis] == after.shape[axis] for axis in dynamic):
            return tuple(-1 if size is None else size for size in sizes)
    return None
