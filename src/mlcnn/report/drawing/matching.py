"""Which node of one network is which of another.

Names lie: an exporter numbers the nodes of an operator, so that one layer more shifts all names
behind it. So what is sure comes first (modules and weights), then what stands beside it, and names
alone only where nothing better is left.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from difflib import SequenceMatcher

from mlcnn.report.drawing.nodes import INPUT, OUTPUT, Node

__all__ = ["match"]

_ENDS = frozenset({INPUT, OUTPUT})


def match(before: Sequence[Node], after: Sequence[Node]) -> dict[int, int]:
    """Pairs of nodes of one operator that are each other's, each node in one pair at most.

    Args:
        before: the nodes of one network.
        after: those of the other.

    Returns:
        Indices of ``after`` by those of ``before``.
    """
    matcher = _Matcher(before, after)
    matcher.by_key(lambda node: node.name if node.operator in _ENDS else None)
    matcher.by_key(lambda node: "" if node.operator in _ENDS else None)
    matcher.by_key(lambda node: node.module or None)
    matcher.by_key(_content)
    matcher.by_neighbours()
    matcher.by_key(lambda node: node.name)
    matcher.by_key(lambda node: node.outputs[0] if node.outputs else None)
    matcher.by_neighbours()
    matcher.by_order()
    matcher.by_neighbours()
    return matcher.pairs


def _content(node: Node) -> Hashable:
    """The weights of a node; they are told from all others by their numbers."""
    if not node.stored:
        return None
    digest = hashlib.sha256()
    for array in node.stored:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _looks(node: Node) -> Hashable:
    return node.operator, node.attributes, node.shape, node.weights


class _Matcher:
    """Two networks, and the pairs found so far."""

    def __init__(self, before: Sequence[Node], after: Sequence[Node]) -> None:
        self._before, self._after = before, after
        self._readers = _readers(before), _readers(after)
        self.pairs: dict[int, int] = {}
        self._taken: set[int] = set()

    def by_key(self, key: Callable[[Node], Hashable]) -> None:
        """Pair nodes of equal keys, in order where as many of both have one; None is no key."""
        found: dict[Hashable, tuple[list[int], list[int]]] = {}
        for side, left in enumerate(self._left()):
            for node in left:
                if (own := key(node)) is not None:
                    found.setdefault((node.operator, own), ([], []))[side].append(node.index)
        for mine, theirs in found.values():
            if len(mine) == len(theirs):
                for first, second in zip(mine, theirs, strict=True):
                    self._pair(first, second)

    def by_neighbours(self) -> None:
        """Pair what feeds, and what reads, a pair in the same way, and so on from there."""
        pending = deque(sorted(self.pairs.items()))
        while pending:
            first, second = pending.popleft()
            node, other = self._before[first], self._after[second]
            near = [(r.source, s.source) for r, s in zip(node.reads, other.reads, strict=False)]
            near += self._read_alike(self._readers[0][first], self._readers[1][second])
            for one, two in near:
                if self._fits(one, two):
                    self._pair(one, two)
                    pending.append((one, two))

    def by_order(self) -> None:
        """Pair what looks the same, in the order of the networks."""
        mine, theirs = self._left()
        looks = [[_looks(node) for node in nodes] for nodes in (mine, theirs)]
        for block in SequenceMatcher(None, *looks, autojunk=False).get_matching_blocks():
            for offset in range(block.size):
                self._pair(mine[block.a + offset].index, theirs[block.b + offset].index)

    def _left(self) -> tuple[list[Node], list[Node]]:
        mine = [node for node in self._before if node.index not in self.pairs]
        return mine, [node for node in self._after if node.index not in self._taken]

    def _pair(self, first: int, second: int) -> None:
        self.pairs[first] = second
        self._taken.add(second)

    def _fits(self, first: int, second: int) -> bool:
        if first in self.pairs or second in self._taken:
            return False
        node, other = self._before[first], self._after[second]
        if node.operator != other.operator:
            return False
        # Layers that have names of their own are each other's by these alone.
        return not (node.stored and node.module and other.module and node.module != other.module)

    def _read_alike(self, mine: list[int], theirs: list[int]) -> list[tuple[int, int]]:
        """Readers of one value each: the only one of its operator, or the one that looks alike."""
        found: list[tuple[int, int]] = []
        for one in mine:
            node = self._before[one]
            fitting = [two for two in theirs if self._fits(one, two)]
            rivals = [o for o in mine if o != one and self._before[o].operator == node.operator]
            alike = [two for two in fitting if _looks(self._after[two]) == _looks(node)]
            if len(fitting) == 1 and not rivals:
                found.append((one, fitting[0]))
            elif alike:
                found.append((one, alike[0]))
                theirs = [two for two in theirs if two != alike[0]]
        return found


def _readers(nodes: Sequence[Node]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {node.index: [] for node in nodes}
    for node in nodes:
        for read in node.reads:
            if node.index not in found[read.source]:
                found[read.source].append(node.index)
    return found
