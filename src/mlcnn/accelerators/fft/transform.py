"""Real Fourier transforms of a power of two points: operations, level by level.

A transform of k real words is made of two of k/2 words (decimation in time): bin f of the whole is
``E[f] + w^f O[f]``, and bin k/2 - f the conjugate of ``E[f] - w^f O[f]``, w = exp(-2 pi i / k).
Bins 0 and k/2 take one addition each, bin k/4 none; f = k/8 has both parts of its twiddle alike:
two multiplications. A complex product takes three multiplications and three additions. The inverse
is the same flow graph from its end to its start.
"""

from mlcnn.workload import Operations

__all__ = ["complex_bins", "is_power_of_two", "level", "levels", "whole"]


def is_power_of_two(number: int) -> bool:
    """Whether there are transforms of so many points."""
    return number > 0 and number & (number - 1) == 0


def complex_bins(points: int) -> int:
    """Bins of a real transform that are complex; the other two are real."""
    return max(points // 2 - 1, 0)


def level(points: int) -> Operations:
    """One transform of ``points`` words from two of half as many.

    Args:
        points: a power of two, 2 or more.
    """
    if points < 8:
        return Operations(multiplications=0, additions=2)
    general = points // 4 - 2
    return Operations(multiplications=2 + 3 * general, additions=2 + 6 + 7 * general)


def levels(points: int) -> tuple[Operations, ...]:
    """All levels of one transform, the smallest transforms first.

    Example:
        >>> [(one.additions, one.multiplications) for one in levels(8)]
        [(8, 0), (4, 0), (8, 2)]
    """
    sizes = [1 << power for power in range(1, points.bit_length())]
    return tuple(points // size * level(size) for size in sizes)


def whole(points: int) -> Operations:
    """One transform.

    Example:
        >>> whole(8).additions, whole(16).multiplications
        (20, 12)
    """
    return sum(levels(points), Operations())
