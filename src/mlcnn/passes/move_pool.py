"""``reorder`` and ``distribute-pool``: average pools move towards the convolutions before them.

``reorder`` swaps activation and pool ([MLCNN] section III):

    AvgPool(f(x))  ->  f(AvgPool(x))

Not an identity: for ReLU, relu(mean x) <= mean(relu x), with equality only where a window has one
sign. A network rewritten so needs fine-tuning. ``distribute-pool`` moves pools only through what
they commute with: concatenation, residual addition, and batch norm in inference.
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import clone, infer_shapes, layer_name
from mlcnn.ops import POOL_OPERATORS, read_pooling
from mlcnn.passes.base import Change, PassResult, Skipped
from mlcnn.passes.pointwise import pointwise_block
from mlcnn.passes.rewriting import hoist, rounded_again
from mlcnn.passes.sites import (
    Branch,
    Kind,
    Selection,
    Site,
    beyond_reach,
    find_site,
    is_moved,
    pools,
)

__all__ = ["DistributePool", "Reorder"]

_AVERAGE = POOL_OPERATORS - {"MaxPool"}


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


def _move_pools(
    model: ir.Model, name: str, selection: Selection, *, exact: bool, every: bool = False
) -> PassResult:
    model = clone(model)
    changes: list[Change] = []
    skipped = [Skipped(name, *inner) for inner in beyond_reach(model, _AVERAGE)]
    for node in pools(model, _AVERAGE):
        site = find_site(node)
        if isinstance(site, str) and every:
            site = _activation_site(node)
        if isinstance(site, str):
            if not is_moved(node):
                skipped.append(Skipped(name, layer_name(node), site))
            continue
        if site.adjacent or site.root.exact != exact:
            continue
        refusal = selection.refuses(site.nodes)
        if refusal is not None:
            skipped.append(Skipped(name, site.name, refusal))
            continue
        output = node.outputs[0].name or ""
        deviation = site.root.deviation if exact else 0.0
        change = Change(
            name,
            site.nodes,
            exact=exact,
            inputs=_inputs(site),
            outputs=(output,),
            reason=rounded_again(deviation) if deviation else "",
            deviation=deviation,
        )
        hoist(model, site)
        changes.append(change)
    if changes:
        infer_shapes(model)
    return PassResult(model, tuple(changes), tuple(skipped))


@dataclass(frozen=True, slots=True)
class Reorder:
    """Move average pools in front of activations, where ``fuse`` then takes the convolution.

    On the way the pool passes concatenations, residual additions and batch norms too.

    Attributes:
        all: swap every activation with the average pool behind it, also where nothing is gained.
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
    """

    name: ClassVar[str] = "reorder"
    exact: ClassVar[bool] = False
    shared: ClassVar[frozenset[str]] = frozenset({"all"})
    all: bool = False
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def apply(self, model: ir.Model) -> PassResult:
        """Return the reordered network."""
        selection = Selection(self.only, self.exclude)
        return _move_pools(model, self.name, selection, exact=False, every=self.all)


@dataclass(frozen=True, slots=True)
class DistributePool:
    """Move average pools through concatenation, residual addition and batch norm: exact.

    Attributes:
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
    """

    name: ClassVar[str] = "distribute-pool"
    exact: ClassVar[bool] = True
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with pools moved."""
        return _move_pools(model, self.name, Selection(self.only, self.exclude), exact=True)
