"""Runs a network with torch in any float type: the yardstick of every exactness check."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph.operators import Kernel, NodeSpec, find, python_value, tensor_from

__all__ = ["evaluate"]

Attributes = Mapping[str, ir.Attr]
Values = dict[ir.Value, Tensor | None]
"""``None`` stands for a function's input that its caller left out."""

_OLDEST_OPSET = 13


def evaluate(
    model: ir.Model,
    inputs: Mapping[str, Tensor],
    *,
    outputs: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """Run ``model`` with torch; every float in it (constants too) is a ``dtype``.

    Integers and booleans keep their types. Model-local functions are executed. Only the nodes
    that the requested outputs need are run, and a value is freed after its last use.

    Args:
        model: a network of opset 13 or newer.
        inputs: by name, one for each graph input that is needed; floats are cast to ``dtype``.
        outputs: names of the values to return, inner ones too; by default the graph's outputs.
        dtype: float type to compute in.

    Returns:
        The requested values by name, in the order asked for.

    Raises:
        InputError: for a missing or unknown input, an unknown output, or shapes that do not fit.
        UnsupportedError: naming the node, for an operator that has no torch kernel.
    """
    opset = model.opset_imports.get("", _OLDEST_OPSET)
    if opset < _OLDEST_OPSET:
        msg = f"opset {opset} is too old to evaluate: at least {_OLDEST_OPSET} is required"
        raise UnsupportedError(msg)
    graph = model.graph
    wanted = _wanted(graph, outputs)
    needed = _needed_nodes(graph, wanted)
    values = _bind_inputs(graph, inputs, needed, wanted, dtype)
    runner = _Runner(model, dtype)
    with torch.no_grad():
        runner.run(needed, values, wanted, {})
        results = {str(value.name): runner.read(values, value) for value in wanted}
    return {name: result for name, result in results.items() if result is not None}


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs nodes of one model in one float type."""

    model: ir.Model
    dtype: torch.dtype

    def read(self, values: Values, value: ir.Value) -> Tensor | None:
        """The tensor of a value: computed, given, or an initializer."""
        if value not in values:
            if value.const_value is None:
                msg = f"value {value.name!r} is used before it is computed"
                raise InputError(msg)
            values[value] = tensor_from(value.const_value, self.dtype)
        return values[value]

    def run(
        self,
        nodes: Sequence[ir.Node],
        values: Values,
        keep: Sequence[ir.Value],
        bound: Attributes,
    ) -> None:
        """Run ``nodes`` in order, adding to ``values``; values not in ``keep`` are freed."""
        uses = Counter(value for node in nodes for value in node.inputs if value is not None)
        uses.update(keep)
        for node in nodes:
            arguments = [None if v is None else self.read(values, v) for v in node.inputs]
            results = self._run_node(node, arguments, bound)
            for value, result in zip(node.outputs, results, strict=False):
                if uses[value]:
                    values[value] = result
            for value in node.inputs:
                if value is not None:
                    uses[value] -= 1
                    if not uses[value]:
                        values.pop(value, None)

    def _run_node(
        self, node: ir.Node, arguments: list[Tensor | None], bound: Attributes
    ) -> Sequence[Tensor | None]:
        function = self.model.functions.get(node.op_identifier())
        if function is not None:
            return self._run_function(function, node, arguments, bound)
        spec = self._spec(node, bound)
        operator = find(spec)
        kernel = operator.build(spec)
        given = [
            python_value(argument)
            if argument is not None and i in operator.python_inputs
            else argument
            for i, argument in enumerate(arguments)
        ]
        return _call(kernel, given, spec)

    def _spec(self, node: ir.Node, bound: Attributes) -> NodeSpec:
        opsets = self.model.opset_imports if node.graph is None else node.graph.opset_imports
        return NodeSpec(
            name=str(node.name),
            op_type=node.op_type,
            domain=node.domain,
            opset=opsets.get(node.domain, 0),
            attributes=_resolve(node, bound),
            inputs=tuple(value is not None for value in node.inputs),
            outputs=tuple(bool(v.uses()) or v.is_graph_output() for v in node.outputs),
            float_dtype=self.dtype,
        )

    def _run_function(
        self,
        function: ir.Function,
        node: ir.Node,
        arguments: list[Tensor | None],
        bound: Attributes,
    ) -> list[Tensor | None]:
        formal = {**function.attributes, **_resolve(node, bound)}
        attributes = {name: attr for name, attr in formal.items() if attr.value is not None}
        left_out = [None] * (len(function.inputs) - len(arguments))
        values: Values = dict(zip(function.inputs, [*arguments, *left_out], strict=True))
        self.run(tuple(function), values, function.outputs, attributes)
        return [self.read(values, value) for value in function.outputs]


def _resolve(node: ir.Node, bound: Attributes) -> dict[str, ir.Attr]:
    """The node's attributes; references are looked up, absent ones left out."""
    result: dict[str, ir.Attr] = {}
    for name, attribute in node.attributes.items():
        if not attribute.is_ref():
            result[name] = attribute
        elif (actual := bound.get(str(attribute.ref_attr_name))) is not None:
            result[name] = actual
    return result


def _call(kernel: Kernel, arguments: Sequence[object], spec: NodeSpec) -> tuple[Tensor, ...]:
    try:
        result = kernel(*arguments)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shapes = [tuple(a.shape) if isinstance(a, Tensor) else a for a in arguments]
        msg = f"{spec.where} cannot run on inputs {shapes}: {error}"
        raise InputError(msg) from error
    return (result,) if isinstance(result, Tensor) else result


def _wanted(graph: ir.Graph, outputs: Sequence[str] | None) -> list[ir.Value]:
    if outputs is None:
        return list(graph.outputs)
    known = {value.name: value for value in _all_values(graph)}
    missing = [name for name in outputs if name not in known]
    if missing:
        available = ", ".join(str(value.name) for value in graph.outputs)
        msg = f"the network has no value {missing[0]!r}; its outputs are {available}"
        raise InputError(msg)
    return [known[name] for name in outputs]


def _all_values(graph: ir.Graph) -> Iterable[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _needed_nodes(graph: ir.Graph, wanted: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes that ``wanted`` depends on, in the graph's order."""
    needed: set[ir.Node] = set()
    pending = [value.producer() for value in wanted]
    while pending:
        node = pending.pop()
        if node is not None and node not in needed:
            needed.add(node)
            pending.extend(value.producer() for value in node.inputs if value is not None)
    return [node for node in graph if node in needed]


def _bind_inputs(
    graph: ir.Graph,
    inputs: Mapping[str, Tensor],
    nodes: Iterable[ir.Node],
    wanted: Iterable[ir.Value],
    dtype: torch.dtype,
) -> Values:
    formal = {str(value.name): value for value in graph.inputs}
    unknown = [name for name in inputs if name not in formal]
    if unknown:
        msg = f"the network has no input {unknown[0]!r}; its inputs are {', '.join(formal)}"
        raise InputError(msg)
    used = {value for node in nodes for value in node.inputs} | set(wanted)
    result: Values = {}
    for name, value in formal.items():
        if name in inputs:
            result[value] = _input_tensor(value, inputs[name], dtype)
        elif value in used and value.const_value is None:
            msg = f"input {name!r} is missing; given: {', '.join(inputs) or 'none'}"
            raise InputError(msg)
    return result


def _input_tensor(value: ir.Value, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if value.shape is not None:
        formal = list(value.shape)
        fits = len(formal) == tensor.ndim and all(
            size == given
            for size, given in zip(formal, tensor.shape, strict=True)
            if isinstance(size, int)
        )
        if not fits:
            msg = (
                f"input {value.name!r} has shape {tuple(tensor.shape)}, "
                f"but the network takes {tuple(str(size) for size in formal)}"
            )
            raise InputError(msg)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
