"""Convolutions of codes in groups: what each operation computes, and its share of constants."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcnn.engines.native.library import Op
from mlcnn.engines.native.packing import Packing
from mlcnn.engines.native.program import Codes, Constant, Operation, Part, Value

__all__ = [
    "CodedGroup", "beside", "give_filters", "groups_of", "implement_depthwise", "is_by_channel",
]  # fmt: skip

_EXACT = 2**24  # whole numbers up to here are floats
_TOGETHER = 4  # columns of a kernel that lie in a lane


@dataclass(frozen=True, slots=True, eq=False)
class CodedGroup:
    """A convolution of codes without groups, of some blocks of the input.

    Attributes:
        block: first block of the input.
        lanes: channels in each of its blocks.
        filter: first filter.
        codes: of its weights (filters, channels, rows, columns).
    """

    block: int
    lanes: tuple[int, ...]
    filter: int
    codes: Codes


def groups_of(
    packing: Packing, lanes: tuple[int, ...], codes: Codes, groups: int
) -> list[CodedGroup]:
    """The convolutions that one in groups consists of; see ``Packing.groups``.

    Args:
        packing: of the library.
        lanes: channels in each block of the input.
        codes: of the weights (filters, channels of a group, rows, columns).
        groups: number of groups.
    """
    if groups == 1:
        return [CodedGroup(0, lanes, 0, codes)]
    parts = packing.groups(lanes, codes.astype(np.float32), groups)
    return [CodedGroup(p.block, p.lanes, p.filter, p.weight.astype(np.int8)) for p in parts]


def is_by_channel(codes: Codes, groups: int, ends: tuple[int, int]) -> bool:
    """Whether a kernel that sums up codes in floats computes it: one channel a group, exact sums.

    Args:
        codes: of the weights (filters, channels of a group, rows, columns).
        groups: number of groups.
        ends: the least and the greatest input, as it lies in memory.
    """
    most = np.abs(codes.reshape(len(codes), -1).astype(np.int64)).sum(1).max()
    exact = most * max(map(abs, ends)) < _EXACT
    return bool(exact and codes.shape[1] == 1 and 1 < groups == len(codes))


def implement_depthwise(operation: Operation, codes: Codes, packing: Packing) -> None:
    """Complete an operation of one channel a group.

    Args:
        operation: input, output, geometry, biases and scales are known.
        codes: of its weights (filters, 1, rows, columns).
        packing: of the library.
    """
    lanes = () if operation.y is None else operation.y.value.lanes
    missing = -codes.shape[3] % _TOGETHER
    padded = np.pad(codes[:, 0].astype(np.int32), ((0, 0), (0, 0), (0, missing)))
    weights = packing.per_lane(padded, lanes)  # (blocks, lanes, rows, columns)
    quads = weights.reshape(*weights.shape[:3], -1, _TOGETHER).transpose(0, 2, 3, 1, 4)
    operation.op = Op.CODES_DEPTHWISE
    operation.constants["weights"] = quads.astype(np.int8)


def beside(operation: Operation, value: Value) -> Part:
    """The blocks of a value that lie as those that an operation writes."""
    return Part(value, 0 if operation.y is None else operation.y.block)


def give_filters(operations: Sequence[Operation], name: str, blocks: Constant) -> None:
    """Give each operation of a layer its share of a constant.

    Args:
        operations: which write some blocks of a result each.
        name: of the constant.
        blocks: the constant (blocks, block).
    """
    for operation in operations:
        first = 0 if operation.y is None else operation.y.block
        operation.constants[name] = blocks[first : first + int(operation.fields["filters"])]
