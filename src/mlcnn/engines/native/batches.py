"""Which operations compute a batch image by image.

Where the values of a batch leave the cache and the weights are small, an image goes through all of
a network's layers before the next one does: what a layer writes is in the cache when the next one
reads it, and the memory of one image serves them all. Large weights, and tiles of a Winograd
transform that take several images together, are better read once for the whole batch.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from math import prod

from mlcnn.engines.native.library import Op
from mlcnn.engines.native.program import Operation
from mlcnn.engines.native.winograd import Winograd

__all__ = ["apart"]

_CACHE_BYTES = 2 << 20  # that a value of a whole batch may fill
_FLOAT_BYTES = 4


def apart(operations: Sequence[Operation]) -> int:
    """How many operations, from the first on, compute image by image; 0 where it does not pay.

    Args:
        operations: of a network, in their order. Behind the last mean over an image there is one
            position, and only weights count: the batch stays together there. Part of a network
            does not pay: on ResNet-18 the layers before the small images lose 5 %.
    """
    images = max((int(operation.fields["images"]) for operation in operations), default=1)
    found = list(takewhile(lambda operation: _is_by_image(operation, images), operations))
    while found and _positions(found[-1]) == 1:
        found.pop()
    whole = all(_positions(operation) == 1 for operation in operations[len(found) :])
    return len(found) if images > 1 and whole and _pays(found, images) else 0


def _pays(operations: Sequence[Operation], images: int) -> bool:
    """Whether these read less than they write for an image, and a batch leaves the cache."""
    weights = sum(
        each.constants["weights"].nbytes
        for operation in operations
        for each in (*operation.inner, operation)
        if "weights" in each.constants
    )
    written = [_bytes_of_image(operation) for operation in operations]
    return weights < sum(written) and images * max(written, default=0) > _CACHE_BYTES


def _is_by_image(operation: Operation, images: int) -> bool:
    """Whether a result needs nothing of another image, and its weights need no other image."""
    if operation.op == Op.MIX:
        forth, convolution = operation.inner
        return _is_by_image(replace(operation, op=Op.MAP, x=forth.x), images) and (
            convolution.op != Op.WINOGRAD or _has_whole_bunches(convolution)
        )
    values = [part.value for part in (operation.x, operation.y, operation.z) if part is not None]
    if (
        operation.op > Op.WINOGRAD and operation.op != Op.SPARSE
    ):  # of codes, whose batches stay in the cache
        return False
    if any(value.root()[0].images != images for value in values):
        return False
    if operation.op in {Op.PACK, Op.UNPACK}:  # within the network, they give it another order
        return operation.fields["buffer"] >= 0
    return operation.op != Op.WINOGRAD or _has_whole_bunches(operation)


def _has_whole_bunches(operation: Operation) -> bool:
    """Whether no tiles of several images are computed together."""
    sizes = int(operation.fields["rows"]), int(operation.fields["columns"])
    kind = Winograd(int(operation.fields["mode"]))
    return operation.fields["bunch"] <= kind.transform.tiles(sizes)


def _positions(operation: Operation) -> int:
    """Positions of an image that an operation reads."""
    part = operation.x or operation.y
    return 1 if part is None else part.value.rows * part.value.columns


def _bytes_of_image(operation: Operation) -> int:
    """What an operation writes for one image, about."""
    if operation.y is None:
        return 0
    return prod(operation.y.value.shape[1:]) * _FLOAT_BYTES
