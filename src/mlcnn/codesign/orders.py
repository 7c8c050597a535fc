"""The orders of a level's loops that can matter.

From the innermost loop outwards: an operand stays while loops do not move it; behind the first that
does, it is sent anew at every further step. The windows of the input keep a part of a tile at moves
along their sliding axes, until a loop moves the input along another axis. Once all three operands
are settled, the order of what stands further out does not matter. Until then, two rules leave out
what can only cost more, as words sent grow if anything stays for less:

* Where one operand of weight and output is left still and the input is settled, all loops that do
  not move that operand follow at once.
* Where weight and output are settled, loops that move the input along other axes stand outside all
  others.
"""

from functools import lru_cache

from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.space import Access

__all__ = ["orders"]

_WEIGHT, _INPUT, _OUTPUT = range(3)


@lru_cache(maxsize=65536)
def orders(
    access: tuple[Access, Access, Access], loops: tuple[int, ...], rule: Convention
) -> tuple[tuple[int, ...], ...]:
    """Orders of which one is the best, whatever the rest of the mapping is.

    Args:
        access: of the operands.
        loops: numbers of the dimensions that have a loop.
        rule: what is counted. (Where savings depend on the steps inside, ``same_step``, the second
            rule is not used.)

    Returns:
        Numbers of dimensions, outermost first.
    """
    found: list[tuple[int, ...]] = []
    _extend(_Settled(access, rule), (), frozenset(loops), found)
    return tuple(found)


class _Settled:
    """Which operands loops have moved so that nothing stays."""

    def __init__(self, access: tuple[Access, Access, Access], rule: Convention) -> None:
        self.access, self.ordered = access, not rule.same_step

    def moved(self, inner: tuple[int, ...], operand: int) -> bool:
        one = self.access[operand]
        return any((one.direct if operand == _INPUT else one.relevant)[dim] for dim in inner)

    def next(self, inner: tuple[int, ...], left: frozenset[int]) -> list[tuple[int, ...]]:
        """What may follow the loops so far: one loop, or several that follow at once."""
        settled = [self.moved(inner, operand) for operand in range(3)]
        rest = tuple(sorted(left))
        if all(settled):
            return [rest]
        if settled[_INPUT]:
            still = [n for n in (_WEIGHT, _OUTPUT) if not settled[n]]
            if len(still) == 1:
                run = [dim for dim in rest if not self.access[still[0]].relevant[dim]]
                return [(*run, *(dim for dim in rest if dim not in run))]
        elif settled[_WEIGHT] and settled[_OUTPUT] and self.ordered:
            inside = [dim for dim in rest if not self.access[_INPUT].direct[dim]]
            if not inside:
                return [rest]
            return [(dim,) for dim in inside]
        return [(dim,) for dim in rest]


def _extend(
    settled: _Settled,
    inner: tuple[int, ...],
    left: frozenset[int],
    found: list[tuple[int, ...]],
) -> None:
    if not left:
        found.append(inner[::-1])
        return
    for part in settled.next(inner, left):
        _extend(settled, inner + part, left - set(part), found)
