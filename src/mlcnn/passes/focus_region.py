"""The layers behind a value that a mask goes through, and how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from mlcnn.graph import is_standard, layer_name
from mlcnn.ops import Convolution, read_convolution, read_pooling
from mlcnn.ops.focused import Growth, Masks
from mlcnn.ops.focused.rules import Windowed
from mlcnn.passes.pointwise import BINARY, TRANSPARENT, UNARY

__all__ = ["Region", "Step"]

_POINTWISE = UNARY | BINARY | TRANSPARENT | {"BatchNormalization", "Cast", "Concat"}
_POOLS = frozenset({"AveragePool", "MaxPool"})


@dataclass(frozen=True, slots=True)
class Step:
    """A node that a mask goes through.

    Attributes:
        node: the node.
        inputs: what it reads that has a mask.
        windows: of a convolution or a pool; None where each output is of one place.
        layer: the convolution, if it is one.
    """

    node: ir.Node
    inputs: tuple[ir.Value, ...]
    windows: Windowed | None = None
    layer: Convolution | None = None

    @property
    def output(self) -> ir.Value:
        """What it gives."""
        return self.node.outputs[0]


@dataclass(frozen=True, slots=True)
class Region:
    """The nodes behind a value, as far as height and width go.

    Attributes:
        steps: in order.
        refused: why the mask goes no further, by layer.
    """

    steps: tuple[Step, ...]
    refused: dict[str, str]

    @classmethod
    def behind(cls, model: ir.Model, value: ir.Value) -> "Region":
        """Of a network, shapes inferred."""
        inside, steps, refused = {value}, list[Step](), dict[str, str]()
        for node in model.graph:
            inputs = tuple(v for v in node.inputs if v in inside)
            if not inputs:
                continue
            step = _step(node, inputs)
            if isinstance(step, Step):
                steps.append(step)
                inside.add(step.output)
            elif step is not None:
                refused[layer_name(node)] = step
        return cls(tuple(steps), refused)

    @property
    def layers(self) -> Iterator[Step]:
        """The convolutions."""
        return (step for step in self.steps if step.layer is not None)

    @property
    def grids(self) -> dict[ir.Value, int]:
        """Which of the sizes, in the order in which they are met, each value has."""
        sizes = [_size(step.output) for step in self.steps]
        order = {size: index for index, size in enumerate(dict.fromkeys(sizes))}
        return {step.output: order[size] for step, size in zip(self.steps, sizes, strict=True)}

    def forward(
        self, masks: Masks, value: ir.Value, start: ir.Value, growth: Growth
    ) -> dict[ir.Value, ir.Value]:
        """The mask of every value, from that of the first one."""
        found = {value: start}
        for step in self.steps:
            mask = masks.either([found[v] for v in step.inputs])
            if step.windows is not None:
                through = masks.patch if growth is Growth.PATCH else masks.same
                mask = through(mask, step.windows)
            found[step.output] = mask
        return found

    def backward(self, masks: Masks, numbers: dict[ir.Value, ir.Value]) -> dict[ir.Value, ir.Value]:
        """What must be computed for the masks of the values that leave the region to be right."""
        members = {step.node for step in self.steps}
        needed: dict[ir.Value, list[ir.Value]] = {}
        found: dict[ir.Value, ir.Value] = {}
        for step in reversed(self.steps):
            output = step.output
            leaves = output.is_graph_output() or any(u.node not in members for u in output.uses())
            wanted = needed.get(output, []) + ([numbers[output]] if leaves else [])
            found[output] = mask = masks.either(wanted or [numbers[output]])
            before = mask if step.windows is None else masks.read_by(mask, step.windows)
            for value in step.inputs:
                needed.setdefault(value, []).append(before)
        return found


def _step(node: ir.Node, inputs: Sequence[ir.Value]) -> Step | str | None:
    """How a mask goes through a node; why not; None where height and width end."""
    if not is_standard(node):
        return f"a mask does not go through {node.domain}.{node.op_type}"
    if node.op_type == "Conv":
        layer = read_convolution(node)
        return layer if isinstance(layer, str) else _convolution(node, inputs, layer)
    if node.op_type in _POOLS:
        return _pool(node, inputs)
    output = _size(node.outputs[0])
    same = output is not None and all(_size(value) == output for value in inputs)
    if node.op_type in _POINTWISE and same and len(node.outputs) == 1:
        return Step(node, tuple(inputs))
    return None


def _convolution(node: ir.Node, inputs: Sequence[ir.Value], layer: Convolution) -> Step | str:
    size, outputs = _numbers(layer.size), _numbers((layer.output_size(0), layer.output_size(1)))
    if size is None or outputs is None:
        return "its height or width is dynamic"
    windows = Windowed(size, outputs, layer.kernel, layer.strides, layer.dilations, layer.pads[:2])
    return Step(node, tuple(inputs), windows, layer)


def _pool(node: ir.Node, inputs: Sequence[ir.Value]) -> Step | str | None:
    pooling = read_pooling(node)
    if isinstance(pooling, str):
        return pooling
    size, pool = _numbers(pooling.size), pooling.pool
    if pooling.is_global:
        return None
    if size is None or pool is None:
        return "its height or width is dynamic"
    outputs = (pool.output_size(size[0], 0), pool.output_size(size[1], 1))
    windows = Windowed(size, outputs, pool.kernel, pool.strides, pads=pool.pads[:2])
    return Step(node, tuple(inputs), windows)


def _size(value: ir.Value) -> tuple[int, int] | None:
    dims = () if value.shape is None else value.shape.dims
    return None if len(dims) != 4 else _numbers((dims[2], dims[3]))


def _numbers(size: Sequence[object]) -> tuple[int, int] | None:
    height, width = size
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
