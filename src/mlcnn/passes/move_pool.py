"""``reorder`` and ``distribute-pool``: average pools move towards the convolutions before them.

``reorder`` swaps activation and pool ([MLCNN] section III):

    AvgPool(f(x))  ->  f(AvgPool(x))

Not an identity: for ReLU, relu(mean x) <= mean(relu x), with equality only where a window has one
sign. A network rewritten so needs fine-tuning. ``distribute-pool`` moves pools only through what
they commute with: concatenation, residual addition, and batch norm in inference.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import ClassVar

import onnx_ir as ir

from mlcnn.ops import read_pooling
from mlcnn.passes.base import Change
from mlcnn.passes.pointwise import pointwise_block
from mlcnn.passes.rewriting import hoist, rounded_again
from mlcnn.passes.sites import Branch, Kind, Site, find_site, is_moved
from mlcnn.passes.skeleton import AVERAGE_POOLS, Candidate, SitePass, names

__all__ = ["DistributePool", "NormPlace", "Reorder"]


class NormPlace(StrEnum):
    """Where a batch norm stands that was in front of a pool."""

    BEFORE_POOL = "before-pool"
    AFTER_POOL = "after-pool"


def _behind_norms(branch: Branch) -> Branch:
    """The branch up to the first batch norms, seen from the pool."""
    if branch.block is not None and any(
        node.op_type == "BatchNormalization" for node in branch.block.nodes
    ):
        return Branch(branch.value, Kind.END, reason="the norm stays in front of the pool")
    return replace(branch, children=tuple(_behind_norms(child) for child in branch.children))


def _inputs(site: Site) -> tuple[str, ...]:
    """Names of the values that the site starts from: inputs of its convolutions and its ends."""
    names: list[str | None] = []
    for branch in site.root.walk():
        if branch.convolution is not None:
            source = branch.convolution.node.inputs[0]
            names.append(source.name if source is not None else None)
        elif branch.kind is Kind.END:
            names.append(branch.value.name)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _activation_site(node: ir.Node) -> Site | str:
    """An activation directly before the pool, whatever comes before it."""
    pooling, value = read_pooling(node), node.inputs[0]
    block = None if value is None else pointwise_block(value)
    if isinstance(pooling, str):
        return pooling
    if value is None or block is None or block.exact or len(value.uses()) > 1:
        return "no activation stands before the pool"
    end = Branch(block.source, Kind.END, reason="moved by the option `all`")
    return Site(pooling, Branch(value, Kind.POINTWISE, block=block, children=(end,)))


@dataclass(frozen=True, slots=True)
class _PoolMover(SitePass):
    """Moves average pools to the convolutions, where the way there is as exact as the pass."""

    exact: ClassVar[bool]
    operators: ClassVar[frozenset[str]] = AVERAGE_POOLS

    def site(self, node: ir.Node) -> Site | str:
        """The site of a pool, or the reason why there is none."""
        return find_site(node)

    def way(self, site: Site) -> Site:
        """How far the pool moves."""
        return site

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | str | None:
        """A pool with something between it and its convolutions."""
        whole = self.site(node)
        if isinstance(whole, str):
            return None if is_moved(node) else whole
        site = self.way(whole)
        if site.adjacent or site.root.exact != self.exact:
            return None
        return Candidate(whole.nodes, whole.name, partial(self._move, model, site, whole.nodes))

    def _move(self, model: ir.Model, site: Site, nodes: tuple[str, ...]) -> Change:
        deviation = site.root.deviation if self.exact else 0.0
        change = Change(
            self.name,
            nodes,
            self.exact,
            inputs=_inputs(site),
            outputs=names(site.pooling.node.outputs[0]),
            reason=rounded_again(deviation) if deviation else "",
            deviation=deviation,
        )
        hoist(model, site)
        return change


@dataclass(frozen=True, slots=True)
class Reorder(_PoolMover):
    """Move average pools in front of activations, where ``fuse`` then takes the convolution.

    On the way the pool passes concatenations, residual additions and batch norms too.

    Attributes:
        all: swap every activation with the average pool behind it, also where nothing is gained.
        norm: ``after-pool``: the pool passes batch norms and stands behind the convolution, so that
            it is fused while training, too; statistics have to be re-estimated. ``before-pool``:
            a norm stays in front of the pool with the statistics that it has; ``distribute-pool``
            moves the pool through it after training.
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
    """

    name: ClassVar[str] = "reorder"
    exact: ClassVar[bool] = False
    shared: ClassVar[frozenset[str]] = frozenset({"all"})
    all: bool = False
    norm: NormPlace = NormPlace.AFTER_POOL
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def site(self, node: ir.Node) -> Site | str:
        """The site of a pool; an activation alone where every one is asked for."""
        site = find_site(node)
        return _activation_site(node) if self.all and isinstance(site, str) else site

    def way(self, site: Site) -> Site:
        """To the convolution, or to the first norm."""
        if self.norm is NormPlace.AFTER_POOL:
            return site
        return replace(site, root=_behind_norms(site.root))


@dataclass(frozen=True, slots=True)
class DistributePool(_PoolMover):
    """Move average pools through concatenation, residual addition and batch norm: exact.

    Attributes:
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
    """

    name: ClassVar[str] = "distribute-pool"
    exact: ClassVar[bool] = True
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
