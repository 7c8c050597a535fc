"""The FFT core: a pipeline that takes a block's words and gives its bins, and back."""

from dataclasses import dataclass

import numpy as np

from mlcnn.accelerators.array.tiling import Amounts
from mlcnn.accelerators.fft.transform import complex_bins, is_power_of_two
from mlcnn.errors import InputError

__all__ = ["Core"]


@dataclass(frozen=True, slots=True)
class Core:
    """A pipelined real FFT core, the same for a transform and its inverse.

    It takes ``words`` words every cycle: several blocks of fewer points side by side, or one of as
    many. A larger block comes by recursion: each doubling is one more pass of all its words through
    the last level, whose twiddles come from a table.

    Attributes:
        words: words a cycle, and points of a block that takes one pass; a power of two.
        largest_block: points of the largest block; a power of two. Datapath and table are for it.
        level_latency: cycles of a level: a twiddle's multiplier and adders, and the butterfly.
        products: real multiplications of a complex bin: 4, or 3 on sums formed beside the core.
    """

    words: int
    largest_block: int
    level_latency: int
    products: int

    def check(self, where: str) -> None:
        """Look at the numbers.

        Args:
            where: what to call the machine.

        Raises:
            InputError: one cannot be.
        """
        for name, value in (("words", self.words), ("largest_block", self.largest_block)):
            if value < 2 or not is_power_of_two(value):
                below = 1 << max(value.bit_length() - 1, 1)
                raise InputError(
                    f"{where}: core {name} is {value} and must be a power of two, 2 or more: "
                    f"{below} or {2 * below}"
                )
        if self.products not in {3, 4}:
            raise InputError(f"{where}: core products is {self.products} and must be 3 or 4")
        if self.level_latency < 1:
            raise InputError(
                f"{where}: core level_latency is {self.level_latency} and must be positive"
            )

    def takes(self, block: int) -> bool:
        """Whether blocks of so many points can be transformed."""
        return 2 <= block <= self.largest_block and is_power_of_two(block)

    def passes(self, block: int) -> int:
        """How often each word of a block passes the core."""
        return max((block // self.words).bit_length(), 1)

    def fill(self, block: int) -> int:
        """Cycles from the last word of a phase that goes in to the last that comes out."""
        return self.level_latency * (block.bit_length() - 1)

    def cycles(self, blocks: Amounts, block: int) -> Amounts:
        """One phase: so many blocks, and the pipeline empties before the next one.

        Args:
            blocks: how many.
            block: points of each.
        """
        return self.fill(block) + self.passes(block) * np.ceil(blocks * block / self.words)

    def bin_products(self, block: int) -> int:
        """Real products of all bins of a block: one of each real bin."""
        return 2 + self.products * complex_bins(block)

    def bin_words(self, block: int) -> int:
        """Words in which a spectrum is kept: a, b and a + b of a bin a + ib, or a and b."""
        return 2 + (3 if self.products == 3 else 2) * complex_bins(block)
