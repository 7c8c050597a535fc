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
        multipliers: multipliers of a slice, a weight register pair in front of each.
        input_lanes: words a cycle that the input unit takes from DRAM.
        input_adders: adders of the input unit: box sums or transforms; 0 for none.
        input_scalers: multiply-adds a cycle behind DRAM, for networks that normalise and rectify
            the input of each consumer by itself.
        output_lanes: accumulator words a cycle that leave the array through bias and activation.
        pooling_adders: adders of pools behind the accumulators. With 0, the input unit's adders
            do this where a layer's pool was not fused.
        buffer_bytes: buffer of inputs and weights, shared by both as each layer needs it.
        buffer_banks: banks of it.
        buffer_width_bits: width of a bank's port.
        row_buffer_bytes: partial box sums of one row of maps, in the input unit.
        accumulator_entries: 32-bit words of a slice's bank, half of them filled while the other
            half leaves.
        input_windows: windows of inputs that the buffer delivers a cycle: so many positions can
            different slices work on.
        weight_words: weights a cycle that the buffer delivers to each slice; the next set loads
            while the current one is at work.
        dram_bytes_per_cycle: loads and stores together.
        clock_mhz: clock of all of it.
        multiplier_latency: cycles of a multiplication.
        tree_latency: cycles of the adder tree.
        accumulator_latency: cycles before an accumulator entry can be added to again.
        wide_bits: bits of an integer multiplier's input operand; wider box sums take two passes.
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
    input_lanes: int
    input_adders: int
    input_scalers: int
    output_lanes: int
    pooling_adders: int
    buffer_bytes: int
    buffer_banks: int
    buffer_width_bits: int
    row_buffer_bytes: int
    accumulator_entries: int
    input_windows: int
    weight_words: int
    dram_bytes_per_cycle: float
    clock_mhz: float
    multiplier_latency: int
    tree_latency: int
    accumulator_latency: int
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
        if not self.pooling_adders and not self.input_adders:
            raise InputError(
                f"{where}: it has neither pooling_adders nor input_adders and could not run a pool "
                "behind a convolution: give it pooling_adders"
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
        """Adders behind the accumulators beside those of bias and pools."""
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
    def on_chip_bytes(self) -> int:
        """Buffer, accumulators and row buffer."""
        return self.buffer_bytes + self.accumulator_bytes + self.row_buffer_bytes

    @property
    def multiplications_per_cycle(self) -> int:
        """Multipliers of the whole array."""
        return self.slices * self.multipliers


_MAY_BE_ZERO = frozenset(
    {"input_adders", "input_scalers", "pooling_adders", "winograd_tile", "row_buffer_bytes"}
)
# Far beyond any chip, and small enough for all products to stay exact in double precision.
_MOST = 1e9
_REAL = frozenset({"dram_bytes_per_cycle", "clock_mhz", "mapping_pj_per_cycle"})
