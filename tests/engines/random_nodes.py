"""Nodes of every operator that the native engine takes, in all the ways that come to mind."""

from collections.abc import Callable
from math import prod

import numpy as np
from engines.random_network import Network

__all__ = ["BUILDERS", "random_network"]


def _plain(net: Network, op_type: str):
    name = net.pick()
    if op_type == "Sqrt" and net.values[name].min() < 0.01:
        raise LookupError
    return [name], {}


def _with_alpha(net: Network, _op_type: str):
    return [net.pick()], {"alpha": float(net.rng.uniform(0.1, 1.5))} if net.chance(0.7) else {}


def _hard_sigmoid(net: Network, _op_type: str):
    return [net.pick()], {"alpha": 0.3, "beta": 0.4} if net.chance(0.5) else {}


def _gelu(net: Network, _op_type: str):
    return [net.pick()], {"approximate": "tanh"} if net.chance(0.05) else {}


def _clip(net: Network, _op_type: str):
    low, high = float(net.rng.normal()), float(net.rng.normal() + 1)
    bounds = [net.constant(bound) if net.chance(0.7) else "" for bound in (low, high)]
    return [net.pick(), *bounds], {}


def _dropout(net: Network, _op_type: str):
    return [net.pick(), *([net.constant(0.5)] if net.chance(0.5) else [])], {}


def _broadcast(net: Network, shape: tuple[int, ...]) -> str:
    """A constant to combine with a value: each size is kept or 1, and now and then larger."""
    kept = net.one_of([0.0, 0.3, 0.6, 1.0])
    sizes = [size if net.chance(kept) else 1 for size in shape]
    if len(shape) > 1 and net.chance(0.5):
        sizes = [1, shape[1], *[1] * (len(shape) - 2)]
    sizes = [
        net.integer(2, 5) if s == 1 == t and net.chance(0.1) else s
        for s, t in zip(sizes, shape, strict=True)
    ]
    while sizes and (sizes[0] == 1 and net.chance(0.5)):
        sizes = sizes[1:]
    if net.chance(0.05):
        sizes = [1, *sizes]
    array = net.rng.uniform(0.3, 2, sizes) * net.one_of([1, -1])
    return net.constant(array)


def _fits(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(one, other)
    except ValueError:
        return False
    return True


def _binary(net: Network, op_type: str):
    name = net.pick()
    if net.chance(0.45):
        operands = [name, _broadcast(net, net.shape(name))]
        if op_type == "Div" and net.chance(0.9):
            return operands, {}
    else:
        others = [n for n, v in net.values.items() if _fits(v.shape, net.shape(name))]
        operands = [name, net.one_of(others)]
    if net.chance(0.5):
        operands.reverse()
    divisor = net.values.get(operands[1])
    if op_type == "Div" and divisor is not None and np.abs(divisor).min() < 0.1:
        raise LookupError
    if op_type in {"Max", "Min"} and net.chance(0.05):
        operands = [name] * net.one_of([1, 3])
    return operands, {}


def _norm(net: Network, _op_type: str):
    name = net.pick(2, 3, 4)
    channels = net.shape(name)[1]
    scale, shift, mean = (net.normal(channels) for _ in range(3))
    variance = net.constant(net.rng.uniform(0.5, 2, channels))
    return [name, scale, shift, mean, variance], {"epsilon": 1e-3} if net.chance(0.5) else {}


def _geometry(net: Network, sizes: tuple[int, ...], most: int) -> dict:
    """kernel_shape, strides, dilations and padding for an image of these sizes."""
    rank = len(sizes)
    kernel = [net.integer(1, most) for _ in sizes]
    options = {"kernel_shape": kernel}
    if net.chance(0.6):
        options["strides"] = [net.integer(1, 3) for _ in sizes]
    if net.chance(0.25):
        options["dilations"] = [net.integer(1, 3) for _ in sizes]
    if net.chance(0.15):
        options["auto_pad"] = net.one_of(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif net.chance(0.7):
        options["pads"] = [
            net.integer(0, max(0, kernel[axis % rank] - 1)) for axis in range(2 * rank)
        ]
    steps, pads = options.get("dilations", [1] * rank), options.get("pads", [0] * 2 * rank)
    for axis, size in enumerate(sizes):
        if (kernel[axis] - 1) * steps[axis] >= size + pads[axis] + pads[axis + rank]:
            raise LookupError  # ONNX Runtime's pools divide by zero there, and end the process
    return options


def _conv(net: Network, _op_type: str):
    name = net.pick(3, 4) if net.chance(0.05) else net.pick(4)
    channels = net.shape(name)[1]
    groups = net.one_of([g for g in range(1, channels + 1) if channels % g == 0])
    groups = groups if net.chance(0.4) else 1
    filters = groups * (
        1 if net.chance(0.5) and groups > 1 else net.integer(1, max(1, 40 // groups))
    )
    options = _geometry(net, net.shape(name)[2:], 4)
    fan = channels // groups * prod(options["kernel_shape"])
    weight = net.normal(filters, channels // groups, *options["kernel_shape"], fan=fan)
    if net.chance(0.03) and net.shape(name) == net.values[weight].shape:
        weight = name
    bias = [net.normal(filters)] if net.chance(0.5) else []
    return [name, weight, *bias], options | {"group": groups}


def _pool(net: Network, op_type: str):
    name = net.pick(3, 4) if net.chance(0.05) else net.pick(4)
    options = _geometry(net, net.shape(name)[2:], 3)
    options["ceil_mode"] = int(net.chance(0.4))
    if options.get("auto_pad", "").startswith("SAME"):
        # ONNX Runtime's average pools forget the dilation there and cut off what no window meets.
        options.pop("dilations", None)
        options["strides"] = [1] * len(options["kernel_shape"])
    if op_type == "AveragePool":
        options["count_include_pad"] = int(net.chance(0.5))
    return [name], options


def _pool_all(net: Network, _op_type: str):
    return [net.pick(3, 4)], {}


def _mean(net: Network, _op_type: str):
    name = net.pick(4)
    axes = net.one_of([[2, 3], [3, 2], [-1, -2], [2, -1]])
    if net.chance(0.1):
        axes = net.one_of([[1], [2], [0, 1], [3]])
    return [name, net.constant(axes, np.int64)], {"keepdims": net.integer(0, 1)}


def _gemm(net: Network, _op_type: str):
    name = net.pick(2)
    options = {key: int(net.chance(0.3)) for key in ("transA", "transB")}
    rows, inputs = net.shape(name) if not options["transA"] else net.shape(name)[::-1]
    outputs = net.integer(1, 40)
    weight = net.normal(
        *((outputs, inputs) if options["transB"] else (inputs, outputs)), fan=inputs
    )
    operands = [name, weight]
    if net.chance(0.1):
        operands.reverse()
    if net.chance(0.6):
        shapes = [(outputs,), (1, outputs), (1,), (), (outputs,), (1, outputs)]
        shape = net.one_of([*shapes, (rows, 1), (rows, outputs)] if net.chance(0.3) else shapes)
        operands.append(net.normal(*shape))
    if net.chance(0.3):
        options |= {"alpha": 0.5, "beta": 1.5}
    return operands, options


def _matmul(net: Network, _op_type: str):
    name = net.pick()
    if net.chance(0.1):
        others = [n for n, v in net.values.items() if v.ndim > 1]
        return [name, net.one_of(others)], {}
    shape = net.shape(name)
    leading = net.one_of([(), (), (), (1,), (1, 1), (2,)]) if net.chance(0.4) else ()
    outputs = [] if net.chance(0.15) else [net.integer(1, 40)]
    if net.chance(0.5):
        return [name, net.normal(*leading, shape[-1], *outputs, fan=shape[-1])], {}
    inner = shape[-2] if len(shape) > 1 else shape[-1]
    return [net.normal(*leading, *outputs, inner, fan=inner), name], {}


def _concat(net: Network, _op_type: str):
    name = net.pick(2, 3, 4)
    shape = net.shape(name)
    axis = 1 if net.chance(0.9) else net.integer(0, len(shape) - 1)
    rest = shape[:axis] + shape[axis + 1 :]
    same = [
        n for n, v in net.values.items()
        if v.ndim == len(shape) and v.shape[:axis] + v.shape[axis + 1 :] == rest
    ]  # fmt: skip
    operands = [name, *(net.one_of(same) for _ in range(net.integer(0, 3)))]
    if net.chance(0.03):
        operands.append(net.normal(*shape))
    net.rng.shuffle(operands)
    return [str(operand) for operand in operands], {
        "axis": axis - len(shape) * int(net.chance(0.3))
    }


def _transpose(net: Network, _op_type: str):
    name = net.pick()
    order = net.rng.permutation(len(net.shape(name))).tolist()
    return [name], {"perm": order} if net.chance(0.8) else {}


def _reshape(net: Network, _op_type: str):
    name = net.pick()
    shape = net.shape(name)
    rest, sizes = prod(shape), []
    if net.chance(0.6):  # the images stay
        sizes, rest = [shape[0]], prod(shape[1:])
    for _ in range(net.integer(0, 3)):
        factor = net.one_of([f for f in range(1, rest + 1) if rest % f == 0])
        sizes.append(factor)
        rest //= factor
    sizes.append(-1 if net.chance(0.3) else rest)
    return [name, net.constant(sizes, np.int64)], {}


def _flatten(net: Network, _op_type: str):
    name = net.pick()
    rank = len(net.shape(name))
    return [name], {"axis": net.integer(-rank, rank)} if net.chance(0.5) else {}


def _squeeze(net: Network, _op_type: str):
    name = net.pick()
    ones = [axis for axis, size in enumerate(net.shape(name)) if size == 1]
    if not ones:
        raise LookupError
    return [name, *([net.constant([net.one_of(ones)], np.int64)] if net.chance(0.8) else [])], {}


def _unsqueeze(net: Network, _op_type: str):
    name = net.pick(1, 2, 3)
    return [name, net.constant([net.integer(0, len(net.shape(name)))], np.int64)], {}


def _slice(net: Network, _op_type: str):
    name = net.pick(4) if net.chance(0.9) else net.pick()
    shape = net.shape(name)
    axes = [2, 3] if len(shape) == 4 and net.chance(0.9) else list(range(len(shape)))
    axes = [axis for axis in axes if net.chance(0.7)] or axes[-1:]
    starts = [net.integer(-2, shape[axis] // 2) for axis in axes]
    ends = [net.one_of([shape[axis], 2**40, -1, net.integer(1, shape[axis])]) for axis in axes]
    steps = [net.integer(1, 3) if net.chance(0.97) else -1 for _ in axes]
    given = [starts, ends, [axis - len(shape) * net.integer(0, 1) for axis in axes], steps]
    return [name, *(net.constant(numbers, np.int64) for numbers in given)], {}


def _pad(net: Network, _op_type: str):
    name = net.pick(4) if net.chance(0.95) else net.pick()
    rank = len(net.shape(name))
    pads = [net.integer(0, 3) if net.chance(0.6) else 0 for _ in range(2 * rank)]
    if net.chance(0.95):
        pads[0] = pads[rank] = 0
    if net.chance(0.6):
        pads[1] = pads[rank + 1] = 0
    operands = [name, net.constant(pads, np.int64)]
    if net.chance(0.3):
        operands.append(net.constant(net.one_of([0, 0, 0, 0.5])))
    return operands, {"mode": "reflect"} if net.chance(0.03) else {}


BUILDERS: dict[str, Callable] = {
    **dict.fromkeys(["Add", "Sub", "Mul", "Div", "Max", "Min"], _binary),
    **dict.fromkeys(
        [
            *("Abs", "Erf", "Exp", "HardSwish", "Identity", "Neg", "Relu", "Sigmoid", "Sqrt"),
            *("Swish", "Tanh"),
        ],
        _plain,
    ),
    **dict.fromkeys(["Elu", "LeakyRelu"], _with_alpha),
    **dict.fromkeys(["AveragePool", "MaxPool"], _pool),
    **dict.fromkeys(["GlobalAveragePool", "GlobalMaxPool"], _pool_all),
    "BatchNormalization": _norm, "Clip": _clip, "Concat": _concat, "Conv": _conv,
    "Dropout": _dropout, "Flatten": _flatten, "Gelu": _gelu, "Gemm": _gemm,
    "HardSigmoid": _hard_sigmoid, "MatMul": _matmul, "Pad": _pad, "ReduceMean": _mean,
    "Reshape": _reshape, "Slice": _slice, "Squeeze": _squeeze, "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
OFTEN = ["Conv", "Conv", "Conv", "MaxPool", "AveragePool", "Add", "Concat", "Relu", "Gemm", "Mul"]


def random_network(seed: int) -> Network:
    net = Network(seed)
    wanted, names = net.integer(1, 12), sorted(BUILDERS)
    while len(net.nodes) < wanted:
        op_type = net.one_of(OFTEN) if net.chance(0.5) else net.one_of(names)
        net.add(op_type, BUILDERS[op_type])
    return net
