"""Which nodes of a flat network need to be computed only under which condition."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from mlcnn.engines.native.branches import CHOICE, MASK, is_marked

__all__ = ["Group", "Path", "Regions"]


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """Results that one condition chooses.

    Attributes:
        nodes: each ``Where`` of an If; or the one ``ScatterND`` that puts images back.
        mask: the name of the images' mask; None for an If.
    """

    nodes: tuple[ir.Node, ...]
    mask: str | None

    @property
    def condition(self) -> ir.Value | None:
        """What is true or not, of all or for each image."""
        return self.nodes[0].inputs[0 if self.mask is None else 1]

    def sides(self, index: int) -> "tuple[Branch, ...]":
        """The branch that only an input of its nodes needs; none of a condition's and others'."""
        sided = (1, 2) if self.mask is None else (2,)
        return (Branch(self, index),) if index in sided else ()


@dataclass(frozen=True, slots=True)
class Branch:
    """What one side of a group needs; ``index`` is the input of the group's nodes."""

    group: Group
    index: int


Path = tuple[Branch, ...]
"""Branches from the outermost to the innermost one."""


@dataclass(slots=True)
class Regions:
    """The nodes of a network by the branches that they belong to.

    Attributes:
        graph: a flat network's.
        paths: of each node that is needed, the branches outside of which nothing needs it.
    """

    graph: ir.Graph
    paths: dict[ir.Node, Path] = field(init=False, default_factory=dict)
    _groups: dict[ir.Node, Group] = field(init=False, default_factory=dict)
    _at: dict[Path, list[ir.Node]] = field(init=False)
    _masks: Mapping[ir.Node, frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._find_groups()
        self._masks = _masks_behind(self.graph)
        needed: dict[ir.Node, list[Path]] = defaultdict(list)
        for node in reversed(self.graph):
            group = self._groups.get(node)
            if group is None:
                self._settle([node], needed)
            elif node is group.nodes[-1]:
                self._settle(group.nodes, needed)
        self._at = defaultdict(list)
        for node in self.graph:
            group = self._groups.get(node)
            if node in self.paths and (group is None or node is group.nodes[0]):
                self._at[self.paths[node]].append(node)

    def at(self, path: Path) -> Iterable[ir.Node]:
        """Nodes of a branch, in order, without those of branches inside; one node of a group."""
        return self._at[path]

    def group(self, node: ir.Node) -> Group | None:
        """The group that a node belongs to."""
        return self._groups.get(node)

    def _find_groups(self) -> None:
        choices: dict[str, list[ir.Node]] = defaultdict(list)
        for node in self.graph:
            if CHOICE in node.metadata_props:
                choices[node.metadata_props[CHOICE]].append(node)
            elif MASK in node.metadata_props and node.op_type == "ScatterND":
                self._groups[node] = Group((node,), node.metadata_props[MASK])
        for nodes in choices.values():
            self._groups |= dict.fromkeys(nodes, Group(tuple(nodes), None))

    def _settle(self, nodes: Iterable[ir.Node], needed: dict[ir.Node, list[Path]]) -> None:
        """Say where nodes belong, all of whose readers are settled, and what they need there."""
        nodes = tuple(nodes)
        paths = [path for node in nodes for path in needed[node]]
        outside = any(value.is_graph_output() for node in nodes for value in node.outputs)
        if not outside and not paths:
            return  # nothing needs them
        path = () if outside else _common(paths)
        for node in nodes:
            self.paths[node] = path
            group = self._groups.get(node)
            for index, value in enumerate(node.inputs):
                maker = None if value is None else value.producer()
                if maker is not None and maker.graph is self.graph:
                    sides = () if group is None else group.sides(index)
                    needed[maker].append(self._of_images((*path, *sides), node, maker))

    def _of_images(self, path: Path, node: ir.Node, maker: ir.Node) -> Path:
        """Where a node's input is made: what is of all images is not made for some of them."""
        for depth, branch in enumerate(path):
            mask = branch.group.mask
            takes = node.metadata_props.get(MASK) == mask and node not in self._groups
            if mask is not None and (takes or mask not in self._masks[maker]):
                return path[:depth]
        return path


def _masks_behind(graph: ir.Graph) -> dict[ir.Node, frozenset[str]]:
    """The masks of images that a node stands behind."""
    found: dict[ir.Node, frozenset[str]] = {}
    for node in graph:
        makers = (value.producer() for value in node.inputs if value is not None)
        masks = frozenset[str]().union(*(found.get(m, frozenset()) for m in makers if m))
        if is_marked(node) and MASK in node.metadata_props:
            mask = {node.metadata_props[MASK]}
            masks = masks - mask if node.op_type == "ScatterND" else masks | mask
        found[node] = masks
    return found


def _common(paths: list[Path]) -> Path:
    """What paths begin with, all of them."""
    first, *others = paths
    depth = 0
    while depth < len(first) and all(len(o) > depth and o[depth] == first[depth] for o in others):
        depth += 1
    return first[:depth]
