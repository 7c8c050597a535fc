"""``early-exit``: images that a first head is sure of leave the network there.

A network whose further outputs are class scores of heads on the way (as BranchyNet trains them) has
the heads as exits: the most likely class of softmax decides [Teerapittayanon 2016]. What lies
behind an exit stands in the branch of an ``If`` and runs for the images that go on alone, at any
batch: they are gathered, and their scores are put back among the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import check, clone, free_name, infer_shapes, value_names
from mlcnn.passes.base import Change, PassResult
from mlcnn.passes.branch_codes import door_of

__all__ = ["EXIT_KEY", "EarlyExit", "heads", "parse_thresholds"]

EXIT_KEY = "mlcnn.exit"
"""Metadata of the ``If`` behind an exit: the name of the head and its threshold."""

_EXAMPLE = "exit1=0.9+exit2=0.8"


def parse_thresholds(text: str) -> dict[str, float]:
    """Thresholds by name of the head.

    Args:
        text: as ``exit1=0.9+exit2=0.8``.

    Raises:
        InputError: it is none, or a threshold is not between 0 and 1.
    """
    found: dict[str, float] = {}
    for item in filter(None, text.split("+")):
        name, _, number = item.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not name or not 0 <= value <= 1:
            raise InputError(
                f"early-exit: thresholds {item!r}: a probability from 0 to 1 for each head is "
                f"required, as in thresholds={_EXAMPLE}"
            )
        found[name] = value
    return found


def heads(model: ir.Model) -> tuple[ir.Value, ...]:
    """The outputs of a network behind the first one that are as many scores as the first has."""
    first, *others = model.graph.outputs
    return tuple(value for value in others if _scores(value) == _scores(first) is not None)


def _scores(value: ir.Value) -> int | None:
    dims = () if value.shape is None else value.shape.dims
    return dims[1] if len(dims) == 2 and isinstance(dims[1], int) else None


@dataclass(frozen=True, slots=True)
class EarlyExit:
    """Let images leave at heads that are sure of them; the first output alone stays.

    Attributes:
        thresholds: the probability of the most likely class from which an image leaves, for each
            head by the name of its output, ``exit1=0.9+exit2=0.8``. Heads without one go.
    """

    name: ClassVar[str] = "early-exit"
    exact: ClassVar[bool] = False
    thresholds: str = ""

    def __post_init__(self) -> None:
        parse_thresholds(self.thresholds)

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with what lies behind each exit in a branch.

        Raises:
            InputError: no threshold, one of a head that is not there, or a network whose batch is
                a number above 1.
        """
        thresholds = parse_thresholds(self.thresholds)
        there = {value.name or "": value for value in heads(model)}
        if not thresholds:
            raise InputError(
                f"{self.name}: a threshold for each exit is required, as in thresholds={_EXAMPLE}"
            )
        for name in thresholds.keys() - there.keys():
            listed = ", ".join(there) or "none: mlcnn skip trains some"
            raise InputError(f"{self.name}: there is no head {name!r}; heads are {listed}")
        copied = clone(model)
        order = {node: index for index, node in enumerate(copied.graph)}
        outputs = {value.name: value for value in copied.graph.outputs}
        exits = sorted(
            (_Exit(outputs[name], threshold) for name, threshold in thresholds.items()),
            key=lambda item: order[item.producer],
        )
        _Branches(copied).split(exits)
        infer_shapes(copied)
        check(copied)
        return PassResult(copied, tuple(item.change(self.name) for item in exits))


@dataclass(frozen=True, slots=True)
class _Exit:
    head: ir.Value
    threshold: float

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32) if self.head.dtype is None else self.head.dtype.numpy()

    @property
    def producer(self) -> ir.Node:
        node = self.head.producer()
        if node is None:
            raise InputError(f"early-exit: {self.head.name} is no head: nothing computes it")
        return node

    def change(self, name: str) -> Change:
        """What is said of it."""
        reason = f"images that are as sure as {self.threshold:g} leave"
        return Change(
            name, (self.head.name or "",), exact=False, outputs=(self.head.name or "",),
            reason=reason,
        )  # fmt: skip


@dataclass(slots=True)
class _Branches:
    """Moves what lies behind exits into branches, in place."""

    model: ir.Model
    _taken: set[str] = field(init=False, repr=False)
    _varying: set[ir.Value] = field(init=False, repr=False)
    _batched: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        first = self.model.graph.inputs[0].shape
        batch = None if first is None or not first.rank() else first.dims[0]
        if isinstance(batch, int) and batch > 1:
            raise InputError(
                f"early-exit: the network takes batches of {batch} images; export it with a "
                "dynamic batch, or for one image"
            )
        self._batched = batch != 1
        self._taken = value_names(self.model)
        self._varying = _varying(self.model.graph)

    def split(self, exits: Sequence[_Exit]) -> None:
        """Put everything that no exit needs behind the last one, and so on."""
        graph = self.model.graph
        result, *_ = graph.outputs
        nodes = [*graph]
        graph.outputs.clear()
        graph.remove(nodes)
        kept, final = self._level(nodes, exits, result)
        graph.extend(kept)
        graph.outputs.append(final)
        final.shape, final.type, name = result.shape, result.type, result.name or "logits"
        result.name = free_name(f"{name}_last", self._taken)
        final.name = name

    def _level(
        self, nodes: Sequence[ir.Node], exits: Sequence[_Exit], result: ir.Value
    ) -> tuple[list[ir.Node], ir.Value]:
        """The nodes that a graph has which gives the scores, and the scores."""
        if not exits:
            return _ancestors(nodes, [result]), result
        here, *later = exits
        before = _ancestors(nodes, [here.head])
        needed = _ancestors(nodes, [result, *(item.head for item in later)])
        behind = [node for node in needed if node not in set(before)]
        inner, scores = self._level(behind, later, result)
        gate = self._gate(here)
        outside: list[ir.Node] = []
        branch = self._branch(inner, scores, here, gate[1].outputs[0], outside)
        self._own(branch)
        stays = ir.node("Identity", [here.head])
        self._name(here, [stays])
        leaves = ir.Graph([], [stays.outputs[0]], nodes=[stays], name=f"{here.head.name}/leaves")
        split = ir.node(
            "If", [gate[-1].outputs[0]], {"then_branch": branch, "else_branch": leaves},
            metadata_props={EXIT_KEY: f"{here.head.name}={here.threshold:g}"},
        )  # fmt: skip
        self._name(here, [split])
        return [*before, *gate, *outside, split], split.outputs[0]

    def _gate(self, here: _Exit) -> list[ir.Node]:
        """How sure each image is, and last, whether the least sure one goes on."""
        shares = ir.node("Softmax", [here.head], {"axis": 1})
        axis = self._integers(here, [1])
        sure = ir.node("ReduceMax", [shares.outputs[0], axis], {"keepdims": 0})
        least = ir.node("ReduceMin", [sure.outputs[0]], {"keepdims": 0})
        some = ir.node("Less", [least.outputs[0], self._limit(here)])
        gate = [shares, sure, least, some]
        self._name(here, gate)
        return gate

    def _limit(self, here: _Exit) -> ir.Value:
        return self._value(here, np.asarray(here.threshold, here.dtype))

    def _branch(
        self, inner: Sequence[ir.Node], scores: ir.Value, here: _Exit, sure: ir.Value,
        outside: list[ir.Node],
    ) -> ir.Graph:  # fmt: skip
        """What runs for the images that go on: gathered before, put back behind.

        What makes codes of what it reads is added to the nodes ``outside``.
        """
        first: list[ir.Node] = []
        column = flat = None
        if self._batched:
            goes_on = ir.node("Less", [sure, self._limit(here)])
            found = ir.node("NonZero", [goes_on.outputs[0]])
            column = ir.node("Transpose", [found.outputs[0]], {"perm": [1, 0]})
            flat = ir.node("Squeeze", [found.outputs[0], self._integers(here, [0])])
            first = [goes_on, found, column, flat]
        for value in self._captured(inner):
            entered = _entered(value, flat, outside)
            if entered:
                _replace(inner, value, entered[-1].outputs[0])
                first += entered
        last = scores
        if column is not None:
            back = ir.node("ScatterND", [here.head, column.outputs[0], scores])
            inner, last = [*inner, back], back.outputs[0]
            self._name(here, [back])
        self._name(here, [*first, *outside])
        return ir.Graph([], [last], nodes=[*first, *inner], name=f"{here.head.name}/goes-on")

    def _own(self, branch: ir.Graph) -> None:
        """Move into a branch the weights that it alone reads, each stored once.

        ONNX Runtime brings weights into its blocked layout only in their own graph: with those of
        the outer one a ResNet-20 takes 1.16 of its time, with its own 1.02.
        """
        outer, inside = self.model.graph, set(_all(branch))
        for value in [*outer.initializers.values()]:
            users = [use.node for use in value.uses()]
            if users and inside.issuperset(users) and not value.is_graph_input():
                outer.initializers.pop(value.name or "")
                branch.register_initializer(value)

    def _captured(self, inner: Sequence[ir.Node]) -> list[ir.Value]:
        """What inner nodes read of the images, made outside."""
        made = {value for node in _all(inner) for value in node.outputs}
        read = dict.fromkeys(v for node in _all(inner) for v in node.inputs if v is not None)
        found = [value for value in read if value in self._varying and value not in made]
        batch = self.model.graph.inputs[0].shape
        for value in found:
            if value.shape is None or batch is None or value.shape.dims[:1] != batch.dims[:1]:
                raise InputError(
                    f"early-exit: {value.name} is read behind the exit and has the shape "
                    f"{value.shape}: images must stand along its first axis"
                )
        return found

    def _integers(self, here: _Exit, values: Sequence[int]) -> ir.Value:
        return self._value(here, np.asarray(values, np.int64))

    def _value(self, here: _Exit, array: np.ndarray) -> ir.Value:
        name = free_name(f"{here.head.name}/constant", self._taken)
        value = ir.Value(
            name=name,
            const_value=ir.Tensor(array, name=name),
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        )
        self.model.graph.register_initializer(value)
        return value

    def _name(self, here: _Exit, nodes: Iterable[ir.Node]) -> None:
        for node in nodes:
            node.name = node.outputs[0].name = free_name(
                f"{here.head.name}/{node.op_type}", self._taken
            )


def _entered(value: ir.Value, images: ir.Node | None, outside: list[ir.Node]) -> list[ir.Node]:
    """What brings a value into a branch: of the images that a node lists, or of all; as codes.

    Empty where the branch reads it as it is.
    """
    door, nodes = door_of(value), list[ir.Node]()
    if door is not None:
        outside.extend(door.outside)
    read = value if door is None else door.codes
    if images is not None:
        nodes.append(ir.node("Gather", [read, images.outputs[0]], {"axis": 0}))
        read = nodes[-1].outputs[0]
    if door is not None:
        nodes.append(door.numbers(read))
    return nodes


def _all(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """Nodes, those of their branches too."""
    for node in nodes:
        yield node
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from attribute.as_graph().all_nodes()


def _replace(nodes: Iterable[ir.Node], value: ir.Value, new: ir.Value) -> None:
    for node in _all(nodes):
        for index, read in enumerate(node.inputs):
            if read is value:
                node.replace_input_with(index, new)


def _ancestors(nodes: Sequence[ir.Node], values: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes among some, in order, that values depend on."""
    wanted, found = set(values), list[ir.Node]()
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.outputs):
            found.append(node)
            wanted |= {v for inner in _all([node]) for v in inner.inputs if v is not None}
    return found[::-1]


def _varying(graph: ir.Graph) -> set[ir.Value]:
    """The values that depend on the images."""
    found = {value for value in graph.inputs if not value.is_initializer()}
    for node in graph:
        if any(v in found for inner in _all([node]) for v in inner.inputs):
            found.update(node.outputs)
    return found
