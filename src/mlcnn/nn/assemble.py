"""From a network to an ``fx.GraphModule`` of ordinary modules, one for each operator."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass
from torch import Tensor, fx, nn

from mlcnn.errors import UnsupportedError
from mlcnn.graph import clone, constant
from mlcnn.graph.operators import find, python_value, tensor_from
from mlcnn.nn.layers import LAYERS, Layer, Weight
from mlcnn.nn.naming import Names, owner_name
from mlcnn.nn.site import Site, site_of, sizes_of
from mlcnn.nn.stateless import stateless_module

__all__ = ["Assembly", "Binding", "assemble", "lift_constants", "to_module"]

_CONSTANTS = "constants"


@dataclass(frozen=True, slots=True)
class Binding:
    """An initializer and the parameter or buffer that it became.

    Attributes:
        initializer: its name in the network.
        path: the module's name.
        weight: which of the module's weights, and how it is kept there.
    """

    initializer: str
    path: str
    weight: Weight


@dataclass(frozen=True, slots=True)
class Assembly:
    """A network as a module, and where its weights went."""

    module: fx.GraphModule
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class _Literal:
    """An argument that is known before the network runs."""

    value: object


@dataclass(frozen=True, slots=True)
class _Numbers:
    """An argument that the module takes as Python numbers, computed by the network."""

    value: ir.Value


_Argument = ir.Value | _Literal | _Numbers


@dataclass(frozen=True, slots=True)
class _Part:
    """One node's module and what it is called with."""

    site: Site
    module: nn.Module
    arguments: tuple[_Argument, ...]
    layer: Layer | None = None
    returns_tuple: bool = False

    @property
    def values(self) -> Iterator[ir.Value]:
        """The values that it needs."""
        for argument in self.arguments:
            if isinstance(argument, ir.Value):
                yield argument
            elif isinstance(argument, _Numbers):
                yield argument.value


class Constant(nn.Module):
    """A tensor of the network that is not trained; it moves with the module, and is not saved."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value, persistent=False)

    def forward(self) -> Tensor:
        """The tensor."""
        return self.value


def to_module(model: ir.Model) -> fx.GraphModule:
    """A network as ordinary torch modules, ready to run and to train.

    Submodules go by the names of the network's layers, so that ``state_dict`` has the names of the
    network's weights. Convolutions, dense layers and normalisations have parameters; other float
    constants of the network are fixed. The batch may have any size that the network allows.

    Args:
        model: the network; it is not changed, and its weights are copied.

    Returns:
        A module in eval mode, of the network's float types. It takes the network's inputs in
        order, and returns its output, or a tuple of its outputs if there are several.

    Raises:
        UnsupportedError: naming the node, for an operator that torch cannot run.
    """
    return assemble(model).module


def lift_constants(model: ir.Model) -> None:
    """Turn ``Constant`` nodes into initializers, in place."""
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)


def assemble(model: ir.Model) -> Assembly:
    """A network as a module, and which weight of the module each initializer became."""
    flat = clone(model)
    InlinePass()(flat)
    lift_constants(flat)
    return _Assembler(flat, _plan(flat)).run()


def _plan(model: ir.Model) -> list[_Part]:
    """The parts that the outputs need, in the graph's order."""
    needed = set(model.graph.outputs)
    parts: list[_Part] = []
    for node in reversed(model.graph):
        if needed.isdisjoint(node.outputs):
            continue
        part = _part_of(site_of(node, model.opset_imports))
        needed.update(part.values)
        parts.append(part)
    return parts[::-1]


def _part_of(site: Site) -> _Part:
    build = LAYERS.get(site.spec.op_type) if site.spec.domain in {"", "ai.onnx"} else None
    layer = build(site) if build is not None else None
    if layer is not None:
        return _Part(site, layer.module, (_required_input(site),), layer)
    module, first_only = stateless_module(site)
    if first_only:
        return _Part(site, module, (_required_input(site),))
    known = find(site.spec)
    arguments = tuple(
        _argument(site, index, as_numbers=index in known.python_inputs)
        for index in range(len(site.node.inputs))
    )
    return _Part(site, module, arguments, returns_tuple=known.returns_tuple)


def _required_input(site: Site) -> ir.Value:
    value = site.value(0)
    if value is None:
        msg = f"{site.spec.where}: its first input is missing"
        raise UnsupportedError(msg)
    return value


def _argument(site: Site, index: int, *, as_numbers: bool) -> _Argument:
    value = site.value(index)
    if value is None:
        return _Literal(None)
    if not as_numbers:
        return value
    tensor = site.tensor(index)
    if tensor is not None:
        return _Literal(python_value(tensor))
    shape = _known_shape(site) if index == 1 else None
    return _Numbers(value) if shape is None else _Literal(shape)


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


@dataclass(slots=True)
class _Assembler:
    """Builds the module and its graph from the parts."""

    model: ir.Model
    parts: Sequence[_Part]
    names: Names = field(default_factory=Names)
    modules: dict[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    bindings: list[Binding] = field(default_factory=list[Binding])
    _weights: dict[str, tuple[Weight, Tensor]] = field(
        default_factory=dict[str, tuple[Weight, Tensor]]
    )
    _graph: fx.Graph = field(default_factory=fx.Graph)
    _values: dict[ir.Value, fx.Node] = field(default_factory=dict[ir.Value, fx.Node])

    def run(self) -> Assembly:
        paths = self._place_layers()
        for part in self.parts:
            if part.layer is None:
                paths[part.site.node] = self._add(self.names.stateless(part.site.node), part.module)
        for value in self.model.graph.inputs:
            self._values[value] = self._graph.placeholder(_identifier(str(value.name)))
        for part in self.parts:
            self._call(part, paths[part.site.node])
        results = tuple(self._read(value) for value in self.model.graph.outputs)
        self._graph.output(results[0] if len(results) == 1 else results)
        module = fx.GraphModule(_tree(self.modules), self._graph, class_name="Network")
        return Assembly(module.eval(), tuple(self.bindings))

    def _add(self, name: str, module: nn.Module) -> str:
        self.modules[name] = module
        return name

    def _place_layers(self) -> dict[ir.Node, str]:
        """Name the modules with weights and fill them; a layer that is called twice is one."""
        paths: dict[ir.Node, str] = {}
        known: dict[tuple[object, ...], str] = {}
        for part in self.parts:
            layer, node = part.layer, part.site.node
            if layer is None:
                continue
            key = _layer_key(part)
            if key not in known:
                first = layer.weights[0]
                weight = part.site.value(first.index)
                name = "node" if weight is None else owner_name(node, weight, first.name)
                known[key] = self._add(self.names.reserve(name), layer.module)
                self._fill(part.site, layer, known[key])
                if layer.pad is not None:
                    self._add(self.names.reserve(f"{known[key]}_pad"), layer.pad)
            paths[node] = known[key]
        return paths

    def _fill(self, site: Site, layer: Layer, path: str) -> None:
        parameters = dict(layer.module.named_parameters(recurse=False))
        for weight in layer.weights:
            name = str(getattr(site.value(weight.index), "name", ""))
            if name not in self._weights:
                tensor = site.tensor(weight.index)
                if tensor is None:
                    continue
                kept = weight.to_module(tensor)
                kept = nn.Parameter(kept) if weight.name in parameters else kept
                self._weights[name] = (weight, kept)
                self.bindings.append(Binding(name, path, weight))
            first, kept = self._weights[name]
            if (first.transposed, first.flat) != (weight.transposed, weight.flat):
                msg = (
                    f"{site.spec.where}: its weight {name!r} is also used in another layout; "
                    "give each of the nodes an initializer of its own"
                )
                raise UnsupportedError(msg)
            setattr(layer.module, weight.name, kept)

    def _call(self, part: _Part, path: str) -> None:
        arguments = tuple(self._argument(argument) for argument in part.arguments)
        if part.layer is not None and part.layer.pad is not None:
            arguments = (self._graph.call_module(f"{path}_pad", arguments),)
        result = self._graph.call_module(path, arguments)
        outputs = part.site.node.outputs
        if not part.returns_tuple:
            self._values[outputs[0]] = result
            return
        for index, value in enumerate(outputs):
            self._values[value] = self._graph.call_function(operator.getitem, (result, index))

    def _argument(self, argument: _Argument) -> fx.node.Argument:
        if isinstance(argument, _Literal):
            return argument.value  # pyright: ignore[reportReturnType] - numbers, tuples, None
        if isinstance(argument, _Numbers):
            return self._graph.call_function(python_value, (self._read(argument.value),))
        return self._read(argument)

    def _read(self, value: ir.Value) -> fx.Node:
        """The fx node of a value; constants become modules on first use."""
        if value not in self._values:
            content = ir.convenience.get_const_tensor(value)
            if constant(value) is None or content is None:
                msg = f"value {value.name!r} is used before it is computed"
                raise UnsupportedError(msg)
            self._values[value] = self._constant(str(value.name), content)
        return self._values[value]

    def _constant(self, name: str, content: ir.TensorProtocol) -> fx.Node:
        bound = next((b for b in self.bindings if b.initializer == name), None)
        if bound is not None and not (bound.weight.transposed or bound.weight.flat):
            return self._graph.get_attr(f"{bound.path}.{bound.weight.name}")
        path = self.names.reserve(f"{_CONSTANTS}.{_identifier(name)}")
        return self._graph.call_module(self._add(path, Constant(tensor_from(content))))


def _layer_key(part: _Part) -> tuple[object, ...]:
    """Equal for two calls of one layer: same operator, attributes, weights and padding."""
    node = part.site.node
    attributes = tuple((name, str(a.value)) for name, a in sorted(node.attributes.items()))
    return (node.op_type, attributes, node.inputs[1:], str(part.layer and part.layer.pad))


def _identifier(name: str) -> str:
    text = "".join(char if char.isalnum() and char.isascii() else "_" for char in name)
    return text if text.isidentifier() else f"_{text}"


def _tree(modules: dict[str, nn.Module]) -> nn.Module:
    """A module that holds ``modules`` under their dotted names."""
    root = nn.Module()
    for path in sorted(modules, key=lambda path: path.count(".")):
        *parents, last = path.split(".")
        owner = root
        for parent in parents:
            if not hasattr(owner, parent):
                owner.add_module(parent, nn.Module())
            owner = owner.get_submodule(parent)
        owner.add_module(last, modules[path])
    return root
