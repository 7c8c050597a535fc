"""Choices that a file holds, to repeat them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlcnn.engines.native.choice import Choice, Layer, Rule
from mlcnn.engines.native.kinds import Kind, shown
from mlcnn.engines.processor import named
from mlcnn.errors import InputError

__all__ = ["MismatchError", "saved"]

_REMEDY = "choose anew with --algorithm measured, or take what fits with --algorithm auto:FILE"
_LISTED = 3

Row = Mapping[str, Any]


class MismatchError(InputError):
    """A saved choice is of another network, batch or processor.

    Attributes:
        what: which of them, and what both are.
    """

    def __init__(self, path: Path, what: str) -> None:
        """Say it, with the remedy."""
        self.what = f"--algorithm {path}: {what}"
        super().__init__(f"{self.what}; {_REMEDY}")


def _objects(document: object) -> Iterator[Row]:
    """All objects in a document, however deep they stand."""
    if isinstance(document, list):
        for item in document:
            yield from _objects(item)
    elif isinstance(document, dict):
        yield document
        for item in document.values():
            yield from _objects(item)


def saved(path: Path) -> Rule:
    """Repeat the choices in a file that ``mlcnn bench --json`` wrote.

    Raises:
        InputError: it cannot be read, or holds none. The rule raises ``MismatchError``.
    """
    try:
        objects = list(_objects(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--algorithm {path}: {error}; `mlcnn bench --json` writes one") from error
    rows = [row for row in objects if _is_row(row)]
    if not rows:
        raise InputError(
            f"--algorithm {path}: it holds no algorithms of layers; `mlcnn bench --engine native "
            "--json` writes them"
        )
    others = {found for row in objects if (found := row.get("processor")) is not None}

    def rule(layers: Sequence[Layer]) -> list[Choice]:
        if others and named() not in others:
            there = ", ".join(map(str, others))
            raise MismatchError(path, f"it is another processor's: {there} there, {named()} here")
        return [_repeated(path, rows, layer) for layer in layers]

    return rule


def _is_row(row: Row) -> bool:
    return all(isinstance(row.get(key), str) for key in ("layer", "geometry", "algorithm"))


def _repeated(path: Path, rows: Sequence[Row], layer: Layer) -> Choice:
    kinds: dict[str, Kind] = {
        shown(
            kind, focused=layer.geometry.focused, compared=layer.geometry.compared is not None
        ): kind
        for kind in layer.ways
    }
    told = {row["geometry"]: row["algorithm"] for row in rows}
    name = told.get(layer.geometry.shown)
    if name is None and layer.geometry.few is not None and len(kinds) == 1:
        (name,) = kinds  # bytes, of which there is nothing to choose
    if name is None:
        raise MismatchError(path, _difference(rows, layer))
    if name not in kinds:
        raise MismatchError(
            path, f"it has {name!r} for layer {layer.name!r}, which does not compute "
            f"{layer.geometry.shown}",
        )  # fmt: skip
    kind = kinds[name]
    return Choice(kind, f"as in {path.name}", {kind: 1e3 * layer.ways[kind].seconds})


def _difference(rows: Sequence[Row], layer: Layer) -> str:
    """What the file is of, and what is asked for."""
    here = layer.geometry.shown
    there = [row["geometry"] for row in rows if row["layer"] == layer.name]
    images, _, rest = here.partition("x")
    batches = [g.partition("x")[0] for g in there if g.partition("x")[2] == rest]
    if batches:
        return (
            f"it is another batch's: layer {layer.name!r} has {', '.join(dict.fromkeys(batches))} "
            f"images there, {images} here"
        )
    if there:
        return f"it is another network's: layer {layer.name!r} is {there[0]} there, {here} here"
    names = list(dict.fromkeys(row["layer"] for row in rows))
    more = ", ..." if len(names) > _LISTED else ""
    return (
        f"it is another network's: layers {', '.join(names[:_LISTED])}{more} there, and no "
        f"{layer.name!r} ({here})"
    )
