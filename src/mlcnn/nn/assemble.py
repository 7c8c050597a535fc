"""From a network to an ``fx.GraphModule`` of ordinary modules, one for each operator."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass
from torch import Tensor, fx, nn
from torch.fx.node import Argument as FxArgument

from mlcnn.errors import UnsupportedError
from mlcnn.graph import constant, infer_shapes, inline, layer_name
from mlcnn.graph.operators import python_value, tensor_from
from mlcnn.nn.layers import Layer, Weight
from mlcnn.nn.naming import Names, owner_name
from mlcnn.nn.plan import Argument, Literal, Numbers, Part, plan
from mlcnn.nn.site import Site
from mlcnn.ops import methods
from mlcnn.workload import DENSE, Record, read_record

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
    """A network as a module, and where its parts went.

    Attributes:
        module: the network.
        bindings: its weights.
        paths: the module of each node, by the name of the node's first output.
    """

    module: fx.GraphModule
    bindings: tuple[Binding, ...]
    paths: Mapping[str, str]


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
    flat = inline(model, foreign=True, keep=_has_module)
    lift_constants(flat)
    if model.functions:
        infer_shapes(flat)
    made = _Assembler(flat, plan(flat)).run()
    _require_trained(flat, made.bindings)
    return made


def _has_module(function: ir.Function) -> bool:
    """Whether a method trains the operator as a module of its own."""
    key = (function.domain, function.name)
    return any(m.layer is not None and key in m.operators for m in methods().values())


def _require_trained(model: ir.Model, bindings: Sequence[Binding]) -> None:
    """Every float weight of a layer whose weights have a structure must be a parameter.

    Raises:
        UnsupportedError: naming one that would silently stay as it is.
    """
    trained = {binding.initializer for binding in bindings}
    for node in model.graph:
        record = read_record(node)
        if not isinstance(record, Record) or record.weights == DENSE:
            continue
        for value in node.inputs:
            if value is None or value.dtype is None or not value.is_initializer():
                continue
            if value.dtype.is_floating_point() and value.name not in trained:
                raise UnsupportedError(
                    f"{layer_name(node)} ({node.op_type}): its weight {value.name!r} would get no "
                    f"gradient: the method of {record.weights.kind!r} weights has to declare a "
                    "module (`layer`) for its operator, or the network has to be trained before "
                    "`choose` lowers it"
                )


@dataclass(slots=True)
class _Assembler:
    """Builds the module and its graph from the parts."""

    model: ir.Model
    parts: Sequence[Part]
    names: Names = field(default_factory=Names)
    modules: dict[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    bindings: list[Binding] = field(default_factory=list[Binding])
    _weights: dict[str, tuple[Weight, Tensor]] = field(
        default_factory=dict[str, tuple[Weight, Tensor]]
    )
    _pads: dict[str, str] = field(default_factory=dict[str, str])
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
        named = {str(node.outputs[0].name): path for node, path in paths.items()}
        return Assembly(module.eval(), tuple(self.bindings), named)

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
                    pad_path = self.names.reserve(f"{known[key]}_pad")
                    self._pads[known[key]] = self._add(pad_path, layer.pad)
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

    def _call(self, part: Part, path: str) -> None:
        arguments = tuple(self._argument(argument) for argument in part.arguments)
        if path in self._pads:
            arguments = (self._graph.call_module(self._pads[path], arguments),)
        result = self._graph.call_module(path, arguments)
        outputs = part.site.node.outputs
        if not part.returns_tuple:
            self._values[outputs[0]] = result
            return
        for index, value in enumerate(outputs):
            self._values[value] = self._graph.call_function(operator.getitem, (result, index))

    def _argument(self, argument: Argument) -> FxArgument:
        if isinstance(argument, Literal):
            return argument.value  # pyright: ignore[reportReturnType] - numbers, tuples, None
        if isinstance(argument, Numbers):
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


def _layer_key(part: Part) -> tuple[object, ...]:
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
