"""``fuse``: convolution and average pool become one operator; exact ([MLCNN] section IV, Eq. 3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import layer_name
from mlcnn.ops import POOL_OPERATORS, forms
from mlcnn.passes.base import Skipped
from mlcnn.passes.lowering import Found, Lowering
from mlcnn.passes.sites import Site, beyond_reach, find_site, is_moved, pools

__all__ = ["Fuse"]

_AVERAGE = POOL_OPERATORS - {"MaxPool"}


@dataclass(frozen=True, slots=True)
class Fuse(Lowering):
    """Fuse every convolution with the average pool directly behind it.

    A layer whose weights have a structure keeps it: the pool goes in front of it.
    """

    name: ClassVar[str] = "fuse"

    def find(self, model: ir.Model) -> Iterator[Found | Skipped]:
        """Every convolution with an average pool directly behind it."""
        for inner in beyond_reach(model, _AVERAGE):
            yield Skipped(self.name, *inner)
        for node in pools(model, _AVERAGE):
            site = find_site(node)
            if not isinstance(site, str):
                yield self._adjacent(site)
            elif not is_moved(node):
                yield Skipped(self.name, layer_name(node), site)

    def _adjacent(self, site: Site) -> Found | Skipped:
        if not site.adjacent:
            way = "distribute-pool (exact)" if site.root.exact else "reorder (approximate)"
            reason = "the pool does not stand directly behind the convolution"
            return Skipped(self.name, site.name, f"{reason}: {way} moves it there")
        (convolution,) = site.root.convolutions
        return Found(convolution, site.pooling, site.nodes, tuple(forms().values()), site.rounding)
