"""A quantised network as layers of the hardware, and of the host between them.

Convolutions and dense layers with codes as weights go to the hardware, with the average pool that
is fused with them or stands right behind their sums. All else runs on the host, in whole numbers.

The output of the last layer is rounded too, though networks leave it in floats: its grid spans what
it takes on over calibration images, and an eighth more at both ends.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import (
    DEQUANTIZE,
    QUANTIZE,
    constant,
    evaluate,
    inline,
    is_constant,
    is_quantiser,
    is_standard,
    layer_name,
    pad_means,
)
from mlcnn.rtl.attributes import axis_of, code_grid, pool_windows, whole_image
from mlcnn.rtl.build import Build
from mlcnn.rtl.host import Largest
from mlcnn.rtl.linear import convolution, dense, with_bias
from mlcnn.rtl.network import CodeGrid, HardwareStep, HostStep, IntegerNetwork, Step
from mlcnn.rtl.unrounded import Bounds, Coded, Given, Linear, Means, Moved, Sums, Unrounded

__all__ = ["lower", "require_quantised"]

Whole = NDArray[np.int64]
Held = Coded | Given | Unrounded

_MARGIN = 1 / 8
_CODES = 255
_HOW = "mlcnn quantize {} --data IMAGES --fuse --means exact --no-sensitivity -o FILE.onnx"


def lower(
    model: ir.Model,
    calibration: NDArray[np.float32] | None = None,
    build: Build | None = None,
    name: str = "NETWORK",
) -> IntegerNetwork:
    """A quantised network in whole numbers.

    Args:
        model: with ``QuantizeLinear`` and ``DequantizeLinear``, as ``mlcnn quantize`` writes it.
        calibration: images as the network takes them; for the grid of an output that the network
            does not round.
        build: the hardware, for what messages say of it; as it is by default.
        name: of the network, for messages.

    Raises:
        InputError: the network, or one of its layers, is not quantised; or there have to be
            calibration images.
        UnsupportedError: a layer that neither the hardware nor the host runs on codes.
        InfeasibleError: sums of a layer could leave 32 bits.
    """
    require_quantised(model, name)
    return _Lowering(pad_means(inline(model)), build or Build()).network(
        lambda: _span(model, calibration)
    )


def require_quantised(model: ir.Model, name: str) -> None:
    """Refuse a network in floats.

    Args:
        model: the network.
        name: what the message calls it.

    Raises:
        InputError: nothing of it is rounded to codes.
    """
    if not any(is_quantiser(node, QUANTIZE) for node in model.graph):
        raise InputError(
            f"{name}: the network is not quantised, and the hardware computes with codes of 8 "
            f"bits; quantise it and give the file: {_HOW.format(name)}"
        )


def _span(model: ir.Model, images: NDArray[np.float32] | None) -> CodeGrid:
    """The grid of an output, by what it takes on: as ONNX defines it, whatever an engine makes."""
    if images is None:
        raise InputError(
            "the network does not round its output, and codes need a range: give images to find it"
        )
    given = {model.graph.inputs[0].name or "": torch.from_numpy(images)}
    (found,) = evaluate(model, given, dtype=torch.float32).values()
    low, high = min(float(found.min()), 0.0), max(float(found.max()), 0.0)
    more = _MARGIN * (high - low)
    step = max(float(np.float32((high - low + 2 * more) / _CODES)), 1e-12)
    return CodeGrid(step, round((more - low) / step))


class _Lowering:
    """Walks a network once, in order: every value is codes, or on the way to them."""

    def __init__(self, model: ir.Model, build: Build) -> None:
        self._model, self._build = model, build
        self._held: dict[ir.Value, Held] = {}
        self._steps: list[Step] = []
        self._inputs: dict[str, CodeGrid] = {}
        self._operators: dict[str, Callable[[ir.Node], Held]] = {
            QUANTIZE: self._rounded,
            DEQUANTIZE: self._read,
            "Conv": self._convolved,
            "Gemm": lambda node: dense(node, self._codes(node)),
            "MatMul": lambda node: dense(node, self._codes(node)),
            "Add": self._added,
            "AveragePool": self._averaged,
            "GlobalAveragePool": self._averaged,
            "ReduceMean": self._reduced,
            "MaxPool": self._largest,
            "GlobalMaxPool": self._largest,
            "Relu": lambda node: self._cut(node, self._of(node), 0.0, None),
            "Clip": self._clipped,
            "Concat": self._joined,
            "Flatten": self._reshaped,
            "Reshape": self._reshaped,
            "Squeeze": self._reshaped,
            "Identity": self._of,
            "Dropout": self._of,
        }

    def network(self, span: Callable[[], CodeGrid]) -> IntegerNetwork:
        """All of it.

        Args:
            span: the grid of the output, where the network does not round it.
        """
        given, shape = self._given()
        self._held[given] = Given(shape)
        for node in self._model.graph:
            if not all(is_constant(value) for value in node.outputs):
                self._held[node.outputs[0]] = self._lowered(node)
        end = self._model.graph.outputs[0]
        held = self._held[end]
        if isinstance(held, Given):
            raise InputError("the network gives what it is given; one with layers is required")
        rescaled = not isinstance(held, Coded)
        coded = held if isinstance(held, Coded) else self._closed(held, span(), end.name or "")
        if len(self._inputs) != 1:
            raise UnsupportedError(
                f"the network rounds its input in {len(self._inputs)} ways; one is required"
            )
        ((name, grid),) = self._inputs.items()
        sizes = shape[0], shape[1], shape[2]
        return IntegerNetwork(
            tuple(self._steps), name, grid, sizes, coded.name, coded.grid, rescaled
        )

    def _given(self) -> tuple[ir.Value, tuple[int, ...]]:
        """The network's input, and its shape without the images."""
        graph = self._model.graph
        inputs = [value for value in graph.inputs if not value.is_initializer()]
        shape = inputs[0].shape if len(inputs) == 1 else None
        sizes = () if shape is None else tuple(s for s in shape.dims[1:] if isinstance(s, int))
        if len(sizes) != 3 or len(graph.outputs) != 1:
            raise UnsupportedError(
                f"a network with {len(inputs)} inputs and {len(graph.outputs)} outputs; one that "
                "takes images of a fixed size (batch, channels, height, width) and gives one "
                "result is required"
            )
        return inputs[0], sizes

    def _lowered(self, node: ir.Node) -> Held:
        work = self._operators.get(node.op_type) if is_standard(node) else None
        if work is None:
            raise UnsupportedError(
                f"{layer_name(node)}: neither the hardware nor the host runs {node.op_type} on "
                f"codes; they run {', '.join(sorted(self._operators))}"
            )
        return work(node)

    def _of(self, node: ir.Node, index: int = 0) -> Held:
        """What a node reads."""
        value = node.inputs[index]
        if value not in self._held:
            raise UnsupportedError(
                f"{layer_name(node)}: {node.op_type} reads a constant where images should be"
            )
        return self._held[value]

    def _codes(self, node: ir.Node, index: int = 0) -> Coded:
        """The same, where it has to be codes."""
        held = self._of(node, index)
        if not isinstance(held, Coded):
            raise _unrounded(node)
        return held

    def _closed(self, held: Unrounded, grid: CodeGrid, output: str) -> Coded:
        """Codes of what was not rounded yet."""
        for step in held.close(grid, output):
            self._steps.append(self._with_own_name(step))
        return Coded(output, grid, held.shape)

    def _with_own_name(self, step: Step) -> Step:
        """A layer that runs twice has a name for each time."""
        if not isinstance(step, HardwareStep):
            return step
        count = sum(
            isinstance(one, HardwareStep) and one.name.partition("#")[0] == step.name
            for one in self._steps
        )
        layer = replace(step.layer, name=f"{step.name}#{count + 1}") if count else step.layer
        return replace(step, layer=layer)

    def _moved(
        self,
        node: ir.Node,
        shape: tuple[int, ...],
        run: Callable[[CodeGrid], Callable[[Whole], Whole]],
    ) -> Held:
        """What an operator that changes no number makes of codes, or of what will be codes."""
        held, name = self._of(node), layer_name(node)
        if isinstance(held, Given):
            raise _unrounded(node)
        if not isinstance(held, Coded):
            return Moved(name, node.op_type, held, run, shape)
        output = node.outputs[0].name or name
        step = HostStep(name, node.op_type, (held.name,), output, run(held.grid), held.grid)
        self._steps.append(step)
        return Coded(output, held.grid, shape)

    def _rounded(self, node: ir.Node) -> Held:
        held, grid, output = self._of(node), code_grid(node), node.outputs[0].name or ""
        if isinstance(held, Given):
            low, high = held.bounds.codes(grid)
            self._inputs[output] = replace(grid, low=low, high=high)
            return Coded(output, grid, held.shape)
        if isinstance(held, Coded):
            if held.grid == grid:
                return held
            held = Sums(layer_name(node), node.op_type, (held,), held.shape)
        return self._closed(held, grid, output)

    def _read(self, node: ir.Node) -> Held:
        return replace(self._codes(node), grid=code_grid(node))

    def _convolved(self, node: ir.Node) -> Held:
        held = self._of(node)
        if isinstance(held, Coded | Means):
            return convolution(node, held, self._build)
        raise _unrounded(node)

    def _averaged(self, node: ir.Node) -> Held:
        held, name = self._of(node), layer_name(node)
        if not isinstance(held, Coded | Linear):
            raise _unrounded(node)
        windows = pool_windows(node, held.shape)
        if isinstance(held, Linear):
            return held.pooled(name, windows)
        counted = node.attributes.get("count_include_pad")
        padding = counted is not None and counted.as_int() == 1
        return Means(name, node.op_type, held, windows, padding)

    def _reduced(self, node: ir.Node) -> Held:
        """A mean over all positions, which is a pool, and a vector unless axes are kept."""
        held, axes = self._of(node), constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if axes is None or {*(axes.reshape(-1) % (len(held.shape) + 1)).tolist()} != {2, 3}:
            raise UnsupportedError(
                f"{layer_name(node)}: ReduceMean over other axes than rows and columns; the host "
                "takes the mean of all positions of a channel only"
            )
        if not isinstance(held, Coded):
            raise _unrounded(node)
        name, shape = layer_name(node), held.shape[:1]
        means = Means(name, node.op_type, held, whole_image(held.shape), padding=False)
        kept = node.attributes.get("keepdims")
        if kept is None or kept.as_int():
            return means
        return Moved(name, "Flatten", means, lambda _: lambda codes: codes[..., 0, 0], shape)

    def _largest(self, node: ir.Node) -> Held:
        held = self._of(node)
        windows = pool_windows(node, held.shape)
        shape = held.shape[0], *windows.outputs
        return self._moved(node, shape, lambda grid: Largest(windows, grid.low))

    def _reshaped(self, node: ir.Node) -> Held:
        held, after = self._of(node), node.outputs[0].shape
        shape = (prod(held.shape),)
        if node.op_type != "Flatten" or axis_of(node, 1) != 1:
            shape = () if after is None else tuple(s for s in after.dims[1:] if isinstance(s, int))
        known = node.op_type == "Flatten" or (after is not None and len(shape) == after.rank() - 1)
        if not known or prod(shape) != prod(held.shape):
            raise UnsupportedError(
                f"{layer_name(node)}: {node.op_type} mixes images, or gives a shape that is not "
                "known; images have to stay apart"
            )

        def reshaped(codes: Whole) -> Whole:
            return codes.reshape(len(codes), *shape)

        return self._moved(node, shape, lambda _: reshaped)

    def _added(self, node: ir.Node) -> Held:
        number = next((i for i, value in enumerate(node.inputs) if is_constant(value)), None)
        if number is None:
            sources = self._codes(node), self._codes(node, 1)
            if sources[0].shape == sources[1].shape:
                return Sums(layer_name(node), node.op_type, sources, sources[0].shape)
        else:
            held, bias = self._of(node, 1 - number), constant(node.inputs[number])
            if isinstance(held, Linear) and bias is not None and held.bounds == Bounds():
                filters = (held.shape[0],) + (1,) * (len(held.shape) - 1)
                if bias.size == 1 or bias.shape[-len(filters) :] == filters:
                    return with_bias(held, bias.reshape(-1).astype(np.float64))
        raise UnsupportedError(
            f"{layer_name(node)}: an addition that is neither of two results of one shape nor of a "
            "layer's bias; the host runs no other on codes"
        )

    def _cut(self, node: ir.Node, held: Held, low: float | None, high: float | None) -> Held:
        """What a ReLU or a clip makes of it; a part of what is not rounded yet."""
        if isinstance(held, Moved):
            return replace(held, inner=self._cut(node, held.inner, low, high))
        if not isinstance(held, Coded):
            return replace(held, bounds=held.bounds.within(low, high))
        name, output = layer_name(node), node.outputs[0].name or ""
        bounds = Bounds(low, high)
        cut = Sums(name, node.op_type, (held,), held.shape, bounds=bounds)
        return self._closed(cut, held.grid, output)

    def _clipped(self, node: ir.Node) -> Held:
        ends = [constant(value) for value in [*node.inputs, None, None][1:3]]
        low, high = (None if end is None else float(end.reshape(())) for end in ends)
        return self._cut(node, self._of(node), low, high)

    def _joined(self, node: ir.Node) -> Held:
        sources = tuple(self._codes(node, index) for index in range(len(node.inputs)))
        axis = axis_of(node, 1) % (len(sources[0].shape) + 1)
        if axis == 0:
            raise UnsupportedError(f"{layer_name(node)}: Concat mixes images; they stay apart")
        sizes = [*sources[0].shape]
        sizes[axis - 1] = sum(source.shape[axis - 1] for source in sources)
        joined = Sums(layer_name(node), node.op_type, sources, tuple(sizes), axis)
        grids = {source.grid for source in sources}
        if len(grids) > 1:
            return joined
        return self._closed(joined, grids.pop(), node.outputs[0].name or "")


def _unrounded(node: ir.Node) -> InputError:
    return InputError(
        f"{layer_name(node)}: {node.op_type} reads what is not rounded to codes; quantise the "
        "whole network: mlcnn quantize with --bits 8 and --no-sensitivity, and without --float"
    )
