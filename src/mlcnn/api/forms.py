"""What a module is called with, or returns, as a flat list of tensors and the form around them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from mlcnn.errors import MlcnnError

__all__ = ["CALL", "ONE", "Form", "flatten"]


class _Word(str):
    __slots__ = ()
    __repr__ = str.__str__


@dataclass(frozen=True, slots=True)
class Form:
    """Tuples, lists and dicts around tensors.

    Attributes:
        tree: the containers.
        tensors: for each leaf in order whether it is a tensor; the others are None.
    """

    tree: pytree.TreeSpec
    tensors: tuple[bool, ...]

    def fill(self, tensors: Sequence[Tensor]) -> object:
        """Such a value with these tensors in it."""
        if self is ONE:
            return tensors[0]
        given: Iterator[Tensor] = iter(tensors)
        leaves = [next(given) if is_tensor else None for is_tensor in self.tensors]
        return pytree.tree_unflatten(leaves, self.tree)

    def __str__(self) -> str:
        """With ``tensor`` and ``None`` for what is in it; a call as it is written."""
        leaves = [_Word("tensor" if is_tensor else "None") for is_tensor in self.tensors]
        value: Any = pytree.tree_unflatten(leaves, self.tree)
        if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[1], dict):
            return repr(value)
        arguments, keywords = value
        named = [f"{name}={item!r}" for name, item in keywords.items()]
        return f"({', '.join([*map(repr, arguments), *named])})"

    def __reduce__(self) -> tuple[Callable[..., "Form"], tuple[str, tuple[bool, ...]]]:
        """How it is pickled and copied: torch's own way warns of itself."""
        return _loaded, (pytree.treespec_dumps(self.tree), self.tensors)


def _loaded(tree: str, tensors: tuple[bool, ...]) -> Form:
    return _settled(Form(pytree.treespec_loads(tree), tensors))


def _settled(form: Form) -> Form:
    """The same, and for a tensor alone always the same object, which is faster to compare."""
    return next((known for known in (ONE, CALL) if form == known), form)


def flatten(
    value: object, refused: Callable[[object], MlcnnError] | None = None
) -> tuple[Form, list[Tensor]]:
    """A value's form, and the tensors in it in order.

    Args:
        value: tensors and None in tuples, lists, dicts and other containers that torch knows.
        refused: what to raise for a leaf that is neither; by default it is taken for None.
    """
    if isinstance(value, Tensor):
        return ONE, [value]
    leaves, tree = pytree.tree_flatten(value)
    tensors: list[Tensor] = []
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            tensors.append(leaf)
        elif leaf is not None and refused is not None:
            raise refused(leaf)
    return _settled(Form(tree, tuple(isinstance(leaf, Tensor) for leaf in leaves))), tensors


ONE = Form(pytree.tree_structure(0), (True,))
"""A tensor alone."""
CALL = Form(pytree.tree_structure(((0,), {})), (True,))
"""Arguments of a call by position and by name: a tensor alone by position."""
