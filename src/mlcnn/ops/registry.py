"""Which methods there are: built-in ones and a user's own come by the same entry points."""

import functools
import logging
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import is_standard
from mlcnn.ops.average_pool import AVERAGE_POOL
from mlcnn.ops.block_circulant import BLOCK_CIRCULANT
from mlcnn.ops.comparator import COMPARATOR
from mlcnn.ops.focused import FOCUSED
from mlcnn.ops.geometry import Convolution, read_convolution
from mlcnn.ops.method import Form, Method
from mlcnn.ops.selected import SELECTED
from mlcnn.ops.shared_kernels import SHARED_KERNELS
from mlcnn.workload import Arithmetic, Record, read_record

__all__ = ["find_form", "forms", "method_of", "methods", "read_layer"]

_LOGGER = logging.getLogger(__name__)
_GROUP = "mlcnn.methods"
_BUILT_IN = (AVERAGE_POOL, BLOCK_CIRCULANT, SHARED_KERNELS, FOCUSED, SELECTED, COMPARATOR)


@functools.cache
def methods() -> Mapping[str, Method]:
    """All methods by name.

    A plug-in that cannot be imported is left out with a warning.

    Raises:
        InputError: two plug-ins give methods of one name, or forms or operators of one name, or
            one gives something else than a method.
    """
    found: dict[str, Method] = {method.name: method for method in _BUILT_IN}
    owners: dict[str, str] = dict.fromkeys(found, "mlcnn")
    for entry in entry_points(group=_GROUP):
        method = _loaded(entry)
        if method is None or any(method is known for known in _BUILT_IN):
            continue
        if method.name in found:
            raise InputError(
                f"two plug-ins give a method {method.name!r}: {owners[method.name]} and "
                f"{entry.value}; remove one of them, or rename its method"
            )
        found[method.name], owners[method.name] = method, entry.value
    _require_distinct_forms(found)
    return found


def _loaded(entry: EntryPoint) -> Method | None:
    try:
        method = entry.load()
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way
        _LOGGER.warning("method %r (%s) is left out: %s", entry.name, entry.value, error)
        return None
    if not isinstance(method, Method):
        raise InputError(
            f"entry point {entry.name!r} of {_GROUP} ({entry.value}) is a "
            f"{type(method).__name__}; an mlcnn.ops.Method is required"
        )
    return method


def _require_distinct_forms(found: Mapping[str, Method]) -> None:
    owners: dict[str, str] = {}
    for method in found.values():
        names = (*(form.name for form in method.forms), *map("::".join, method.operators))
        for name in names:
            if name in owners:
                raise InputError(
                    f"the methods {owners[name]!r} and {method.name!r} both have {name!r}; one of "
                    "them must call it otherwise"
                )
            owners[name] = method.name


def forms() -> dict[str, Form]:
    """The forms of all methods by name."""
    return {form.name: form for method in methods().values() for form in method.forms}


def find_form(name: str | None) -> Form | None:
    """The form of a name; None where no method has it."""
    return None if name is None else forms().get(name)


def read_layer(node: ir.Node) -> Convolution | str | None:
    """A convolution, or a node of a method's operator, as a layer.

    Returns:
        The layer; why it cannot be rewritten; None where the node is neither.
    """
    if node.op_type == "Conv" and is_standard(node):
        record = read_record(node)
        if isinstance(record, Record) and record.arithmetic is Arithmetic.COMPARE:
            return "it adds what comparisons in front of it choose, and is one layer with them"
        return read_convolution(node)
    method = method_of(node)
    return None if method is None or method.read is None else method.read(node)


def method_of(node: ir.Node) -> Method | None:
    """The method whose operator a node is."""
    key = (node.domain, node.op_type)
    return next((method for method in methods().values() if key in method.operators), None)
