"""The one analysis of where an average pool can reach convolutions.

From a pool, walk towards the inputs through everything that an average commutes with: exactly
(batch norm, scale and shift per channel, concatenation, residual addition) or approximately
(activations). A *site* is a pool whose walk ends in at least one convolution that ``fuse`` takes.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import onnx_ir as ir

from mlcnn.graph import OPERATOR_KEY, Rounding, is_constant, is_standard, layer_name
from mlcnn.ops import Convolution, Pooling, forms, read_layer, read_pooling
from mlcnn.passes.pointwise import Block, pointwise_block

__all__ = [
    "EXCLUDED",
    "Branch",
    "Kind",
    "Selection",
    "Site",
    "find_site",
    "is_moved",
    "shared",
]

EXCLUDED = "excluded by --exclude "
"""How the reason begins for a site that the user does not want touched; the layer follows."""


class Kind(StrEnum):
    """How a branch of a site goes on."""

    CONVOLUTION = "convolution"
    POINTWISE = "pointwise"
    CONCAT = "concat"
    ADD = "add"
    END = "end"


@dataclass(frozen=True, slots=True)
class Branch:
    """One value that the pool reaches, and what produces it.

    Attributes:
        value: the value.
        kind: how its producer relates to the pool.
        block: the producer as a block, for ``POINTWISE``.
        convolution: the producer, for ``CONVOLUTION``.
        children: the branches behind it.
        reason: for ``END``, why the pool goes no further.
        exact: whether the pool commutes with everything on the way, rounding aside.
        deviation: the most by which rounding once more, behind the pool, changes the result.
    """

    value: ir.Value
    kind: Kind
    block: Block | None = None
    convolution: Convolution | None = None
    children: tuple["Branch", ...] = ()
    reason: str = ""
    exact: bool = field(init=False)
    deviation: float = field(init=False)

    def __post_init__(self) -> None:
        exact = self.block is None or self.block.exact
        object.__setattr__(self, "exact", exact and all(child.exact for child in self.children))
        deviations = [child.deviation for child in self.children]
        before = sum(deviations) if self.kind is Kind.ADD else max(deviations, default=0.0)
        # A value is half a step off at most, here and behind the pool.
        step = 0.0 if self.rounding is None else self.rounding.step
        object.__setattr__(self, "deviation", before + step)

    @property
    def rounding(self) -> Rounding | None:
        """How the branch's producer rounds, if it does."""
        return None if self.block is None else self.block.rounding

    def walk(self) -> Iterator["Branch"]:
        """This branch and all behind it, consumers first."""
        pending: list[Branch] = [self]
        while pending:
            branch = pending.pop()
            yield branch
            pending.extend(reversed(branch.children))

    def producers_first(self) -> Iterator["Branch"]:
        """This branch and all behind it, each behind its children."""
        pending: list[Branch] = [self]
        found: list[Branch] = []
        while pending:
            found.append(pending.pop())
            pending.extend(found[-1].children)
        return reversed(found)

    @property
    def reaches(self) -> bool:
        """Whether the pool reaches a convolution; no branch but an ``END`` is made otherwise."""
        return self.kind is not Kind.END

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions that the pool reaches."""
        return tuple(b.convolution for b in self.walk() if b.convolution is not None)


@dataclass(frozen=True, slots=True)
class Site:
    """A pool and the convolutions that it can be fused with."""

    pooling: Pooling
    root: Branch

    @property
    def name(self) -> str:
        """The site's name: its first convolution's, or its pool's where there is none."""
        return next((c.name for c in self.root.convolutions), layer_name(self.pooling.node))

    @property
    def nodes(self) -> tuple[str, ...]:
        """Layer names of all nodes of the site, convolutions first, the pool last."""
        names = [convolution.name for convolution in self.root.convolutions]
        for branch in self.root.walk():
            producer = branch.value.producer()
            if branch.kind in {Kind.CONCAT, Kind.ADD} and producer is not None:
                names.append(layer_name(producer))
            if branch.block is not None:
                names.extend(layer_name(node) for node in branch.block.nodes)
        return (*dict.fromkeys(names), layer_name(self.pooling.node))

    @property
    def adjacent(self) -> bool:
        """Whether nothing stands between the pool and its one convolution but ``rounding``."""
        last = self.root if self.rounding is None else self.root.children[0]
        return last.kind is Kind.CONVOLUTION

    @property
    def rounding(self) -> Rounding | None:
        """How the pool's input is rounded; None where it is not, or not for rounding alone."""
        return self.root.rounding if self.root.exact else None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sites a pass may touch, by the layer names of the user."""

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def refuses(self, nodes: tuple[str, ...]) -> str | None:
        """Why a site of these nodes is not to be touched; None if it may be."""
        excluded = [name for name in nodes if name in self.exclude]
        if excluded:
            return f"{EXCLUDED}{excluded[0]}"
        if self.only and not any(name in self.only for name in nodes):
            return "not among the nodes of --only"
        return None


def is_moved(pool: ir.Node) -> bool:
    """Whether a pass put a pool where it is: what it is left for concerns no node of the user's."""
    return OPERATOR_KEY in pool.metadata_props


def find_site(node: ir.Node, *, as_average: Pooling | None = None) -> Site | str:
    """The site whose pool is ``node``, or the reason why there is none.

    Args:
        node: an average pool; a max pool only together with ``as_average``.
        as_average: the average pool to look for instead of the node's own geometry.

    Returns:
        A site with at least one convolution to fuse, or the reason.
    """
    pooling = as_average or read_pooling(node)
    if isinstance(pooling, str):
        return pooling
    value = node.inputs[0]
    if value is None:
        return "the pool has no input"
    root = _walk(value, pooling)
    return Site(pooling, root) if root.reaches else root.reason


def _end(value: ir.Value, reason: str) -> Branch:
    return Branch(value, Kind.END, reason=reason)


def shared(value: ir.Value, users: frozenset[ir.Node] | None = None) -> str | None:
    """Why ``value`` is needed unpooled, if it is."""
    if value.is_graph_output():
        return f"{value.name} is an output of the network too"
    consumers = {use.node for use in value.uses()}
    if users is None and len(consumers) > 1:
        names = ", ".join(sorted(layer_name(node) for node in consumers)[:3])
        return f"the pool is not alone: {value.name} is used by {names}"
    if users is not None and not consumers <= users:
        other = next(iter(consumers - users))
        return f"{value.name} is used by {layer_name(other)} too"
    return None


@dataclass(frozen=True, slots=True)
class _Visit:
    """A value to walk on from.

    Attributes:
        value: the value.
        approximate: whether the pool passed something that it does not commute with.
        users: the nodes that may use the value; None for the pool alone.
    """

    value: ir.Value
    approximate: bool
    users: frozenset[ir.Node] | None = None


_Steps = Generator[_Visit, Branch, Branch]
"""Yields values to walk on from, is sent the branch of each, and returns the branch of them all."""


def _walk(value: ir.Value, pooling: Pooling) -> Branch:
    """The branch of ``value``; its own stack, since networks are deeper than Python calls."""
    stack = [_branch(_Visit(value, approximate=False), pooling)]
    found: Branch | None = None
    while stack:
        try:
            visit = next(stack[-1]) if found is None else stack[-1].send(found)
        except StopIteration as end:
            stack.pop()
            found = end.value
        else:
            stack.append(_branch(visit, pooling))
            found = None
    if found is None:
        raise ValueError("a walk without a branch")
    return found


def _branch(visit: _Visit, pooling: Pooling) -> _Steps:
    value = visit.value
    reason = shared(value, visit.users)
    node = value.producer()
    if reason is not None:
        return _end(value, reason)
    if node is None:
        return _end(value, f"the pool's input {value.name} is an input of the network")
    layer = read_layer(node)
    if layer is not None:
        return _convolution(value, node, layer, pooling)
    if node.op_type == "Concat" and is_standard(node):
        return (yield from _concat(visit, node))
    block = pointwise_block(value)
    if block is not None:
        return (yield from _pointwise(visit, block, pooling))
    if node.op_type == "Add" and is_standard(node):
        return (yield from _add(visit, node))
    return _end(value, f"{node.op_type} ({layer_name(node)}) stands before the pool")


def _convolution(
    value: ir.Value, node: ir.Node, convolution: Convolution | str, pooling: Pooling
) -> Branch:
    if isinstance(convolution, str):
        return _end(value, f"{layer_name(node)}: {convolution}")
    reason = fusible(convolution, pooling)
    if reason is not None:
        return _end(value, f"{convolution.name}: {reason}")
    return Branch(value, Kind.CONVOLUTION, convolution=convolution)


def fusible(convolution: Convolution, pooling: Pooling) -> str | None:
    """Why ``convolution`` is not worth or not able to be fused with ``pooling``; None if it is."""
    refusals = [form.refuses(convolution, pooling) for form in forms().values()]
    if all(refusals):
        return refusals[0]
    pool = pooling.pool
    if pool is None:
        return None
    before = [convolution.output_size(axis) for axis in (0, 1)]
    if before[0] is None or before[1] is None:
        saves = max(pool.strides) > 1
    else:
        pooled = pool.output_size(before[0], 0) * pool.output_size(before[1], 1)
        saves = pooled < before[0] * before[1]
    if not saves:
        return "the pool's output is as large as its input: no multiplication is saved"
    if pool.kernel == (1, 1):
        return "the pool's window is one element: a strided convolution already"
    return None


def _pointwise(visit: _Visit, block: Block, pooling: Pooling) -> _Steps:
    if block.exact and block.shifts and pooling.counts_padding:
        name = layer_name(block.nodes[-1])
        return _end(visit.value, f"{name} shifts its input and the pool counts its padding")
    approximate = visit.approximate or not block.exact
    child = yield _Visit(block.source, approximate, frozenset(block.nodes))
    if not child.reaches:
        return _end(visit.value, child.reason)
    if block.exact and block.scales and child.deviation:
        name = layer_name(block.nodes[-1])
        return _end(visit.value, f"{name} scales what is rounded to steps before it")
    return Branch(visit.value, Kind.POINTWISE, block=block, children=(child,))


def _join(visit: _Visit, kind: Kind, node: ir.Node, sources: list[ir.Value]) -> _Steps:
    children: list[Branch] = []
    for source in sources:
        child = yield _Visit(source, visit.approximate, frozenset({node}))
        children.append(child)
    missing = [child for child in children if not child.reaches]
    if len(missing) == len(children):
        return _end(visit.value, missing[0].reason)
    inexact = visit.approximate or not all(child.exact for child in children)
    if kind is Kind.CONCAT and missing and inexact:
        return _end(
            visit.value,
            f"{len(missing)} of the {len(children)} branches of {layer_name(node)} end in no "
            f"convolution to fuse ({missing[0].reason}): accuracy would be paid where nothing is "
            "gained",
        )
    return Branch(visit.value, kind, children=tuple(children))


def _concat(visit: _Visit, node: ir.Node) -> _Steps:
    axis = node.attributes["axis"].as_int()
    if axis % 4 != 1:
        return _end(visit.value, f"{layer_name(node)} concatenates along axis {axis}, not channels")
    sources = [source for source in node.inputs if source is not None]
    if len(set(sources)) != len(sources):
        return _end(visit.value, f"{layer_name(node)} concatenates a value with itself")
    return (yield from _join(visit, Kind.CONCAT, node, sources))


def _add(visit: _Visit, node: ir.Node) -> _Steps:
    value, sources = visit.value, [source for source in node.inputs if source is not None]
    if len(sources) != 2 or sources[0] is sources[1]:
        return _end(value, f"{layer_name(node)} adds a value to itself")
    if any(is_constant(source) for source in sources):
        return _end(value, f"{layer_name(node)} adds a constant that is not one value per channel")
    shapes = [source.shape for source in sources]
    if shapes[0] is None or shapes[1] is None or shapes[0].dims != shapes[1].dims:
        return _end(value, f"{layer_name(node)} adds two tensors of different or unknown shapes")
    return (yield from _join(visit, Kind.ADD, node, sources))
