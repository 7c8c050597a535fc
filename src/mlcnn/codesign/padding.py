"""Dimensions made larger, so that they split better: what is added is work on padding."""

import itertools
from dataclasses import replace
from enum import StrEnum

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.tiles import primes
from mlcnn.workload import LoopNest

__all__ = ["Factors", "padded_nests"]

_LARGEST_PRIME = 7
"""Of sizes that split well in time."""
_MOST = 1.34
"""What padding may multiply a dimension by."""


class Factors(StrEnum):
    """Which factors a dimension may be split into."""

    PERFECT = "perfect"
    """Those whose product is the dimension."""
    PADDED = "padded"
    """Also those of some sizes above it (``padded_nests``)."""

    @property
    def told(self) -> str:
        """The space of mappings in words."""
        factors = {
            Factors.PERFECT: "all factors that multiply to their dimensions",
            Factors.PADDED: (
                "all factors that multiply to their dimensions, these as they are or padded to a "
                "multiple of instances side by side or to a number without primes above "
                f"{_LARGEST_PRIME}"
            ),
        }
        return (
            f"{factors[self]}, all orders of loops, all choices of what each level keeps; levels "
            "that keep nothing have no loops"
        )


def padded_nests(nest: LoopNest, architecture: Architecture) -> list[LoopNest]:
    """A nest as it is, and with dimensions padded.

    A dimension that may be spread over instances is padded to the least multiple of each number of
    them up to the largest fan-out that takes it, unless it fills that as it is; any other one to
    the next size without large primes. None grows by more than a third. All work on the padding is
    counted, as that of the layer.

    Args:
        nest: the layer.
        architecture: the machine.

    Returns:
        ``nest`` first.
    """
    choices = [
        _sizes(dim, size, architecture) for dim, size in zip(nest.dims, nest.sizes, strict=True)
    ]
    return [replace(nest, sizes=sizes) for sizes in itertools.product(*choices)]


def _sizes(dim: str, size: int, architecture: Architecture) -> list[int]:
    """A size and those that it may be padded to."""
    if size == 1:
        return [1]
    most = max(
        level.fan_out.size
        for level in architecture.levels
        if level.fan_out.size == 1 or level.fan_out.dims is None or dim in level.fan_out.dims
    )
    padded = {size} if size % most == 0 else {-(-size // n) * n for n in range(1, most + 1)}
    if max(primes(size))[0] > _LARGEST_PRIME:
        padded.add(next(n for n in itertools.count(size) if max(primes(n))[0] <= _LARGEST_PRIME))
    return sorted(one for one in padded if one <= size * _MOST)
