"""Formats of weights and activations."""

from enum import StrEnum

__all__ = ["Precision"]


class Precision(StrEnum):
    """Format of weights and activations; sums of products have 32 bits in all of them."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT16 = "int16"
    INT12 = "int12"
    INT8 = "int8"

    @property
    def bits(self) -> int:
        """Bits of a weight or an activation."""
        return int(self.value.lstrip("fpint"))

    @property
    def is_integer(self) -> bool:
        """Whether sums of several numbers have more bits than each of them."""
        return self.value.startswith("int")
