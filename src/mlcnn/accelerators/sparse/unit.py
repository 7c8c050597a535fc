"""What a slice needs beside its multipliers to leave out zeros, and what forms shared kernels."""

import math
from dataclasses import dataclass

from mlcnn.errors import InputError

__all__ = ["Sparsity"]


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Slices that keep their non-zeros of a window of inputs, each with its place there.

    The window is the same for all slices. Each goes through its own weights of it; the next window
    comes when the slowest of them is done.

    Attributes:
        window_words: inputs of a window.
        port_words: words of it that the buffer renews each cycle.
        index_bits: bits beside each non-zero: its place in the window.
        basis_multipliers: multipliers, an adder behind each, between DRAM and the buffer that form
            the maps of shared kernels; 0 for none.
    """

    window_words: int
    port_words: int
    index_bits: int
    basis_multipliers: int = 0

    def check(self, where: str) -> None:
        """Look at the numbers.

        Args:
            where: what to call the machine.

        Raises:
            InputError: one cannot be.
        """
        for name in ("window_words", "port_words"):
            if getattr(self, name) < 1:
                raise InputError(f"{where}: sparsity {name} is {getattr(self, name)}: at least 1")
        if self.basis_multipliers < 0:
            raise InputError(
                f"{where}: sparsity basis_multipliers is {self.basis_multipliers}: 0 or more"
            )
        least = (self.window_words - 1).bit_length()
        if self.index_bits < least:
            raise InputError(
                f"{where}: sparsity index_bits is {self.index_bits}, and a place in a window of "
                f"{self.window_words} words takes {least}"
            )

    @property
    def count_bits(self) -> int:
        """Bits of the number of non-zeros that stands in front of them, filter by window."""
        return self.window_words.bit_length()

    @property
    def selectors(self) -> int:
        """Multiplexers of two words in front of a multiplier."""
        return self.window_words - 1

    @property
    def levels(self) -> int:
        """Multiplexers that a selected word passes."""
        return math.ceil(math.log2(self.window_words))

    def channels(self, words: int, channels: int) -> int:
        """Input channels of a window: as many as fit, in windows of equal size; 0 if not one does.

        Args:
            words: of a channel at one position: taps, or maps.
            channels: of a group.
        """
        most = self.window_words // words
        return 0 if most == 0 else -(-channels // -(-channels // most))
