"""What a layer of few bits takes of what it would take with the bits of the array.

With B bits of the array, w of a weight and x of an input: a multiplication w x / B^2, what adds and
holds sums of products (w + x) / 2 B, words their bits over B. So has it CNNergy, where 8 bits take
half the additions and memory and a quarter of the multiplications of 16.
"""

from dataclasses import dataclass, replace

from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.traffic import Transfers
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.cost import LayerTask
from mlcnn.accelerators.narrow import Narrow

__all__ = ["WHOLE", "Shares", "shares_of"]


@dataclass(frozen=True, slots=True)
class Shares:
    """Of each amount, 0 to 1.

    Attributes:
        multiply: energy of a multiplication.
        add: energy of what is added, sums on their way through the accumulators among them.
        input_add: energy of an addition of the input unit.
        weight: bits of a weight.
        loaded: bits of an input in DRAM.
        stored: bits of a word in the input buffer.
        written: bits of an output in DRAM.
    """

    multiply: float = 1.0
    add: float = 1.0
    input_add: float = 1.0
    weight: float = 1.0
    loaded: float = 1.0
    stored: float = 1.0
    written: float = 1.0

    def of(self, moved: Transfers) -> Transfers:
        """What is moved, in bytes, of what would be."""
        if self == WHOLE:
            return moved
        return replace(
            moved,
            dram_weight=moved.dram_weight * self.weight,
            dram_input=moved.dram_input * self.loaded,
            dram_output=moved.dram_output * self.written,
            weight_written=moved.weight_written * self.weight,
            weight_read=moved.weight_read * self.weight,
            input_written=moved.input_written * self.stored,
            input_read=moved.input_read * self.stored,
            partial_sum_written=moved.partial_sum_written * self.add,
            partial_sum_read=moved.partial_sum_read * self.add,
            row_buffer=moved.row_buffer * self.stored,
        )


WHOLE = Shares()
"""All of it: numbers as wide as the array has them."""


def shares_of(task: LayerTask, work: Work, machine: ArrayDescription) -> Shares:
    """What the bits of a layer save on an array; nothing where it has no narrower numbers.

    Args:
        task: the layer.
        work: how it runs.
        machine: the array.
    """
    if machine.narrow is Narrow.NONE:
        return WHOLE
    bits, numbers = machine.precision.bits, task.layer.numbers
    weight, given = min(numbers.weight, bits), min(numbers.input, bits)
    packed = Shares(
        weight=weight / bits,
        loaded=_wider(min(task.loaded_bits, bits), work.loaded_bits, bits),
        stored=_wider(given, work.stored_bits, bits),
        written=min(task.written_bits, bits) / bits,
    )
    if machine.narrow is Narrow.PACKED:
        return packed
    return replace(
        packed,
        multiply=weight * given / bits**2,
        add=(weight + given) / (2 * bits),
        input_add=given / bits,
    )


def _wider(given: int, whole: float, bits: int) -> float:
    """The share where a word has some bits beside those of a number, as box sums have."""
    return (given + whole - bits) / whole
