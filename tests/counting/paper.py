"""The closed forms of [MLCNN] §IV-V, for a 2x2 pool with stride 2, one filter, one channel.

Letters as in the paper: ``kernel`` is K, ``stride`` S, ``size`` D; N is ``row_outputs``.
They are what the general counts of ``mlcnn.counting`` come to in these cases.
"""


def additions(kernel: int) -> int:
    """Additions of one pooled output without reuse: 3 in each of K^2 small sums, K^2 - 1 more."""
    return 4 * kernel**2 - 1


def additions_lar(kernel: int, stride: int) -> int:
    """Additions of one pooled output with LAR, for stride <= kernel."""
    return kernel * (2 * kernel + stride) + kernel**2 - 1


def lar_reduction(kernel: int, stride: int) -> float:
    """Share of additions that LAR saves in one pooled output, 0 to 1 ([MLCNN] Eqs. 1 and 4)."""
    return kernel * (kernel - stride) / additions(kernel)


def row_outputs(size: int, kernel: int, stride: int) -> int:
    """Pooled outputs in a row (N): half the convolution's, rounded down."""
    return ((size - kernel) // stride + 1) // 2


def row_additions(size: int, kernel: int, stride: int) -> int:
    """Additions of one pooled row without reuse."""
    return row_outputs(size, kernel, stride) * additions(kernel)


def row_additions_gar(size: int, kernel: int, stride: int) -> int:
    """Additions of one pooled row with GAR, for 2*stride <= kernel ([MLCNN] Eq. 2).

    The first output costs all, each further one 2*S new columns of K small sums. Eq. 2 writes
    this as 3*K*(D - S) + N*(K^2 - 1), which holds where N outputs use the whole row.
    """
    further = row_outputs(size, kernel, stride) - 1
    return additions(kernel) + further * (6 * stride * kernel + kernel**2 - 1)


def row_additions_both(size: int, kernel: int, stride: int) -> int:
    """Additions of one pooled row with LAR and GAR, for 2*stride <= kernel.

    Each further output costs 2*S new columns of K half and K full additions.
    """
    further = row_outputs(size, kernel, stride) - 1
    return additions_lar(kernel, stride) + further * (4 * stride * kernel + kernel**2 - 1)
