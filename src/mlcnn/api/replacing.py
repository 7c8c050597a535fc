"""Networks that stand for a module: one for each size of its inputs, while its weights stay."""

import threading
from collections.abc import Callable, Sequence
from operator import attrgetter, is_, methodcaller

import torch
from torch import Tensor

from mlcnn.api.in_engine import InEngine

__all__ = ["Networks", "Weights"]

_version, _address = attrgetter("_version"), methodcaller("data_ptr")

_MOST_NETWORKS = 8  # of different heights and widths: each holds the weights
_MOST_SHAPES = 256  # only names of networks: batches of many sizes

Kinds = tuple[tuple[tuple[int, ...], torch.dtype], ...]


class Weights:
    """Tensors that a network was made from, to find out whether they are still the same.

    Torch counts the changes of a tensor in place. Those through ``tensor.data`` are not counted,
    nor those of tensors made in inference mode; another array behind ``data`` is seen.
    """

    def __init__(self, parts: Sequence[object]) -> None:
        """Remember tensors as they are, and modules by themselves."""
        self._parts = tuple(parts)
        self._tensors = tuple(item for item in parts if isinstance(item, Tensor))
        self._counted = tuple(item for item in self._tensors if not item.is_inference())
        self._addresses = self._placed()
        self._versions = sum(map(_version, self._counted))

    def _placed(self) -> list[int]:
        return list(map(_address, self._tensors))

    def same(self, parts: Sequence[object]) -> bool:
        """Whether these are the first of them, and all are unchanged."""
        return (
            all(map(is_, parts, self._parts))
            and sum(map(_version, self._counted)) == self._versions
            and self._placed() == self._addresses
        )


class Networks:
    """Networks of one module by shapes and types of its inputs; made when they are first asked for.

    A network with a dynamic batch serves batches of all sizes.
    """

    def __init__(
        self, make: Callable[[Sequence[Tensor]], InEngine], made: Sequence[InEngine] = ()
    ) -> None:
        """Begin with none, or with those that are there.

        Args:
            make: a network for inputs of these shapes and types.
            made: networks.
        """
        self.made = list(made)
        self._make, self._lock = make, threading.Lock()
        self._known: dict[Kinds, InEngine] = {}

    def find(self, tensors: Sequence[Tensor]) -> InEngine:
        """The network for these inputs; threads that ask at the same time wait for one of them."""
        kinds = tuple([(tensor.shape, tensor.dtype) for tensor in tensors])
        found = self._known.get(kinds)
        if found is not None:
            return found
        with self._lock:
            return self._added(kinds, tensors)

    def _added(self, kinds: Kinds, tensors: Sequence[Tensor]) -> InEngine:
        found = next((one for one in self.made if one.takes(tensors)), None)
        if found is None:
            found = self._make(tensors)
            self.made = [*self.made[1 - _MOST_NETWORKS :], found]
            self._known = {kind: one for kind, one in self._known.items() if one in self.made}
        if len(self._known) >= _MOST_SHAPES:
            self._known = {}
        self._known[kinds] = found
        return found
