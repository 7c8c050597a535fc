"""Classes of loop orders: what decides which factors multiply which words."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.mapping import Mapping
from mlcnn.codesign.space import accesses
from mlcnn.errors import InputError
from mlcnn.workload import LoopNest

__all__ = ["OrderClass"]


@dataclass(frozen=True, slots=True)
class OrderClass:
    """The temporal loops that there are, and their order.

    Attributes:
        loops: dimensions of each level's temporal loops, levels and loops outermost first. Loops
            that are not named have one iteration.

    Example:
        >>> OrderClass.of(Mapping.parse("[WIO] K2 P3 - [WI] K4X C1 - [O] C2"))
        OrderClass(loops=(('K', 'P'), (), ('C',)))
    """

    loops: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for number, level in enumerate(self.loops):
            if len(set(level)) < len(level):
                raise InputError(
                    f"class of orders: a dimension stands twice in level {number}: "
                    f"{' '.join(level)}; name each once"
                )

    @classmethod
    def of(cls, mapping: Mapping) -> "OrderClass":
        """That of a mapping: its loops of two iterations and more."""
        levels = mapping.levels
        return cls(tuple(tuple(dim for dim, n in one.temporal if n > 1) for one in levels))

    @classmethod
    def stationary(cls, nest: LoopNest, operands: Sequence[Operand]) -> "OrderClass":
        """Loops over everything at each level, so that one operand of it stays longest.

        The dimensions that do not move the operand stand innermost, else in the order of the nest.

        Args:
            nest: its dimensions of one iteration are left out.
            operands: one for each level.
        """
        access = dict(zip(Operand, accesses(nest), strict=True))
        levels: list[tuple[str, ...]] = []
        for operand in operands:
            there = [n for n, size in enumerate(nest.sizes) if size > 1]
            there.sort(key=lambda n, moves=access[operand].relevant: not moves[n])
            levels.append(tuple(nest.dims[n] for n in there))
        return cls(tuple(levels))

    def covers(self, other: "OrderClass") -> bool:
        """Whether it has all loops of another, in the same order."""
        return len(self.loops) == len(other.loops) and all(
            _is_part(part, whole) for part, whole in zip(other.loops, self.loops, strict=True)
        )


def _is_part(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    rest = iter(whole)
    return all(dim in rest for dim in part)
