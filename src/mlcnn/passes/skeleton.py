"""The skeleton of the passes that rewrite a network site by site.

A pass says which nodes it looks at, which of them are sites or why not, and what replaces a site.
"""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import clone, infer_shapes, is_operator, is_standard, layer_name
from mlcnn.ops import POOL_OPERATORS, is_spatial_mean
from mlcnn.passes.base import Change, PassResult, Skipped
from mlcnn.passes.sites import EXCLUDED, Selection
from mlcnn.workload import RECORD_KEY

__all__ = [
    "AVERAGE_POOLS",
    "MAX_POOLS",
    "Candidate",
    "SitePass",
    "append_change",
    "explained",
    "names",
]

MAX_POOLS = frozenset({"MaxPool"})
AVERAGE_POOLS = POOL_OPERATORS - MAX_POOLS


@dataclass(frozen=True, slots=True)
class Candidate:
    """A site that a pass can rewrite.

    Attributes:
        nodes: layer names of all its nodes.
        name: the layer that is named where it is left alone.
        rewrite: replaces it in the network, or says why that cannot be.
        through: name of the value inside it that is gone then: an earlier site that ended there is
            joined with it.
    """

    nodes: tuple[str, ...]
    name: str
    rewrite: Callable[[], Change | str]
    through: str | None = None


class SitePass(abc.ABC):
    """A pass that looks at nodes one after the other, and accounts for every site."""

    __slots__ = ()
    name: ClassVar[str]
    operators: ClassVar[frozenset[str]] = frozenset()
    """The pools that the pass looks at."""
    repeats: ClassVar[bool] = True
    """Whether there may be new sites where a later pass rewrote the network."""

    def nodes(self, model: ir.Model) -> Iterable[ir.Node]:
        """The nodes to look at, in order."""
        return _pools(model, self.operators)

    @abc.abstractmethod
    def look(self, model: ir.Model, node: ir.Node) -> Candidate | Skipped | str | None:
        """The site of a node, why it is none, or None where there is nothing to say.

        The network may have been rewritten since ``nodes``.
        """

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with the sites rewritten."""
        model = clone(model)
        changes: list[Change] = []
        skipped = [Skipped(self.name, *inner) for inner in _beyond_reach(model, self.operators)]
        only, exclude = (getattr(self, option, ()) for option in ("only", "exclude"))
        selection = Selection(only, exclude)
        for node in tuple(self.nodes(model)):
            found = self.look(model, node)
            name = found.name if isinstance(found, Candidate) else layer_name(node)
            through = found.through if isinstance(found, Candidate) else None
            if isinstance(found, Candidate):
                found = selection.refuses(found.nodes) or found.rewrite()
            if isinstance(found, Change):
                append_change(changes, found, through)
            elif found is not None:
                skipped.append(Skipped(self.name, name, found) if isinstance(found, str) else found)
        if changes:
            infer_shapes(model)
        return PassResult(model, tuple(changes), tuple(skipped))


def names(*values: ir.Value | None) -> tuple[str, ...]:
    """Names of the values that a change starts from or ends in, as they are before it."""
    return tuple(value.name or "" for value in values if value is not None)


def explained(result: PassResult, left: Mapping[str, str]) -> PassResult:
    """The same result, sites that were excluded for a reason with it, by the layer."""
    if not left:
        return result
    skipped = tuple(
        replace(item, reason=left[item.reason.removeprefix(EXCLUDED)])
        if item.reason.startswith(EXCLUDED) and item.reason.removeprefix(EXCLUDED) in left
        else item
        for item in result.skipped
    )
    return replace(result, skipped=skipped)


def append_change(changes: list[Change], change: Change, through: str | None) -> None:
    """Append ``change``, joined with its pass's one before it that ended in the value ``through``.

    That value is gone now: what the earlier change made was rewritten again.
    """
    mine = (c for c in changes if c.pass_name == change.pass_name)
    earlier = next((c for c in mine if through in c.outputs), None)
    if earlier is not None:
        changes.remove(earlier)
        nodes = tuple(dict.fromkeys(earlier.nodes + change.nodes))
        deviation = earlier.deviation + change.deviation
        change = replace(change, nodes=nodes, inputs=earlier.inputs, deviation=deviation)
    changes.append(change)


def _pools(model: ir.Model, operators: frozenset[str]) -> tuple[ir.Node, ...]:
    """The pool nodes of the main graph, in order."""
    return tuple(
        node
        for node in model.graph
        if node.op_type in operators
        and is_standard(node)
        and node.inputs
        and RECORD_KEY not in node.metadata_props  # a part of a layer, which a pass made
    )


def _beyond_reach(model: ir.Model, operators: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Name of, and reason why no pass touches, each pool that is not in the main graph."""
    places: list[tuple[str, Iterable[ir.Node]]] = [("", model.graph)]
    places += [
        (f"the function {function.name}", function)
        for function in model.functions.values()
        if not is_operator(function)
    ]
    for place, nodes in places:
        for node in nodes:
            if place and _is_pool(node, operators):
                yield layer_name(node), f"inside {place}: only the main graph is rewritten"
            # The list grows while it is walked.
            owner = f"the body of {node.op_type} {layer_name(node)!r}"
            places += [(owner, body) for body in _bodies(node)]


def _is_pool(node: ir.Node, operators: frozenset[str]) -> bool:
    if node.op_type not in operators or not is_standard(node) or not node.inputs:
        return False
    return node.op_type != "ReduceMean" or is_spatial_mean(node)


def _bodies(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()
