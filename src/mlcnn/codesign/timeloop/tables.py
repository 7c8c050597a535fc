"""Energies and areas of components: Accelergy's reference tables."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlcnn.codesign.timeloop.document import Node
from mlcnn.errors import InputError, did_you_mean

__all__ = ["COMPUTE", "FILL", "READ", "UPDATE", "Actions", "read_areas", "read_energies"]

VERSIONS = ("0.2", "0.3", "0.4")
READ = ("random_read", "read")
FILL = ("random_fill", "random_write", "fill", "write")
UPDATE = ("random_update", "random_write", "update", "write")
COMPUTE = ("mac_random", "mult_random", "mac", "mult", "compute")
"""Names of an action, the first that a table has counts."""

_ACTION = ("name", "arguments", "energy")
_RANGE = re.compile(r"\[\d+\.\.\d+\]$")


@dataclass(frozen=True, slots=True)
class Actions:
    """Energies of one component.

    Attributes:
        node: where they stand.
        energy_pj: of each action; of the most expensive arguments where there are several.
    """

    node: Node
    energy_pj: Mapping[str, float]

    def of(self, names: Sequence[str], component: str) -> float:
        """Energy in pJ of the first action that there is.

        Args:
            names: of the action.
            component: whose it is, for the message.

        Raises:
            InputError: there is none of these.
        """
        for name in names:
            if name in self.energy_pj:
                return self.energy_pj[name]
        wanted = names[-1]
        hint = did_you_mean(wanted, self.energy_pj, otherwise="")
        known = ", ".join(self.energy_pj) or "none"
        raise InputError(
            f"{self.node.where}: component {component!r} has no energy of the action "
            f"{wanted!r}{hint}; its actions: {known}"
        )


def read_energies(node: Node) -> dict[str, Actions]:
    """An energy reference table: actions by the component's own name.

    Args:
        node: what stands behind the key ``ERT``.

    Raises:
        InputError: it is not of this form.
    """
    return {name: _actions(entry) for name, entry in _entries(node, "actions")}


def read_areas(node: Node) -> dict[str, float]:
    """An area reference table: um2 of one instance, by the component's own name.

    Args:
        node: what stands behind the key ``ART``.

    Raises:
        InputError: it is not of this form.
    """
    result: dict[str, float] = {}
    for name, entry in _entries(node, "area"):
        table = entry.table() if not isinstance(entry.value, int | float) else {"area": entry}
        if "area" not in table:
            raise entry.wrong("key 'area' is missing")
        result[name] = float(table["area"].number())
    return result


def _entries(node: Node, key: str) -> Iterator[tuple[str, Node]]:
    """Components by their own name: the last part of the path, without instances."""
    table = node.table(("version", "tables"))
    if "version" in table:
        table["version"].version(VERSIONS)
    if "tables" not in table:
        raise node.wrong("key 'tables' is missing")
    tables = table["tables"]
    if isinstance(tables.value, Mapping):
        for name, entry in tables.table(names=True).items():
            yield _own(name), entry
        return
    for entry in tables.items():
        parts = entry.table()
        for wanted in ("name", key):
            if wanted not in parts:
                raise entry.wrong(f"key {wanted!r} is missing")
        yield _own(parts["name"].text()), parts[key] if key == "actions" else entry


def _own(path: str) -> str:
    return _RANGE.sub("", path).rsplit(".", 1)[-1]


def _actions(node: Node) -> Actions:
    found: dict[str, float] = {}
    for name, energy in _energies(node):
        found[name] = max(energy, found.get(name, 0.0))
    return Actions(node, found)


def _energies(node: Node) -> Iterator[tuple[str, float]]:
    if not isinstance(node.value, Mapping):
        for item in node.items():
            table = item.table(_ACTION)
            for wanted in ("name", "energy"):
                if wanted not in table:
                    raise item.wrong(f"key {wanted!r} is missing")
            yield table["name"].text(), _energy(table["energy"])
        return
    for name, action in node.table().items():
        for entry in [action] if isinstance(action.value, Mapping) else action.items():
            table = entry.table(_ACTION)
            if "energy" not in table:
                raise entry.wrong("key 'energy' is missing")
            yield name, _energy(table["energy"])


def _energy(node: Node) -> float:
    value = float(node.number())
    if value < 0:
        raise node.wrong(f"an energy is no less than 0, got {value}")
    return value
