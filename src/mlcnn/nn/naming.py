"""Names of submodules: those of the network's layers, unique and legal in torch."""

import re

import onnx_ir as ir
from torch import fx

from mlcnn.graph import layer_name

__all__ = ["Names", "owner_name"]

_RESERVED = frozenset(dir(fx.GraphModule))
_ILLEGAL = re.compile(r"[^0-9A-Za-z_.]")


def _legal(name: str) -> str:
    """``name`` as a module path: its parts are no attributes that torch's modules have."""
    parts = [part for part in _ILLEGAL.sub("_", name).split(".") if part]
    return ".".join(f"{part}_" if part in _RESERVED else part for part in parts) or "node"


def owner_name(node: ir.Node, weight: ir.Value, parameter: str) -> str:
    """The module that owns a weight: ``features.3`` for ``features.3.weight``."""
    module, _, last = str(weight.name).rpartition(".")
    return _legal(module if module and last == parameter else layer_name(node))


class Names:
    """Hands out names; a name is never the parent of another one's module by accident."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._parents: set[str] = set()

    def reserve(self, name: str) -> str:
        """A free name, ``name`` itself where it is free."""
        free, count = name, 0
        while free in self._taken:
            count += 1
            free = f"{name}_{count}"
        return self._take(free)

    def stateless(self, node: ir.Node) -> str:
        """A free name for a node without weights, which must not hold other modules."""
        name = _legal(layer_name(node))
        if name in self._parents:
            name = f"{name}.{node.op_type.lower()}"
        free, count = name, 0
        while free in self._taken or free in self._parents:
            count += 1
            free = f"{name}_{count}"
        return self._take(free)

    def _take(self, name: str) -> str:
        self._taken.add(name)
        parts = name.split(".")
        self._parents.update(".".join(parts[:end]) for end in range(1, len(parts)))
        return name
