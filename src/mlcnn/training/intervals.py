"""How sure a share of images is."""

import math

__all__ = ["Z95", "wilson"]

Z95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(share: float, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share [Wilson 1927]: what the number of images allows.

    Args:
        share: 0 to 1.
        images: that it is a share of.
    """
    square = Z95**2 / images
    centre = (share + square / 2) / (1 + square)
    spread = math.sqrt(share * (1 - share) / images + square / images / 4)
    half = Z95 * spread / (1 + square)
    return max(centre - half, 0.0), min(centre + half, 1.0)
