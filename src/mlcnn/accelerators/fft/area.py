"""Area of the engine: its array, the core and the sums beside it."""

from dataclasses import dataclass, fields

from mlcnn.accelerators.array import Area, ArrayDescription, area
from mlcnn.accelerators.fft.core import Core
from mlcnn.accelerators.fft.transform import levels
from mlcnn.accelerators.fft.width import adder, multiplier, widths
from mlcnn.accelerators.technology import Technology

__all__ = ["CoreArea", "EngineArea", "core_area", "engine_area"]


@dataclass(frozen=True, slots=True)
class CoreArea:
    """Square micrometres by part.

    Attributes:
        adders: of all levels.
        multipliers: by twiddles.
        registers: one rank of words behind each level.
        twiddles: the table of the largest block, in flip-flops or memory.
        sums: that form the factors of bins, of inputs and of weights, and bins from their sums.
    """

    adders: float
    multipliers: float
    registers: float
    twiddles: float
    sums: float

    @property
    def total(self) -> float:
        """All parts."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def logic(self) -> float:
        """All but the table."""
        return self.total - self.twiddles


@dataclass(frozen=True, slots=True)
class EngineArea:
    """Square micrometres.

    Attributes:
        array: by part.
        core: by part.
    """

    array: Area
    core: CoreArea

    @property
    def total(self) -> float:
        """All parts."""
        return self.array.total + self.core.total


def core_area(core: Core, array: ArrayDescription, technology: Technology) -> CoreArea:
    """Area of the core.

    All operations of the levels below the last one stand side by side. The last one is general,
    so that larger blocks come by recursion: a complex multiplier for each four words, and an adder
    for each word; it is as wide as the largest block makes it.

    Args:
        core: the core.
        array: the array behind it: precision, and words a cycle of weights.
        technology: the tables.
    """
    costs, bits = technology.costs(array.precision), array.precision.bits
    last = 3 * core.words // 4
    half = core.words // 2
    # (adders, multipliers, bits) of each level: two transforms of half the words side by side.
    stages = [
        (2 * one.additions, 2 * one.multiplications, width)
        for one, width in zip(levels(half), widths(array.precision, half), strict=True)
    ]
    stages.append((core.words + last, last, widths(array.precision, core.largest_block)[-1]))
    table = core.largest_block // 4 * 2 * bits / 8
    sums = (core.words // 2 + array.lanes) * costs.input_add.area_um2
    sums += core.words * costs.accumulate.area_um2
    words = sum(core.words * width for _, _, width in stages)
    return CoreArea(
        adders=sum(n * adder(array.precision, w, technology).area_um2 for n, _, w in stages),
        multipliers=sum(
            n * multiplier(array.precision, w, technology).area_um2 for _, n, w in stages
        ),
        registers=words * technology.register.area_um2_per_bit,
        twiddles=technology.memory.small(table, 64, technology.register).area_um2,
        sums=sums if core.products == 3 else 0.0,
    )


def engine_area(core: Core, array: ArrayDescription, technology: Technology) -> EngineArea:
    """Area of every part."""
    return EngineArea(area(array, technology), core_area(core, array, technology))
