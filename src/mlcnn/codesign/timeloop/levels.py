"""One storage component as a memory level."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from mlcnn.codesign.architecture import EnergyLaw, Level, Operand
from mlcnn.codesign.timeloop.document import Node
from mlcnn.codesign.timeloop.expression import Number
from mlcnn.codesign.timeloop.stages import Kind, Stage
from mlcnn.codesign.timeloop.tables import FILL, READ, UPDATE, Actions
from mlcnn.errors import InputError, UnsupportedError, did_you_mean

__all__ = ["actions_of", "level_of"]

_WORD_BITS = ("word_bits", "word_width", "datawidth")
_BLOCK = ("block_size", "n_words")
_WIDTH = ("width", "memory_width", "data_storage_width")
_DEPTH = ("depth", "memory_depth", "data_storage_depth")
_BANDWIDTHS = ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
_OTHER = ("entries", "sizeKB", "cluster_size", "bandwidth", "multiple_buffering",
          "vector_access_energy", "meshX", "meshY", "instances")  # fmt: skip
_READ = (*_WORD_BITS, *_BLOCK, *_WIDTH, *_DEPTH, *_BANDWIDTHS, *_OTHER)
_ACCELERGY = ("n_banks", "num_banks", "n_ports", "num_ports", "nports", "width_a", "width_b",
              "memory_size", "n_rdwr_ports", "n_rd_ports", "n_wr_ports")  # fmt: skip
_DEFAULT_BITS = 16
_KILOBYTE_BITS = 8192
_NOT_SCORED = {
    "min_utilization": 0,
    "allow_overbooking": False,
    "metadata_width": 0,
    "metadata_storage_width": 0,
    "addr_gen_energy": 0,
}
"""What only its default may be given for."""


def level_of(
    stage: Stage, keeps: tuple[Operand, ...], energies: Mapping[str, Actions] | None
) -> Level:
    """A storage component as a level, without its fan-out.

    As Timeloop has it: a line of ``width`` bits is a block of ``block_size`` words for each member
    of a cluster; an access takes a whole block and costs what the table says of a line.

    Args:
        stage: the component.
        keeps: operands that it may keep.
        energies: by the component's name; None where no table was given.

    Raises:
        InputError: an attribute is not of its form, or there is no energy for it.
        UnsupportedError: it has attributes that are not scored.
    """
    if stage.kind is Kind.DUMMY:
        return Level(stage.name, (), 1)
    _check_attributes(stage)
    numbers = _Numbers(stage)
    bits = numbers.whole(_WORD_BITS, _DEFAULT_BITS)
    block, cluster = _line(stage, numbers, bits)
    read, write = _energies(stage, keeps, energies)
    words = block * cluster
    reading, writing, both = _bandwidths(numbers)
    return Level(
        stage.name, keeps, bits, _capacity(numbers, bits, block), EnergyLaw(read / words),
        None if write == read else EnergyLaw(write / words), block, reading, writing, both,
    )  # fmt: skip


class _Numbers:
    """Attributes of a component by any of their names."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def node(self, names: Sequence[str]) -> Node | None:
        found = (self.stage.attributes.get(name) for name in names)
        return next((node for node in found if node is not None and node.value is not None), None)

    def whole(self, names: Sequence[str], default: int = 0) -> int:
        node = self.node(names)
        return default if node is None else node.whole(self.stage.names)

    def number(self, name: str) -> Number | None:
        node = self.node((name,))
        return None if node is None else node.number(self.stage.names)


def _check_attributes(stage: Stage) -> None:
    for name, node in stage.attributes.items():
        default = _NOT_SCORED.get(name)
        if default is not None and node.value not in (default, None):
            raise UnsupportedError(
                f"{node.where}: {node.place} is {node.value}: only {default} is scored"
            )
        if name == "per_dataspace_bandwidth_consumption_scale" and node.value:
            raise UnsupportedError(f"{node.where}: {node.place} is not scored")
        if name in (*_READ, *_NOT_SCORED, *_ACCELERGY):
            continue
        # Accelergy's plug-ins have attributes of their own, so only what looks misspelt is told.
        near = get_close_matches(name, _READ, n=1, cutoff=0.8)
        if near and near[0] not in stage.attributes:
            raise InputError(f"{node.where}: unknown key {node.place!r}; did you mean {near[0]!r}?")


def _line(stage: Stage, numbers: _Numbers, bits: int) -> tuple[int, int]:
    """Words of a block, and members of a cluster."""
    block, cluster = numbers.whole(_BLOCK), numbers.whole(("cluster_size",))
    width = numbers.node(_WIDTH)
    if width is None:
        return block or 1, cluster or 1
    line = width.whole(stage.names)
    words, rest = divmod(line, bits)
    if rest or words % (block or 1) or words % (cluster or 1):
        raise width.wrong(
            f"a line of {line} bits is no whole number of blocks of {block or 1} words of {bits} "
            f"bits for clusters of {cluster or 1}"
        )
    if block and cluster and block * cluster != words:
        raise width.wrong(
            f"a line of {line} bits is {words} words, and block_size x cluster_size is "
            f"{block} x {cluster}"
        )
    if block:
        return block, words // block
    return words // (cluster or 1), cluster or 1


def _capacity(numbers: _Numbers, bits: int, block: int) -> int | None:
    """Words that it holds; of several buffers, one."""
    entries, kilobytes = numbers.whole(("entries",)), numbers.whole(("sizeKB",))
    words = entries or numbers.whole(_DEPTH) * block or kilobytes * _KILOBYTE_BITS // bits
    buffers = numbers.number("multiple_buffering") or 1
    return int(words // buffers) or None


def _bandwidths(numbers: _Numbers) -> tuple[float | None, float | None, float | None]:
    """Words a cycle: read, written, both."""
    half = numbers.number("bandwidth")
    read, write, shared = (numbers.number(name) for name in _BANDWIDTHS)
    if half is not None:
        read = half / 2 if read is None else read
        write = half / 2 if write is None else write
    return _real(read), _real(write), _real(shared)


def _real(value: Number | None) -> float | None:
    return None if value is None else float(value)


def _energies(
    stage: Stage, keeps: tuple[Operand, ...], energies: Mapping[str, Actions] | None
) -> tuple[float, float]:
    """Energy of reading and of writing a line."""
    own = stage.attributes.get("vector_access_energy")
    if own is not None:
        return (value := float(own.number(stage.names))), value
    actions = actions_of(stage, energies)
    read, fill = actions.of(READ, stage.name), actions.of(FILL, stage.name)
    if Operand.OUTPUT in keeps and (update := actions.of(UPDATE, stage.name)) != fill:
        raise UnsupportedError(
            f"{actions.node.where}: component {stage.name!r}: an update has {update} pJ and a "
            f"write {fill} pJ; a level has one energy for both here"
        )
    return read, fill


def actions_of(stage: Stage, energies: Mapping[str, Actions] | None) -> Actions:
    """The energies of a component.

    Raises:
        InputError: there are none.
    """
    where = f"{stage.node.where}: component {stage.name!r} has no energy"
    if energies is None:
        raise InputError(
            f"{where}: give the energy reference table of the architecture too (the file with the "
            "key ERT), or vector_access_energy among its attributes"
        )
    if stage.name not in energies:
        known = ", ".join(energies) or "nothing"
        hint = did_you_mean(stage.name, energies, otherwise="")
        raise InputError(f"{where} in the table{hint}; the ERT has {known}")
    return energies[stage.name]
