"""An array as numbers: what the cycle, traffic, energy and area models read."""

from dataclasses import dataclass, field, fields
from typing import ClassVar

from mlcnn.accelerators.narrow import Narrow
from mlcnn.accelerators.precision import Precision
from mlcnn.errors import InputError

__all__ = ["ArrayDescription"]


@dataclass(frozen=True, slots=True)
class ArrayDescription:
    """An array of slices that keep weights still while inputs stream past them.

    Attributes:
        name: what results call it.
        precision: of weights and activations.
        slices: slices; each has one adder tree and one accumulator bank.
        multipliers: multipliers of a slice, a weight register pair in front of each: so many
            channels does it take at a time, at one tap of the kernel.
        most_ways: positions that different slices can work on at a time, each by a read port of
            the input memory; 1 or a power of two.
        input_adders: adders of the input unit: box sums or transforms; 0 for none. Half of those of
            a lane add down the columns, half along the rows.
        input_scalers: multiply-adds a cycle behind DRAM, for networks that normalise and rectify
            the input of each consumer by itself.
        input_bytes: memory of inputs or box sums.
        input_banks: banks of it, each with one read and one write port.
        input_width_bits: width of a bank: a word of as many channels as a slice takes.
        weight_bytes: memory of weights, a beat wide.
        row_buffer_bytes: rows of inputs that wait for those below them, in the input unit.
        accumulator_entries: 32-bit words of a slice's bank, half of them filled while the other
            half leaves.
        beat_bytes: what DRAM moves by one command.
        dram_bytes_per_cycle: loads and stores together; more than a beat a cycle is of no use.
        dram_latency: cycles from a command to its beat.
        write_latency: cycles from a store to its acknowledgement, for which the next layer waits.
        clock_mhz: clock of all of it.
        multiplier_latency: cycles of a multiplication.
        tree_latency: cycles of the adder tree.
        accumulator_latency: cycles before an accumulator entry can be added to again.
        input_stages: cycles of a beat through the input unit.
        output_stages: cycles of an accumulator entry through the output unit.
        wide_bits: bits of an integer multiplier's input operand; wider box sums are kept
            in two words and take two sweeps.
        narrow: what layers of fewer bits than the precision save.
        mapping_pj_per_cycle: what a cycle counts as: then each layer runs in the way of the least
            energy and latency so weighted, and not in the fastest.
    """

    kind: ClassVar[str]
    needs_input_adders: ClassVar[bool] = False

    name: str
    precision: Precision
    slices: int
    multipliers: int
    most_ways: int
    input_adders: int
    input_scalers: int
    input_bytes: int
    input_banks: int
    input_width_bits: int
    weight_bytes: int
    row_buffer_bytes: int
    accumulator_entries: int
    beat_bytes: int
    dram_bytes_per_cycle: float
    dram_latency: int
    write_latency: int
    clock_mhz: float
    multiplier_latency: int
    tree_latency: int
    accumulator_latency: int
    input_stages: int
    output_stages: int
    wide_bits: int
    narrow: Narrow = field(default=Narrow.NONE, kw_only=True)
    mapping_pj_per_cycle: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, str) or value is None:
                continue
            least = 0 if each.name in _MAY_BE_ZERO else 1
            enough = value > 0 if each.name in _REAL else value >= least
            if not enough or value > _MOST:
                needed = "positive" if least else "0 or more"
                raise InputError(
                    f"accelerator {self.name}: {each.name} is {value} and must be {needed}"
                    f"{f', at most {_MOST:.0e}' if enough else ''}"
                )
        self.check()

    def check(self) -> None:
        """Look at what belongs together.

        Raises:
            InputError: two numbers do not fit each other.
        """
        where = f"accelerator {self.name}"
        if self.needs_input_adders and not self.input_adders:
            raise InputError(
                f"{where}: kind {self.kind} needs input_adders, got 0: give the adders of its "
                "input unit, or make it dense"
            )
        if self.most_ways & (self.most_ways - 1):
            below = 1 << (self.most_ways.bit_length() - 1)
            raise InputError(
                f"{where}: ways is {self.most_ways} and must be 1 or a power of two: "
                f"{below} or {2 * below}"
            )
        if self.multipliers > self.lanes:
            raise InputError(
                f"{where}: a beat of {self.beat_bytes} bytes has {self.lanes} words of "
                f"{self.precision} and a slice takes {self.multipliers} (multipliers): give it as "
                "many or fewer, or a longer beat (beat_bytes)"
            )
        if self.narrow is not Narrow.NONE and not self.precision.is_integer:
            raise InputError(
                f"{where}: narrow is {self.narrow} and the precision {self.precision}: only whole "
                "numbers have fewer bits; give it an integer precision, or narrow: none"
            )
        if self.accumulator_entries < 2:
            raise InputError(
                f"{where}: accumulator_entries is {self.accumulator_entries} and must be 2 or "
                "more: one half fills while the other leaves"
            )

    @property
    def multiplier_width(self) -> float:
        """Size of a multiplier by that of one of the precision.

        An input operand that is wider by some bits takes that many more rows of cells.
        """
        bits = self.precision.bits
        return max(self.wide_bits, bits) / bits if self.precision.is_integer else 1.0

    @property
    def transform_adders(self) -> float:
        """Adders behind the accumulators beside those of bias."""
        return 0.0

    @property
    def pipeline_depth(self) -> int:
        """Cycles from the last pair of operands to the finished accumulator entry."""
        return self.multiplier_latency + self.tree_latency + self.accumulator_latency

    @property
    def accumulator_bytes(self) -> int:
        """All accumulator banks together."""
        return self.slices * self.accumulator_entries * 4

    @property
    def buffer_bytes(self) -> int:
        """Memories of inputs and weights."""
        return self.input_bytes + self.weight_bytes

    @property
    def on_chip_bytes(self) -> int:
        """Inputs, weights, accumulators and row buffer."""
        return self.buffer_bytes + self.accumulator_bytes + self.row_buffer_bytes

    @property
    def lanes(self) -> int:
        """Words of a beat: channels of one position."""
        return self.beat_bytes * 8 // self.precision.bits

    @property
    def groups(self) -> int:
        """Slices whose weights a beat holds."""
        return self.lanes // self.multipliers

    @property
    def beat_cycles(self) -> float:
        """Cycles that DRAM takes for a beat."""
        return max(self.beat_bytes / self.dram_bytes_per_cycle, 1.0)

    @property
    def multiplications_per_cycle(self) -> int:
        """Multipliers of the whole array."""
        return self.slices * self.multipliers


_MAY_BE_ZERO = frozenset(
    {
        "input_adders",
        "input_scalers",
        "winograd_tile",
        "row_buffer_bytes",
        "dram_latency",
        "write_latency",
    }
)
# Far beyond any chip, and small enough for all products to stay exact in double precision.
_MOST = 1e9
_REAL = frozenset({"dram_bytes_per_cycle", "clock_mhz", "mapping_pj_per_cycle"})
