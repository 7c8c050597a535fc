"""Formats of weights and activations."""

from enum import StrEnum

__all__ = ["Precision"]


class Precision(StrEnum):
    """Format of weights and activations; sums of products have 32 bits in all of them."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"

    @property
    def bits(self) -> int:
        """Bits of a weight or an activation."""
        return {"fp32": 32, "fp16": 16, "int8": 8}[self]
