"""What PyTorch's exporter to ONNX drops without a word, said in operators that it keeps."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

__all__ = ["keep_divisors"]

_POOLS = {
    torch.ops.aten.avg_pool2d.default: 2,
    torch.ops.aten.avg_pool3d.default: 3,
}
# Position of the arguments of those operators.
_KERNEL, _STRIDE, _PADDING, _CEIL, _COUNT_PAD, _DIVISOR = range(1, 7)


def keep_divisors(program: ExportedProgram) -> None:
    """Say ``divisor_override`` of average pools as a pool and a product, in place.

    The sum over a window is the mean over it, padding counted, times its size. A window that
    ``ceil_mode`` lets hang over the end counts fewer positions: there the input is padded first.

    Args:
        program: what is exported.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        rank = _POOLS.get(node.target)
        divisor = _argument(node, _DIVISOR, None)
        if rank is not None and divisor is not None:
            _replace(graph, node, rank, int(cast("int", divisor)))
    program.graph_module.recompile()


def _argument(node: Node, index: int, default: object) -> Any:
    if index < len(node.args):
        return node.args[index]
    names = {_DIVISOR: "divisor_override", _CEIL: "ceil_mode", _PADDING: "padding"}
    return node.kwargs.get(names.get(index, ""), default)


def _sizes(node: Node, index: int, rank: int, default: Sequence[int]) -> list[int]:
    given = _argument(node, index, None)
    if given is None or given == []:
        return list(default)
    sizes = [int(size) for size in given] if isinstance(given, Sequence) else [int(given)]
    return sizes * rank if len(sizes) == 1 else sizes


def _replace(graph: Graph, node: Node, rank: int, divisor: int) -> None:
    kernel = _sizes(node, _KERNEL, rank, ())
    stride = _sizes(node, _STRIDE, rank, kernel)
    padding = _sizes(node, _PADDING, rank, (0,) * rank)
    source = cast("Node", node.args[0])
    with graph.inserting_before(node):
        if _argument(node, _CEIL, default=False):
            padded = _padded(graph, node, source, list(zip(kernel, stride, padding, strict=True)))
            if padded is None:
                return  # sizes are dynamic: the comparison with the module tells
            source, padding = padded, [0] * rank
        pool = cast("Any", node.target)
        mean = graph.call_function(pool, (source, kernel, stride, padding, False, True))
        factor = math.prod(kernel) / divisor
        result = graph.call_function(torch.ops.aten.mul.Tensor, (mean, factor))
    mean.meta, result.meta = dict(node.meta), dict(node.meta)
    node.replace_all_uses_with(result)
    graph.erase_node(node)


def _padded(
    graph: Graph, node: Node, source: Node, axes: Sequence[tuple[int, int, int]]
) -> Node | None:
    """The input with zeros as far as its windows reach; None where sizes are dynamic.

    Args:
        graph: where the padding goes.
        node: the pool.
        source: its input.
        axes: (kernel, stride, padding) of each.
    """
    before, after = (item.meta["val"].shape[-len(axes) :] for item in (source, node))
    if not all(isinstance(size, int) for size in (*before, *after)):
        return None
    pads: list[int] = []
    for size, count, (kernel, stride, padding) in zip(before, after, axes, strict=True):
        pads = [padding, max((count - 1) * stride + kernel - size - padding, 0), *pads]
    padded = graph.call_function(torch.ops.aten.constant_pad_nd.default, (source, pads))
    padded.meta["val"] = torch.constant_pad_nd(source.meta["val"], pads)
    return padded
