"""Values that stay in planes between convolutions that skip zeros.

Those convolutions take positions as lanes: where nothing else reads or writes a value, blocks of
channels would only be turned into planes and back.
"""

from collections.abc import Sequence

import numpy as np

from mlcnn.engines.native.library import Op
from mlcnn.engines.native.program import Operation, Part, Value, standard_lanes

__all__ = ["keep_planes"]


def keep_planes(operations: Sequence[Operation], block: int) -> None:
    """Lay values out in planes where all who read and write them can do with it.

    Args:
        operations: of a network, all of them.
        block: channels of a block.
    """
    found = {v for v in _candidates(operations) if v.lanes == standard_lanes(v.channels, block)}
    while True:
        mixed = {value for operation in operations for value in _mixed(operation, found)}
        if not mixed:
            break
        found -= mixed
    for value in found:
        value.dense, value.lanes = True, (1,) * value.channels
    for operation in operations:
        part = operation.x or operation.y
        if operation.op in {Op.PACK, Op.UNPACK} and part is not None and part.value in found:
            lanes = part.value.lanes
            operation.fields["blocks"] = len(lanes)
            operation.constants["lanes"] = np.array(lanes, np.int32)


def _candidates(operations: Sequence[Operation]) -> set[Value]:
    """Values that convolutions that skip zeros, and the network's ends, read and write alone."""
    found, others = set[Value](), set[Value]()
    for operation in operations:
        ends = operation.op in {Op.PACK, Op.UNPACK} and operation.fields["buffer"] >= 0
        for part in operation.parts():
            value = part.value
            if part is operation.scratch:
                continue
            plain = part.block == 0 and value.whole is None and not value.dense
            if operation.op == Op.SPARSE and plain:
                found.add(value)
            elif not (ends and plain):
                others.update((value, value.root()[0]))
    return found - others


def _mixed(operation: Operation, found: set[Value]) -> list[Value]:
    """A result, and what is added to it, of which only one would be in planes."""
    if operation.op != Op.SPARSE or operation.z is None:
        return []
    both = [part.value for part in (operation.y, operation.z) if isinstance(part, Part)]
    planes = [value for value in both if value in found]
    return planes if len(planes) < len(both) else []
