"""The orders of a level's loops that can matter.

From the innermost loop outwards: an operand stays while loops do not move it; behind the first that
does, it is sent anew at every further step. The windows of the input keep a part of a tile at moves
along their sliding axes, until a loop moves the input along another axis. Once all operands are
settled, the order of what stands further out does not matter. Until then, two rules leave out what
can only cost more, as words sent grow if anything stays for less:

* Where the input is settled, all loops that leave one of weight and output still follow at once.
* Where weight and output are settled, loops that move the input along other axes stand outside all
  others.
"""

from dataclasses import dataclass
from functools import lru_cache

from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.space import Access

__all__ = ["Orders", "orders"]

_WEIGHT, _INPUT, _OUTPUT = range(3)
Dims = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders of which one is the best, whatever the rest of the mapping is.

    Attributes:
        ways: numbers of dimensions, outermost first.
        alike: a number for each; two of one number differ in nothing but what the next level takes
            in of the input.
    """

    ways: tuple[Dims, ...]
    alike: Dims


@lru_cache(maxsize=65536)
def orders(
    access: tuple[Access, Access, Access],
    loops: Dims,
    taken: tuple[Dims, Dims],
    *,
    rule: Convention,
    allowed: tuple[Dims, ...] | None = None,
) -> Orders:
    """Orders of the loops of a level.

    Args:
        access: of the operands.
        loops: numbers of the dimensions that have a loop.
        taken: operands that are kept at the next level or further inside; those further inside.
        rule: what is counted. (Where savings depend on the steps inside, ``same_step``, the second
            rule is not used.)
        allowed: orders, outermost first, of which none is left out; None for all.
    """
    here = _Settled(access, taken[0], ordered=not rule.same_step)
    found: list[Dims] = []
    if allowed is None:
        here.extend((), frozenset(loops), found)
    else:
        found = [way[::-1] for way in allowed]
    found = list(dict.fromkeys(found))
    kinds: dict[object, int] = {}
    alike = tuple(kinds.setdefault(here.kind(one, taken[1]), len(kinds)) for one in found)
    return Orders(tuple(one[::-1] for one in found), alike)


@dataclass(frozen=True, slots=True)
class _Settled:
    """Which operands loops have moved so that nothing stays.

    Attributes:
        access: of the operands.
        taken: those that matter.
        ordered: whether the second rule holds.
    """

    access: tuple[Access, Access, Access]
    taken: Dims
    ordered: bool

    def moves(self, operand: int, dim: int) -> bool:
        """Whether a loop leaves nothing of an operand's tile."""
        one = self.access[operand]
        return (one.direct if operand == _INPUT else one.relevant)[dim]

    def open(self, inner: Dims) -> list[int]:
        """Operands of which something may stay at what follows some loops."""
        return [
            operand for operand in self.taken if not any(self.moves(operand, dim) for dim in inner)
        ]

    def extend(self, inner: Dims, left: frozenset[int], found: list[Dims]) -> None:
        """Add the orders, innermost first, of the loops that are left outside some."""
        if not left:
            found.append(inner)
            return
        for part in self._next(inner, left):
            self.extend(inner + part, left - set(part), found)

    def _next(self, inner: Dims, left: frozenset[int]) -> list[Dims]:
        """What may follow: one loop, or several at once."""
        open_, rest = self.open(inner), tuple(sorted(left))
        if _INPUT not in open_:
            runs = [tuple(d for d in rest if not self.moves(one, d)) for one in open_]
            return [run for run in runs if run] or [rest]
        if open_ == [_INPUT] and self.ordered:
            inside = [(dim,) for dim in rest if not self.moves(_INPUT, dim)]
            return inside or [rest]
        return [(dim,) for dim in rest]

    def kind(self, inner: Dims, deeper: Dims) -> object:
        """What an order is but for what it makes the next level take in of the input."""
        result: list[object] = []
        for operand in self.taken:
            run: list[int] = []
            for dim in inner:
                if self.moves(operand, dim):
                    break
                run.append(dim)
            if operand != _INPUT:
                result.append(frozenset(run))
            elif operand in deeper:
                result.append(tuple(run))
        return tuple(result)
