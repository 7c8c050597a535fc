"""A number for each layer as the user writes it: ``8``, ``8+classifier.1=64``."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mlcnn.errors import InputError

__all__ = ["LayerSizes"]


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """One number for all layers, and those of single ones.

    Attributes:
        option: of which pass they are, as ``block-circulant: block``.
        usual: of a layer that is not named; None where it stays as it is.
        single: by name of the layer.
    """

    option: str
    usual: int | None
    single: Mapping[str, int]

    @classmethod
    def parse(cls, text: str, option: str, example: str) -> "LayerSizes":
        """From ``8``, ``8+classifier.1=64`` or ``classifier.1=64``.

        Args:
            text: what the user wrote.
            option: of which pass, as ``block-circulant: block``.
            example: of such a text, for messages.

        Raises:
            InputError: a number is no positive integer.
        """
        usual, single = None, dict[str, int]()
        for item in text.split("+"):
            layer, equals, size = item.rpartition("=")
            if not size.isdecimal() or int(size) < 1:
                name = option.rpartition(" ")[2]
                raise InputError(
                    f"{option} {item!r}: a positive integer is required, as in "
                    f"{name}={example.partition('+')[0]} or {name}={example}"
                )
            if equals:
                single[layer] = int(size)
            else:
                usual = int(size)
        return cls(option, usual, single)

    def of(self, layer: str) -> int | None:
        """Of a layer; None where it stays as it is."""
        return self.single.get(layer, self.usual)

    def require(self, layers: Collection[str]) -> None:
        """Check that every layer with a number of its own is there.

        Raises:
            InputError: one is not.
        """
        for name in self.single:
            if name not in layers:
                near = difflib.get_close_matches(name, layers, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(f"{self.option}={name}=...: there is no such layer{hint}")
