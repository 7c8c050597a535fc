"""What of the hardware is built: the sizes that its blocks are generated with."""

from dataclasses import dataclass

from mlcnn.accelerators.array.steps import Hardware
from mlcnn.errors import InputError
from mlcnn.rtl.memory import BEAT_BYTES, GROUP_CHANNELS

__all__ = ["Build"]

_SLICES_MOST = 64
_WAYS_MOST = 8


@dataclass(frozen=True, slots=True)
class Build:
    """Sizes of the hardware for INT8.

    Attributes:
        slices: a power of two, 8 to 64.
        ways: positions that different slices can work on at a time; a power of two, 8 at most.
        multipliers: channels that a slice takes at a time, and so banks of a beat: 8 of 64.
        beat_bytes: of DRAM's bus; lanes, since a code is a byte.
        positions: of a tile's input that each half of the input buffer holds.
        weight_beats: that each half of the weight buffer holds.
        entries: sums that each half of a slice's accumulators holds.
        row_columns: columns of the row buffer.
        filters: output channels that bias and scale are held of.
        multiplier_stages, tree_stages, accumulator_stages: cycles of each.
        input_stages: see ``Hardware``.
        output_stages: see ``Hardware``.
    """

    slices: int = 16
    ways: int = 2
    multipliers: int = GROUP_CHANNELS
    beat_bytes: int = BEAT_BYTES
    positions: int = 1024
    weight_beats: int = 512
    entries: int = 128
    row_columns: int = 256
    filters: int = 512
    multiplier_stages: int = 3
    tree_stages: int = 4
    accumulator_stages: int = 3
    input_stages: int = 4
    output_stages: int = 6

    def __post_init__(self) -> None:
        filled = self.beat_bytes // self.multipliers
        if not filled <= self.slices <= _SLICES_MOST or self.slices & self.slices - 1:
            raise InputError(
                f"slices {self.slices}: a beat fills {filled} slices with weights, and their "
                f"number is a power of two: give 8, 16, 32 or {_SLICES_MOST}"
            )
        most = min(_WAYS_MOST, self.slices)
        if not 1 <= self.ways <= most or self.ways & self.ways - 1:
            raise InputError(
                f"ways {self.ways}: a power of two is required, 1 to {most}, as slices are shared "
                "among them evenly"
            )

    @property
    def lanes(self) -> int:
        """Channels of a position in a beat."""
        return self.beat_bytes

    @property
    def output_lanes(self) -> int:
        """Channels that leave at a time."""
        return min(self.lanes, self.slices)

    def hardware(self, dram_latency: int, write_latency: int) -> Hardware:
        """The numbers that set the cycles, beside a memory of some latency.

        Args:
            dram_latency: cycles from the command to the beat.
            write_latency: cycles from a store to its acknowledgement.
        """
        return Hardware(
            slices=self.slices,
            multipliers=self.multipliers,
            lanes=self.lanes,
            beat_bytes=self.beat_bytes,
            accumulate=self.accumulator_stages,
            depth=self.multiplier_stages + self.tree_stages + self.accumulator_stages,
            input_stages=self.input_stages,
            output_stages=self.output_stages,
            dram_latency=dram_latency,
            write_latency=write_latency,
        )
