"""Architectures of both forms as one list of what lies one inside the other, outermost first."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from mlcnn.codesign.timeloop.document import Node
from mlcnn.codesign.timeloop.expression import Number
from mlcnn.errors import InputError, UnsupportedError, did_you_mean

__all__ = ["Kind", "Stage", "stages_of"]

_VERSIONS = {"subtree": ("0.2", "0.3", "0.4"), "nodes": ("0.4",)}
_COMPONENT = (
    "name", "class", "subclass", "attributes", "spatial", "constraints", "required_actions",
    "area_scale", "energy_scale", "enabled", "sparse_optimizations",
)  # fmt: skip
_CONTAINER = ("name", "attributes", "spatial", "constraints", "sparse_optimizations", "networks")
_TREE = ("name", "attributes", "local", "subtree")
_LEAF = ("name", "class", "subclass", "attributes", "required_actions", "enabled", "area_share")
_NAME = re.compile(r"([\w.-]+?)(?:\[(\d+)\.\.(\d+)\])?")


class Kind(StrEnum):
    """What a stage is."""

    STORAGE = "storage"
    COMPUTE = "compute"
    NETWORK = "network"
    DUMMY = "dummy"
    """A level that holds nothing and costs nothing."""
    FAN = "fan"
    """Only more instances of what lies inside."""


_CLASSES = {
    Kind.DUMMY: ("dummy",),
    Kind.NETWORK: ("noc", "legacy", "reductiontree", "simplemulticast", "wire"),
    Kind.COMPUTE: ("mac", "compute"),
    Kind.STORAGE: ("dram", "sram", "regfile", "smartbuffer", "storage", "buffer", "register"),
}
"""Parts of the names of classes, in the order in which they are looked for."""
_KNOWN = ("DRAM", "SRAM", "regfile", "smartbuffer", "storage", "intmac", "fpmac", "mac", "compute")


@dataclass(frozen=True, slots=True)
class Stage:
    """A component, or more instances of what lies inside.

    Attributes:
        name: of it.
        kind: of it.
        node: where it stands.
        attributes: of it.
        names: values that its expressions may name.
        mesh: instances along both axes, all stages outside it counted.
        constraints: that stand with it.
        branch: constraints of all components of its branch of a !Parallel; None outside of one.
            A branch holds only what one of them says that it keeps.
    """

    name: str
    kind: Kind
    node: Node
    attributes: Mapping[str, Node]
    names: Mapping[str, Number]
    mesh: tuple[int, int]
    constraints: Node | None = None
    branch: tuple[Node, ...] | None = None


def stages_of(node: Node, names: Mapping[str, Number]) -> tuple[list[Stage], bool]:
    """What an architecture consists of.

    Args:
        node: what stands behind the key ``architecture``.
        names: variables.

    Returns:
        The stages, outermost first, and whether it is of the form with ``nodes`` (v4), where loops
        side by side belong to the inner component, not to the outer.

    Raises:
        InputError: it is of no form that is known.
        UnsupportedError: it has parts that are not scored.
    """
    table = node.table()
    form = next((key for key in _VERSIONS if key in table), None)
    if form is None:
        hint = did_you_mean("nodes", table, otherwise="")
        raise node.wrong(f"it must have the key 'nodes' (v4) or 'subtree' (v3){hint}")
    node.table((form, "version", "attributes") if form == "subtree" else (form, "version"))
    if "version" in table:
        table["version"].version(_VERSIONS[form])
    if form == "nodes":
        walk = _Flat(dict(names))
        return list(walk.nodes(table["nodes"], parallel=False)), True
    return list(_tree(table["subtree"], {}, names, 1)), False


def numbers(attributes: Mapping[str, Node], names: Mapping[str, Number]) -> dict[str, Number]:
    """What the attributes are worth, those that are numbers, beside other names."""
    result = dict(names)
    for key, node in attributes.items():
        try:
            result[key] = node.number(result)
        except InputError:
            continue
    return result


def _kind(node: Node, name: str, kind: Node | None) -> Kind:
    if kind is None:
        raise node.wrong(f"component {name!r}: key 'class' is missing")
    text = kind.text().lower()
    for result, parts in _CLASSES.items():
        if any(part in text for part in parts):
            return result
    hint = did_you_mean(kind.text(), _KNOWN, otherwise="")
    raise kind.wrong(
        f"component {name!r} is of the class {kind.text()!r}, which is no storage and no "
        f"arithmetic that is known{hint}; known: {', '.join(_KNOWN)}"
    )


def _check_dense(node: Node | None) -> None:
    if node is not None and node.value:
        raise UnsupportedError(f"{node.where}: {node.place}: gating and compression are not scored")


class _Flat:
    """The form with nodes: what follows in a list lies inside what stood before."""

    def __init__(self, names: dict[str, Number]) -> None:
        self.names = names
        self.mesh = (1, 1)
        self.branch: tuple[Node, ...] | None = None

    def nodes(self, node: Node, *, parallel: bool) -> Iterator[Stage]:
        for item in node.items():
            outer = self.branch
            if parallel:
                self.branch = tuple(_all_constraints(item))
            match item.tag:
                case "!Container":
                    yield from self._container(item, parallel=parallel)
                case "!Component":
                    yield from self._component(item, parallel=parallel)
                case "!Hierarchical" | "!Parallel" | "!Pipelined":
                    side = item.tag == "!Parallel"
                    table = item.table(("nodes", "name"))
                    if "nodes" in table:
                        yield from self.nodes(table["nodes"], parallel=side)
                case "!Nothing":
                    pass
                case _:
                    raise item.wrong("it needs a tag, as !Component or !Container")
            self.branch = outer

    def _container(self, item: Node, *, parallel: bool) -> Iterator[Stage]:
        table = item.table(_CONTAINER)
        _check_dense(table.get("sparse_optimizations"))
        attributes = _part(table, "attributes")
        self.names = numbers(attributes, self.names)
        yield from self._fan(item, table, attributes, parallel=parallel)

    def _component(self, item: Node, *, parallel: bool) -> Iterator[Stage]:
        table = item.table(_COMPONENT)
        if "enabled" in table and not table["enabled"].truth():
            return
        _check_dense(table.get("sparse_optimizations"))
        attributes = _part(table, "attributes")
        yield from self._fan(item, table, attributes, parallel=parallel)
        name = _named(item, table)[0]
        scale = table.get("energy_scale")
        if scale is not None and scale.value is not None:
            raise UnsupportedError(f"{scale.where}: {scale.place} is not read; scale the ERT")
        yield Stage(
            name, _kind(item, name, table.get("class")), item, attributes,
            numbers(attributes, self.names), self.mesh, table.get("constraints"),
            self.branch,
        )  # fmt: skip

    def _fan(
        self, item: Node, table: Mapping[str, Node], attributes: Mapping[str, Node], *,
        parallel: bool,
    ) -> Iterator[Stage]:  # fmt: skip
        """A stage of its own where there are several instances."""
        spatial = table["spatial"].table(("meshX", "meshY")) if _filled(table, "spatial") else {}
        names = numbers(attributes, self.names)
        x, y = (spatial[key].whole(names) if key in spatial else 1 for key in ("meshX", "meshY"))
        name, many = _named(item, table)
        if many > 1:
            raise item.wrong(f"{name!r}: write its instances as spatial: {{meshX: {many}}}")
        if x * y == 1:
            return
        if parallel:
            raise UnsupportedError(
                f"{item.where}: {name!r} has several instances inside a !Parallel; put them into "
                "a !Container in front of it"
            )
        # The constraints of a component stand with the component itself.
        own = table.get("constraints") if item.tag == "!Container" else None
        yield Stage(name, Kind.FAN, item, {}, names, self.mesh, own)
        self.mesh = self.mesh[0] * x, self.mesh[1] * y


def _all_constraints(item: Node) -> Iterator[Node]:
    """Constraints of a branch and of all that it has inside."""
    table = item.table()
    if _filled(table, "constraints"):
        yield table["constraints"]
    for inside in table["nodes"].items() if _filled(table, "nodes") else []:
        yield from _all_constraints(inside)


def _tree(
    node: Node, above: Mapping[str, Node], names: Mapping[str, Number], many: int
) -> Iterator[Stage]:
    """The form with subtrees: local components, then what lies inside."""
    for item in node.items():
        table = item.table(_TREE)
        attributes = {**above, **_part(table, "attributes")}
        inside = many * _named(item, table)[1]
        for leaf in table["local"].items() if _filled(table, "local") else []:
            found = _leaf(leaf, attributes, names, inside)
            if found is not None:
                yield found
        if _filled(table, "subtree"):
            yield from _tree(table["subtree"], attributes, names, inside)


def _leaf(
    node: Node, above: Mapping[str, Node], names: Mapping[str, Number], many: int
) -> Stage | None:
    table = node.table(_LEAF)
    if "enabled" in table and not table["enabled"].truth():
        return None
    name, own = _named(node, table)
    own_attributes = _part(table, "attributes")
    scope = numbers({**above, **own_attributes}, names)
    kind = _kind(node, name, table.get("class"))
    stage = Stage(name, kind, node, own_attributes, scope, (1, 1))
    instances = many * own
    if "instances" in own_attributes:
        instances = own_attributes["instances"].whole(scope)
    mesh = [own_attributes[key].whole(scope) if key in own_attributes else 0
            for key in ("meshX", "meshY")]  # fmt: skip
    x = mesh[0] or (instances // mesh[1] if mesh[1] else instances)
    y = mesh[1] or instances // x
    if x * y != instances:
        raise node.wrong(f"{name!r} has {instances} instances, which are not {x} x {y}")
    return replace(stage, mesh=(x, y))


def _part(table: Mapping[str, Node], key: str) -> Mapping[str, Node]:
    return table[key].table() if _filled(table, key) else {}


def _filled(table: Mapping[str, Node], key: str) -> bool:
    return key in table and table[key].value is not None


def _named(node: Node, table: Mapping[str, Node]) -> tuple[str, int]:
    """The name of a component, and the number of its instances in brackets."""
    if "name" not in table:
        raise node.wrong("key 'name' is missing")
    found = _NAME.fullmatch(table["name"].text().strip())
    if found is None:
        raise table["name"].wrong(f"{table['name'].text()!r} is no name; as 'PE[0..15]'")
    if found[2] is None:
        return found[1], 1
    many = int(found[3]) - int(found[2]) + 1
    if many < 1:
        raise table["name"].wrong(f"{table['name'].text()!r} has no instances")
    return found[1], many
