"""A method from outside: every second filter is a multiple of the one before it.

Filters ``K/2 + i`` and ``i`` differ by a factor ``s_i``: half of the convolution is left, and one
product for each output of the other half.
"""

from paired_filters.method import PAIRED
from paired_filters.rewrite import Pair

__all__ = ["PAIRED", "Pair"]
