"""What any machine is given, and what it gives: a layer to run, and what that takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace

from mlcnn.workload import ConvLayer, Layer

__all__ = [
    "Costs",
    "Energy",
    "Extremes",
    "LayerCost",
    "LayerTask",
    "Taken",
    "Traffic",
    "together",
]


@dataclass(frozen=True, slots=True)
class LayerTask:
    """A layer to run.

    Attributes:
        layer: what it is: its loop nest, with a pool where it can be fused; its weights; how a
            weight and an input meet.
        scaled: whether its inputs are scaled and rectified for this consumer alone, as in a
            network with batch norm in front of the convolution.
        sole_consumer: whether it alone reads what one convolution wrote, so that the convolution
            could have written box sums.
        loaded_bits: of an input as it lies in DRAM; no more than the machine's count.
        written_bits: of an output, likewise.
    """

    layer: Layer
    scaled: bool = False
    sole_consumer: bool = False
    loaded_bits: int = 32
    written_bits: int = 32

    @property
    def nest(self) -> ConvLayer:
        """The layer's loop nest."""
        return self.layer.nest

    def with_nest(self, nest: ConvLayer) -> "LayerTask":
        """The same task with another loop nest: another name, another batch."""
        return replace(self, layer=replace(self.layer, nest=nest))


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy in pJ.

    Attributes:
        dram: between DRAM and chip.
        buffer: memories and registers on the chip.
        mac: what computes: multipliers, adders, comparators, converters.
        static: leakage over the time taken.
    """

    dram: float = 0.0
    buffer: float = 0.0
    mac: float = 0.0
    static: float = 0.0

    @property
    def total(self) -> float:
        """All parts."""
        return math.fsum((self.dram, self.buffer, self.mac, self.static))

    def __add__(self, other: "Energy") -> "Energy":
        return Energy(
            self.dram + other.dram,
            self.buffer + other.buffer,
            self.mac + other.mac,
            self.static + other.static,
        )

    def to_json(self) -> dict[str, float]:
        """The four parts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes by level and operand, over the whole batch.

    Attributes:
        dram_weight: weights from DRAM.
        dram_input: inputs from DRAM.
        dram_output: outputs to DRAM.
        buffer_weight: weights in and out of the memories on the chip.
        buffer_input: inputs, or what is made of them, in and out of these.
        buffer_partial_sum: sums that are begun, in and out of these.
    """

    dram_weight: float = 0.0
    dram_input: float = 0.0
    dram_output: float = 0.0
    buffer_weight: float = 0.0
    buffer_input: float = 0.0
    buffer_partial_sum: float = 0.0

    @property
    def dram(self) -> float:
        """All bytes between DRAM and chip."""
        return self.dram_weight + self.dram_input + self.dram_output

    @property
    def parts(self) -> tuple[float, ...]:
        """All of them in the order of the attributes."""
        return astuple(self)

    def to_json(self) -> dict[str, dict[str, float]]:
        """By level and operand."""
        return {
            "dram": {
                "weight": self.dram_weight,
                "input": self.dram_input,
                "output": self.dram_output,
            },
            "buffer": {
                "weight": self.buffer_weight,
                "input": self.buffer_input,
                "partial_sum": self.buffer_partial_sum,
            },
        }


@dataclass(frozen=True, slots=True)
class LayerCost:
    """A layer on a machine.

    Attributes:
        name: the layer's.
        execution: how the machine runs it, in a word.
        cycles: from the first load to the last store, at the machine's clock.
        bound: what sets most of the cycles.
        utilisation: of what computes, 0 to 1.
        multiplications: of the layer in this execution.
        additions: the same; comparisons and counts of ones are among them.
        traffic: bytes by operand and level.
        energy: by part.
        fused: whether the layer and the pool behind it run as one.
        skips_zeros: whether weights that are zero cost nothing but what their absence takes.
        mapping: how the layer lies on the machine, as it is shown in results: by name whatever
            JSON can hold.
    """

    name: str
    execution: str
    cycles: float
    bound: str
    utilisation: float
    multiplications: int
    additions: int
    traffic: Traffic
    energy: Energy
    fused: bool = False
    skips_zeros: bool = False
    mapping: Mapping[str, object] = field(default_factory=dict[str, object])


class Costs(tuple[LayerCost, ...]):
    """What several layers take, one after the other."""

    __slots__ = ()

    @property
    def cycles(self) -> float:
        """Of all."""
        return math.fsum(cost.cycles for cost in self)

    @property
    def energy_pj(self) -> float:
        """All parts of all."""
        return math.fsum(cost.energy.total for cost in self)

    @property
    def dram_bytes(self) -> float:
        """Loaded and stored."""
        return math.fsum(cost.traffic.dram for cost in self)

    @property
    def multiplications(self) -> int:
        """Of all."""
        return sum(cost.multiplications for cost in self)

    @property
    def additions(self) -> int:
        """Of all."""
        return sum(cost.additions for cost in self)


def together(name: str, costs: Sequence[LayerCost]) -> LayerCost:
    """The parts of a layer, one after the other.

    Args:
        name: the layer's.
        costs: of its parts, one or more.
    """
    longest = max(costs, key=lambda cost: cost.cycles)
    whole = Costs(costs)
    moved = zip(*(cost.traffic.parts for cost in costs), strict=True)
    return LayerCost(
        name=name,
        execution=longest.execution,
        cycles=whole.cycles,
        bound=longest.bound,
        utilisation=math.fsum(cost.utilisation * cost.cycles for cost in costs) / whole.cycles,
        multiplications=whole.multiplications,
        additions=whole.additions,
        traffic=Traffic(*map(math.fsum, moved)),
        energy=sum((cost.energy for cost in costs), Energy()),
        skips_zeros=all(cost.skips_zeros for cost in costs),
        mapping={"parts": {cost.name: dict(cost.mapping) for cost in costs}},
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """What something takes that runs for some images of a batch.

    Attributes:
        energy_pj: of all these images together.
        cycles: likewise, at the machine's clock.
    """

    energy_pj: float = 0.0
    cycles: float = 0.0

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(self.energy_pj + other.energy_pj, self.cycles + other.cycles)


@dataclass(frozen=True, slots=True)
class Extremes:
    """What a batch costs in a network where that depends on its images.

    Attributes:
        worst: where all images take all they can, what decides included.
        least: where all take as little as they can.
        batch: images.
        notes: what the reader must know besides.
    """

    worst: Taken
    least: Taken
    batch: int
    notes: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """In words."""
        if self.worst == self.least:
            return self.notes
        most, least = (each.energy_pj / self.batch / 1e6 for each in (self.worst, self.least))
        images = "" if self.batch == 1 else f" where all {self.batch} of a batch take the same"
        return (
            (
                "what runs depends on the image: the figures are the most; an image takes "
                f"{least:,.4g} to {most:,.4g} uJ{images}, what decides included; --data gives what "
                "images take"
            ),
            *self.notes,
        )

    def to_json(self) -> dict[str, object]:
        """As ``--json`` has it."""
        return {"worst": asdict(self.worst), "least": asdict(self.least), "batch": self.batch}
