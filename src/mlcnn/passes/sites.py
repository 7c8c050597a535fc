"""The one analysis of where an average pool can reach convolutions.

From a pool, walk towards the inputs through everything that an average commutes with: exactly
(batch norm, scale and shift per channel, concatenation, residual addition) or approximately
(activations). A *site* is a pool whose walk ends in at least one convolution that ``fuse`` takes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import onnx_ir as ir

from mlcnn.graph import constant, layer_name
from mlcnn.ops import FORMS, Convolution, Pooling, read_convolution, read_pooling
from mlcnn.passes.pointwise import Block, pointwise_block

__all__ = ["EXCLUDED", "Branch", "Kind", "Selection", "Site", "find_site", "pools"]

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
    """

    value: ir.Value
    kind: Kind
    block: Block | None = None
    convolution: Convolution | None = None
    children: tuple["Branch", ...] = ()
    reason: str = ""

    def walk(self) -> Iterator["Branch"]:
        """This branch and all behind it, consumers first."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions that the pool reaches."""
        return tuple(b.convolution for b in self.walk() if b.convolution is not None)

    @property
    def exact(self) -> bool:
        """Whether the pool commutes with everything on the way."""
        return all(branch.block is None or branch.block.exact for branch in self.walk())


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
        """Whether the pool stands directly behind its one convolution."""
        return self.root.kind is Kind.CONVOLUTION


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


def pools(model: ir.Model, operators: frozenset[str]) -> tuple[ir.Node, ...]:
    """The pool nodes of the main graph, in order."""
    return tuple(
        node
        for node in model.graph
        if node.op_type in operators and node.domain in {"", "ai.onnx"} and node.inputs
    )


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
    root = _walk(value, pooling, approximate=False)
    if not root.convolutions:
        return next(b.reason for b in root.walk() if b.kind is Kind.END)
    return Site(pooling, root)


def _end(value: ir.Value, reason: str) -> Branch:
    return Branch(value, Kind.END, reason=reason)


def _shared(value: ir.Value, users: set[ir.Node] | None = None) -> str | None:
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


def _walk(
    value: ir.Value, pooling: Pooling, *, approximate: bool, users: set[ir.Node] | None = None
) -> Branch:
    reason = _shared(value, users)
    node = value.producer()
    if reason is not None:
        return _end(value, reason)
    if node is None:
        return _end(value, f"the pool's input {value.name} is an input of the network")
    if node.op_type == "Conv" and node.domain in {"", "ai.onnx"}:
        return _convolution(value, node, pooling)
    if node.op_type == "Concat" and node.domain in {"", "ai.onnx"}:
        return _concat(value, node, pooling, approximate=approximate)
    block = pointwise_block(value)
    if block is not None:
        return _pointwise(value, block, pooling, approximate=approximate)
    if node.op_type == "Add" and node.domain in {"", "ai.onnx"}:
        return _add(value, node, pooling, approximate=approximate)
    return _end(value, f"{node.op_type} ({layer_name(node)}) stands before the pool")


def _convolution(value: ir.Value, node: ir.Node, pooling: Pooling) -> Branch:
    convolution = read_convolution(node)
    if isinstance(convolution, str):
        return _end(value, f"{layer_name(node)}: {convolution}")
    reason = fusible(convolution, pooling)
    if reason is not None:
        return _end(value, f"{convolution.name}: {reason}")
    return Branch(value, Kind.CONVOLUTION, convolution=convolution)


def fusible(convolution: Convolution, pooling: Pooling) -> str | None:
    """Why ``convolution`` is not worth or not able to be fused with ``pooling``; None if it is."""
    refusals = [form.refuses(convolution, pooling) for form in FORMS.values()]
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


def _pointwise(value: ir.Value, block: Block, pooling: Pooling, *, approximate: bool) -> Branch:
    if block.exact and block.shifts and pooling.counts_padding:
        name = layer_name(block.nodes[-1])
        return _end(value, f"{name} shifts its input and the pool counts its padding")
    users = set(block.nodes)
    child = _walk(block.source, pooling, approximate=approximate or not block.exact, users=users)
    if not child.convolutions:
        reason = next(b.reason for b in child.walk() if b.kind is Kind.END)
        return _end(value, reason)
    return Branch(value, Kind.POINTWISE, block=block, children=(child,))


def _join(value: ir.Value, kind: Kind, children: tuple[Branch, ...]) -> Branch:
    reached = [child for child in children if child.convolutions]
    if not reached:
        reason = next(b.reason for child in children for b in child.walk() if b.reason)
        return _end(value, reason)
    return Branch(value, kind, children=children)


def _concat(value: ir.Value, node: ir.Node, pooling: Pooling, *, approximate: bool) -> Branch:
    axis = node.attributes["axis"].as_int()
    if axis % 4 != 1:
        return _end(value, f"{layer_name(node)} concatenates along axis {axis}, not channels")
    sources = [source for source in node.inputs if source is not None]
    if len(set(sources)) != len(sources):
        return _end(value, f"{layer_name(node)} concatenates a value with itself")
    children = tuple(
        _walk(source, pooling, approximate=approximate, users={node}) for source in sources
    )
    missing = [child for child in children if not child.convolutions]
    inexact = approximate or not all(child.exact for child in children)
    if missing and inexact and len(missing) < len(children):
        reason = next(b.reason for b in missing[0].walk() if b.reason)
        return _end(
            value,
            f"{len(missing)} of the {len(children)} branches of {layer_name(node)} end in no "
            f"convolution to fuse ({reason}): accuracy would be paid where nothing is gained",
        )
    return _join(value, Kind.CONCAT, children)


def _add(value: ir.Value, node: ir.Node, pooling: Pooling, *, approximate: bool) -> Branch:
    sources = [source for source in node.inputs if source is not None]
    if len(sources) != 2 or sources[0] is sources[1]:
        return _end(value, f"{layer_name(node)} adds a value to itself")
    if any(constant(source) is not None for source in sources):
        return _end(value, f"{layer_name(node)} adds a constant that is not one value per channel")
    shapes = [source.shape for source in sources]
    if shapes[0] is None or shapes[1] is None or shapes[0].dims != shapes[1].dims:
        return _end(value, f"{layer_name(node)} adds two tensors of different or unknown shapes")
    children = tuple(
        _walk(source, pooling, approximate=approximate, users={node}) for source in sources
    )
    return _join(value, Kind.ADD, children)
