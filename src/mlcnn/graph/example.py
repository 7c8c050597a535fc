"""What a module is called with, so that it can be exported."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mlcnn.errors import InputError

__all__ = ["Example", "ExampleInput"]

ExampleInput = Tensor | Sequence[object] | Mapping[str, object]
"""A tensor; a tuple or list of what the module is called with; or its arguments by name. Where the
module takes them so, arguments may be None, or tuples, lists and dicts of tensors."""


@dataclass(frozen=True, slots=True)
class Example:
    """An example input, sorted out.

    Attributes:
        arguments: by position.
        keywords: by name.
    """

    arguments: tuple[object, ...]
    keywords: Mapping[str, object]

    @classmethod
    def of(cls, given: object, name: str) -> "Example":
        """Sort out what a user gave.

        Args:
            given: see ``ExampleInput``.
            name: what messages begin with.

        Raises:
            InputError: there is no tensor in it, or something else than tensors.
        """
        match given:
            case Mapping():
                example = cls((), cast("Mapping[str, object]", given))
            case tuple() | list():
                example = cls(tuple(cast("Sequence[object]", given)), {})
            case _:
                example = cls((given,), {})
        leaves = example._leaves()
        wrong = [item for item in leaves if not isinstance(item, Tensor) and item is not None]
        if wrong or not example.tensors:
            found = type(wrong[0]).__name__ if wrong else f"{type(given).__name__} without one"
            raise InputError(
                f"{name}: the example input must consist of tensors, got a {found}; give a "
                "tensor, a tuple of what the module is called with, or a dict of its arguments by "
                "name (None where an argument is left out)"
            )
        return example

    def _leaves(self) -> list[object]:
        def is_none(item: object) -> bool:
            return item is None

        return pytree.tree_leaves((self.arguments, dict(self.keywords)), is_leaf=is_none)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors in it, in order."""
        return tuple(item for item in self._leaves() if isinstance(item, Tensor))

    def mapped(self, function: Callable[[Tensor], object]) -> "Example":
        """The same with another value for each tensor, in order."""

        def changed(item: object) -> object:
            return function(item) if isinstance(item, Tensor) else item

        both = (self.arguments, dict(self.keywords))
        arguments, keywords = pytree.tree_map(changed, both)
        return Example(arguments, keywords)

    def call(self, module: nn.Module) -> object:
        """What the module returns for it."""
        return module(*self.arguments, **self.keywords)

    def by_argument(self, module: nn.Module) -> dict[str, object]:
        """Its parts by the names of the parameters of the module's ``forward``."""
        bound = inspect.signature(module.forward).bind(*self.arguments, **self.keywords)
        return dict(bound.arguments)

    def __str__(self) -> str:
        return ", ".join(str(tuple(item.shape)) for item in self.tensors)
