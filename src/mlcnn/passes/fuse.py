"""``fuse``: convolution and average pool become one operator; exact ([MLCNN] section IV, Eq. 3)."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.ops import forms
from mlcnn.passes.base import Skipped
from mlcnn.passes.lowering import Found, Lowering
from mlcnn.passes.sites import find_site, is_moved
from mlcnn.passes.skeleton import AVERAGE_POOLS

__all__ = ["Fuse"]


@dataclass(frozen=True, slots=True)
class Fuse(Lowering):
    """Fuse every convolution with the average pool directly behind it.

    A layer whose weights have a structure keeps it: the pool goes in front of it.
    """

    name: ClassVar[str] = "fuse"
    operators: ClassVar[frozenset[str]] = AVERAGE_POOLS

    def find(self, node: ir.Node) -> Found | Skipped | str | None:
        """A convolution with an average pool directly behind it."""
        site = find_site(node)
        if isinstance(site, str):
            return None if is_moved(node) else site
        if not site.adjacent:
            way = "distribute-pool (exact)" if site.root.exact else "reorder (approximate)"
            reason = "the pool does not stand directly behind the convolution"
            return Skipped(self.name, site.name, f"{reason}: {way} moves it there")
        (convolution,) = site.root.convolutions
        return Found(convolution, site.pooling, site.nodes, tuple(forms().values()), site.rounding)
