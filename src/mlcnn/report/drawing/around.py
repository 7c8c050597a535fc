"""The part of two networks around a place where they differ, as plain data to draw."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mlcnn.report.drawing.differing import Differences, Id, Status
from mlcnn.report.drawing.nodes import INPUT, OUTPUT, Node

__all__ = ["Box", "Neighbourhood", "Side", "around", "neighbourhoods", "whole"]

_MOST_NODES = 60
"""More on one side are no drawing that anyone reads."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node as it is drawn.

    Attributes:
        operator: its type.
        name: of its layer.
        detail: its kernel, stride and the like; may be empty.
        shape: sizes of what it gives.
        status: what became of it.
        inner: whether it is of the place; else it stands beside.
        note: what differs, of a changed one.
        above: whether it reads a node that is not drawn.
        below: whether such a one reads it.
    """

    operator: str
    name: str
    detail: str
    shape: str
    status: Status
    inner: bool = True
    note: str = ""
    above: bool = False
    below: bool = False

    @property
    def told(self) -> str:
        """It in one line."""
        name = f" {self.name}" if self.name else ""
        return f"{self.operator}{name}{f' ({self.note})' if self.note else ''}"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two networks there.

    Attributes:
        boxes: its nodes, in the network's order.
        edges: (source, reader) as indices of ``boxes``.
        left_out: nodes that belong there and are too many to be drawn.
    """

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """A place where two networks differ, with the nodes beside it.

    Attributes:
        before: the one network there.
        after: the other.
        alike: names of the layers at other places that look the same but for names and sizes.
        title: what it is called, where that is not by its layers.
    """

    before: Side
    after: Side
    alike: tuple[tuple[str, ...], ...] = ()
    title: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that came, or else those that went or changed."""
        came = [box.name for box in self.came if box.operator != OUTPUT]
        return tuple(dict.fromkeys(came or [b.name for b in (*self.went, *self.changed) if b.name]))

    @property
    def went(self) -> tuple[Box, ...]:
        """What is in the first network alone."""
        return _of(self.before, Status.REMOVED)

    @property
    def came(self) -> tuple[Box, ...]:
        """What is in the second network alone."""
        return _of(self.after, Status.ADDED)

    @property
    def changed(self) -> tuple[Box, ...]:
        """What is in both, and not the same."""
        return _of(self.after, Status.CHANGED)


def _of(side: Side, status: Status) -> tuple[Box, ...]:
    return tuple(box for box in side.boxes if box.inner and box.status is status)


def around(differences: Differences, place: Iterable[Id]) -> Neighbourhood:
    """What stands at a place of two networks and directly beside it.

    Args:
        differences: the two.
        place: one of ``differences.places()``.
    """
    inner, status = set(place), _statuses(differences)
    sides = list(zip((differences.before, differences.after), differences.ids(), strict=True))
    beside = [_beside(nodes, ids, inner) for nodes, ids in sides]
    # What is the same but for its weights stands on both sides, though beside on one alone.
    weighed = {("both", one.before.index) for one in differences.changed if one.only_weights}
    same = {one for one in set.union(*beside) if one in weighed or one not in status}
    notes = {("both", one.before.index): one.told() for one in differences.changed}
    before, after = (
        _side(nodes, ids, (inner, inner | near | same), status, notes)
        for (nodes, ids), near in zip(sides, beside, strict=True)
    )
    return Neighbourhood(before, after)


def _beside(nodes: Sequence[Node], ids: Sequence[Id], inner: set[Id]) -> set[Id]:
    found: set[Id] = set()
    for node in nodes:
        for read in node.reads:
            pair = {ids[read.source], ids[node.index]}
            found |= pair if pair & inner else set()
    return found


def whole(differences: Differences) -> Neighbourhood:
    """The two networks from end to end."""
    found = around(differences, {one for side in differences.ids() for one in side})
    return replace(found, title="Both networks from end to end")


def _statuses(differences: Differences) -> dict[Id, Status]:
    changed = {("both", one.before.index): Status.CHANGED for one in differences.changed}
    removed = {("before", node.index): Status.REMOVED for node in differences.removed}
    added = {("after", node.index): Status.ADDED for node in differences.added}
    return {**changed, **removed, **added}


def _side(
    nodes: Sequence[Node],
    ids: Sequence[Id],
    shown: tuple[set[Id], set[Id]],
    status: dict[Id, Status],
    notes: dict[Id, str],
) -> Side:
    inner, every = shown
    kept = [node for node in nodes if ids[node.index] in every]
    drawn = {node.index: place for place, node in enumerate(kept[:_MOST_NODES])}
    edges = [
        (drawn[read.source], drawn[node.index])
        for node in kept[:_MOST_NODES]
        for read in node.reads
        if read.source in drawn
    ]
    lower = {
        read.source for node in nodes if node.index not in drawn for read in node.reads
    } & drawn.keys()
    boxes = tuple(
        Box(
            node.operator, node.name, node.detail, node.shape,
            status.get(ids[node.index], Status.KEPT), ids[node.index] in inner,
            notes.get(ids[node.index], ""),
            above=any(read.source not in drawn for read in node.reads),
            below=node.index in lower,
        )
        for node in kept[:_MOST_NODES]
    )  # fmt: skip
    return Side(boxes, tuple(dict.fromkeys(edges)), len(kept) - len(boxes))


def neighbourhoods(differences: Differences) -> tuple[Neighbourhood, ...]:
    """Every place where two networks differ, once for all that look the same.

    Those where something came stand first; in each half the order is the network's.

    Args:
        differences: the two.
    """
    found: dict[object, Neighbourhood] = {}
    for place in differences.places():
        new = around(differences, place)
        key = _look(new.before), _look(new.after)
        if (known := found.get(key)) is not None:
            found[key] = replace(known, alike=(*known.alike, new.names))
        else:
            found[key] = new
    return tuple(sorted(found.values(), key=lambda one: not one.came))


def _look(side: Side) -> object:
    """A side without names and sizes; the ends of a network look like what stands beside."""
    boxes = [
        (box.operator if box.operator not in {INPUT, OUTPUT} else "", box.detail, box.status)
        for box in side.boxes
        if box.inner
    ]
    inner = {place for place, box in enumerate(side.boxes) if box.inner}
    edges = [(a, b) for a, b in side.edges if a in inner and b in inner]
    first = {place: order for order, place in enumerate(sorted(inner))}
    return tuple(boxes), tuple((first[a], first[b]) for a, b in edges), side.left_out
