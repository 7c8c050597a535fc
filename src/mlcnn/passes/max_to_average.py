"""``max-to-average``: a max pool becomes an average pool ([MLCNN] section III-B).

Not an identity: a network rewritten so needs fine-tuning.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import layer_name
from mlcnn.ops import Pooling, average_pool_node, read_pooling
from mlcnn.passes.base import Change
from mlcnn.passes.rewriting import place
from mlcnn.passes.sites import find_site
from mlcnn.passes.skeleton import MAX_POOLS, Candidate, SitePass, names
from mlcnn.workload import Pool

__all__ = ["MaxToAverage", "WindowMode"]


class WindowMode(StrEnum):
    """The window of the average pool: the max pool's own, or as large as its stride."""

    KEEP = "keep"
    STRIDE = "stride"


def _narrowed(pooling: Pooling) -> Pooling | str:
    """The pool with a window as large as its stride, without padding."""
    pool = pooling.pool
    if pool is None or pool.kernel == pool.strides:
        return pooling
    narrow = Pool(pool.strides, pool.strides)
    height, width = pooling.size
    if height is None or width is None:
        return "the window can shrink to the stride only where height and width are static"
    for candidate in (narrow, replace(narrow, ceil_mode=True)):
        sizes = [
            (pool.output_size(size, axis), candidate.output_size(size, axis))
            for axis, size in enumerate((height, width))
        ]
        if all(old == new for old, new in sizes):
            return replace(pooling, pool=candidate)
    return f"a window of the stride's size would change the output size {sizes[0][0]}"


@dataclass(frozen=True, slots=True)
class MaxToAverage(SitePass):
    """Replace max pools by average pools, where ``fuse`` then takes the convolution.

    Attributes:
        window: ``stride``: the window shrinks to the stride, so that windows do not overlap;
            ``keep``: the window stays.
        all: replace every max pool, also where nothing is gained.
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
    """

    name: ClassVar[str] = "max-to-average"
    exact: ClassVar[bool] = False
    operators: ClassVar[frozenset[str]] = MAX_POOLS
    shared: ClassVar[frozenset[str]] = frozenset({"window", "all"})
    window: WindowMode = WindowMode.STRIDE
    all: bool = False
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def _target(self, node: ir.Node) -> Pooling | str:
        pooling = read_pooling(node)
        if isinstance(pooling, str) or self.window is WindowMode.KEEP:
            return pooling
        return _narrowed(pooling)

    def _site_nodes(self, node: ir.Node, target: Pooling) -> tuple[str, ...] | str:
        site = find_site(node, as_average=target)
        if not isinstance(site, str):
            return site.nodes
        return (layer_name(node),) if self.all else site

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | str:
        """A max pool whose average ``fuse`` takes, or every one if asked for."""
        target = self._target(node)
        nodes = target if isinstance(target, str) else self._site_nodes(node, target)
        if isinstance(target, str) or isinstance(nodes, str):
            return str(nodes)
        return Candidate(
            nodes, layer_name(node), partial(self._replace, model, node, target, nodes)
        )

    def _replace(
        self, model: ir.Model, node: ir.Node, target: Pooling, nodes: tuple[str, ...]
    ) -> Change | str:
        source, output = node.inputs[0], node.outputs[0]
        if source is None:
            return "the pool has no input"
        average = average_pool_node(target, source)
        average.name = node.name
        average.metadata_props.update(node.metadata_props)
        change = Change(self.name, nodes, False, inputs=names(source), outputs=names(output))
        place(model, [average], output, average.outputs[0])
        return change
