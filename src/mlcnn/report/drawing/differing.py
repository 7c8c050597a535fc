"""Two networks node by node: what went, what came, what is another now, and where."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

import numpy as np
import onnx_ir as ir

from mlcnn.report.drawing.matching import match
from mlcnn.report.drawing.nodes import INPUT, OUTPUT, Node, nodes_of

__all__ = ["Differences", "NodeChange", "Status", "compare"]

_WEIGHTS = "weights"
"""Other numbers in as many weights: no other node for it."""

Id = tuple[str, int]
"""A node of either network; a pair is one."""


class Status(StrEnum):
    """What became of a node."""

    KEPT = "kept"
    CHANGED = "changed"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node that is in both networks and not the same.

    Attributes:
        before: the node in the first.
        after: the node in the second.
        what: (what differs, before, after) as text.
    """

    before: Node
    after: Node
    what: tuple[tuple[str, str, str], ...]

    @property
    def only_weights(self) -> bool:
        """Whether it only multiplies by other numbers."""
        return all(name == _WEIGHTS for name, *_ in self.what)

    def told(self) -> str:
        """What differs, in words."""
        return ", ".join(
            "other weights" if name == _WEIGHTS else f"{name} {old or 'none'} to {new or 'none'}"
            for name, old, new in self.what
        )


@dataclass(frozen=True, slots=True)
class Differences:
    """Two networks node by node.

    Attributes:
        before: the nodes of the first.
        after: those of the second.
        pairs: indices of ``after`` by those of ``before``, of the nodes that are in both.
        changed: those of them that are not the same.
    """

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    pairs: dict[int, int]
    changed: tuple[NodeChange, ...]

    @property
    def removed(self) -> tuple[Node, ...]:
        """Nodes that are in the first alone."""
        return tuple(node for node in self.before if node.index not in self.pairs)

    @property
    def added(self) -> tuple[Node, ...]:
        """Nodes that are in the second alone."""
        known = set(self.pairs.values())
        return tuple(node for node in self.after if node.index not in known)

    @property
    def kept(self) -> int:
        """How many operators are the same in both."""
        changed = {one.before.index for one in self.changed}
        return sum(
            index not in changed and self.before[index].operator not in {INPUT, OUTPUT}
            for index in self.pairs
        )

    @property
    def equal(self) -> bool:
        """Whether there is no difference."""
        return not (self.removed or self.added or self.changed)

    def ids(self) -> tuple[tuple[Id, ...], tuple[Id, ...]]:
        """Who each node of the two is: a pair is one."""
        theirs = {second: first for first, second in self.pairs.items()}
        mine = tuple(("both" if n.index in self.pairs else "before", n.index) for n in self.before)
        others = tuple(
            ("both", theirs[node.index]) if node.index in theirs else ("after", node.index)
            for node in self.after
        )
        return mine, others

    def places(self) -> tuple[frozenset[Id], ...]:
        """The differing nodes, those that belong together in one set, in the networks' order.

        Two belong together where one reads the other, unless what it reads is a value that both
        networks have; and where they take, or give, the same.
        """
        seeds = {
            *(("before", node.index) for node in self.removed),
            *(("after", node.index) for node in self.added),
            *(("both", one.before.index) for one in self.changed if not one.only_weights),
        }
        groups = _Groups()
        for source, reader, value in self._edges():
            is_whole = isinstance(value, str)
            if source in seeds and reader in seeds and not is_whole:
                groups.join(source, reader)
                continue
            if reader in seeds:
                groups.join(reader, ("behind", value if is_whole else source))
            if source in seeds:
                groups.join(source, ("before", value if is_whole else reader))
        order = {one: place for place, one in enumerate(chain(*self.ids()))}
        found: dict[object, set[Id]] = {}
        for seed in sorted(seeds, key=order.__getitem__):
            found.setdefault(groups.head(seed), set()).add(seed)
        return tuple(map(frozenset, found.values()))

    def _edges(self) -> Iterator[tuple[Id, Id, str | None]]:
        """(source, reader, name of the value if both networks have it) of both."""
        sides = (self.before, self.after)
        mine, theirs = ({r.value: r.shape for node in nodes for r in node.reads} for nodes in sides)
        shared = {name for name in mine if name and name in theirs}
        shared = {name for name in shared if _alike(mine[name], theirs[name])}
        for nodes, ids in zip(sides, self.ids(), strict=True):
            for node in nodes:
                for read in node.reads:
                    name = read.value if read.value in shared else None
                    yield ids[read.source], ids[node.index], name


class _Groups:
    """Sets of things that belong together (union and find)."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def head(self, one: object) -> object:
        while (above := self._parent.get(one, one)) != one:
            self._parent[one] = self._parent.get(above, above)
            one = above
        return one

    def join(self, one: object, other: object) -> None:
        self._parent[self.head(one)] = self.head(other)


def compare(before: ir.Model, after: ir.Model) -> Differences:
    """Compare two networks node by node.

    Args:
        before: one network.
        after: the other.
    """
    mine, theirs = nodes_of(before), nodes_of(after)
    pairs = match(mine, theirs)
    changed = (
        NodeChange(mine[first], theirs[second], what)
        for first, second in sorted(pairs.items())
        if (what := tuple(_what(mine[first], theirs[second], pairs)))
    )
    return Differences(mine, theirs, pairs, tuple(changed))


def _what(one: Node, other: Node, pairs: dict[int, int]) -> Iterator[tuple[str, str, str]]:
    mine, theirs = dict(one.attributes), dict(other.attributes)
    for name in sorted({*mine, *theirs}):
        if mine.get(name) != theirs.get(name):
            yield name, mine.get(name, ""), theirs.get(name, "")
    if not _alike(one.shape, other.shape):
        yield "output", one.shape, other.shape
    if one.dtype and other.dtype and one.dtype != other.dtype:
        yield "type", one.dtype, other.dtype
    if one.weights != other.weights:
        yield "weight sizes", ", ".join(one.weights), ", ".join(other.weights)
    elif not all(map(_same, one.stored, other.stored)):
        yield _WEIGHTS, "", ""
    yield from _wiring(one, other, pairs)


def _alike(one: str, other: str) -> bool:
    """Whether two shapes differ in no number: a name of a size says nothing."""
    if not (one and other):
        return True
    mine, theirs = one.split(" x "), other.split(" x ")
    return len(mine) == len(theirs) and all(
        a == b or not (a.isdigit() or b.isdigit()) for a, b in zip(mine, theirs, strict=True)
    )


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype and other.dtype and one.dtype != other.dtype:
        return False
    # By bytes, for what is not a number equals itself here.
    return one is other or np.array_equal(one, other) or one.tobytes() == other.tobytes()


def _wiring(one: Node, other: Node, pairs: dict[int, int]) -> Iterator[tuple[str, str, str]]:
    """What it reads from elsewhere, where both sources are in both networks."""
    if len(one.reads) != len(other.reads):
        yield "inputs", str(len(one.reads)), str(len(other.reads))
        return
    known = set(pairs.values())
    for place, (mine, theirs) in enumerate(zip(one.reads, other.reads, strict=True)):
        both = mine.source in pairs and theirs.source in known
        if both and (pairs[mine.source] != theirs.source):
            yield f"input {place}", mine.value, theirs.value
