"""Right passes made wrong, to see that the checks catch them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.passes import Fuse, Pass, PassResult

__all__ = ["Wrong", "attributes", "weights"]

Spoil = Callable[[ir.Model], None]


_BOX = Fuse(form="box")


@dataclass(frozen=True)
class Wrong:
    """A right pass made wrong: it rewrites a spoiled network, or spoils what it made.

    It says that it is exact, as every pass here would.
    """

    name: ClassVar[str] = "wrong"
    exact: ClassVar[bool] = True
    right: Pass = _BOX
    before: Spoil | None = None
    after: Spoil | None = None

    def apply(self, model: ir.Model) -> PassResult:
        spoiled = model.clone()
        if self.before:
            self.before(spoiled)
        result = self.right.apply(spoiled)
        if self.after:
            self.after(result.model)
        changes = tuple(
            replace(change, pass_name=self.name, exact=True) for change in result.changes
        )
        return replace(result, changes=changes)


def attributes(op_type: str, **changes: int | float | tuple[int, ...]) -> Spoil:
    """Overwrite attributes of every node of an operator."""

    def spoil(model: ir.Model) -> None:
        nodes = [node for node in model.graph if node.op_type == op_type]
        assert nodes, f"there is no {op_type} to spoil"
        for node in nodes:
            node.attributes.update(
                {attr.name: attr for attr in ir.convenience.convert_attributes(changes)}
            )

    return spoil


def weights(ending: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Change every initializer whose name ends so."""

    def spoil(model: ir.Model) -> None:
        found = [v for v in model.graph.initializers.values() if v.name.endswith(ending)]
        assert found, f"there is no {ending} to spoil"
        for value in found:
            array = value.const_value.numpy()
            changed = np.array(change(array), array.dtype, order="C")
            assert changed.shape == array.shape
            value.const_value = ir.Tensor(changed, name=value.name)

    return spoil
