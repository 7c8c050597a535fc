"""Technology tables by name, or from a user's YAML file."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pydantic import Field, PositiveFloat
from pydantic import NonNegativeFloat as Amount

from mlcnn.accelerators.border import Document, is_file, read_yaml, unknown
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.technology.memory import MemoryTable, Register, read_table
from mlcnn.accelerators.technology.tables import (
    Dram,
    Operation,
    OperationCosts,
    Technology,
    data_folder,
)

__all__ = ["DEFAULT_TECHNOLOGY", "load_technology", "technology_names"]

_OPERATIONS = "horowitz-45nm"
_MEMORIES = {"cacti-45nm-lop": "itrs-lop", "cacti-45nm-hp": "itrs-hp"}
_DRAMS = ("hbm2", "gddr5", "horowitz-dram")
_CACTI = "CACTI (HewlettPackard/cacti, 2017), 45 nm, 350 K, RAM, one bank"

DEFAULT_TECHNOLOGY = "horowitz-45nm+cacti-45nm-lop+hbm2"
"""Low operating power memories reach 1 GHz at these sizes and leak 75 times less than high
performance ones; HBM2 is a memory of the 64 GB/s that 64 bytes a cycle at 1 GHz ask for."""


class _Operation(Document):
    energy_pj: Amount
    area_um2: Amount


class _Operations(Document):
    multiply: _Operation
    add: _Operation
    accumulate: _Operation
    input_add: _Operation


class _Precisions(Document):
    fp32: _Operations
    fp16: _Operations
    int8: _Operations
    int16: _Operations | None = None
    int12: _Operations | None = None


class _Register(Document):
    energy_pj_per_bit: Amount
    area_um2_per_bit: Amount
    source: str = Field(min_length=1)


class _OperationTable(Document):
    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    operations: _Precisions
    register_: _Register = Field(alias="register")
    selector: _Register | None = None
    full_adder: _Register | None = None


class _Memory(Document):
    name: str = Field(min_length=1)
    table: str = Field(min_length=1)
    cell: str = Field(min_length=1)
    source: str = Field(min_length=1)


class _DramEntry(Document):
    pj_per_bit: PositiveFloat
    source: str = Field(min_length=1)


class _NamedDram(_DramEntry):
    name: str = Field(min_length=1)


class _Drams(Document):
    hbm2: _DramEntry
    gddr5: _DramEntry
    horowitz_dram: _DramEntry = Field(alias="horowitz-dram")


class _UserTechnology(Document):
    base: str = DEFAULT_TECHNOLOGY
    operations: _OperationTable | None = None
    memory: _Memory | None = None
    dram: _NamedDram | None = None


def technology_names() -> tuple[str, ...]:
    """The built-in technologies: operations, memory and DRAM, joined by ``+``."""
    return tuple(f"{_OPERATIONS}+{memory}+{dram}" for memory in _MEMORIES for dram in _DRAMS)


def load_technology(name: str | Path = DEFAULT_TECHNOLOGY) -> Technology:
    """A technology by name, or a user's own.

    Args:
        name: one of ``technology_names()``, or parts of one, as ``horowitz-45nm`` or
            ``horowitz-45nm+gddr5``: parts that are left away are those of ``DEFAULT_TECHNOLOGY``.
            Or a path of a ``.yaml`` file with the keys ``base`` (a name) and any of
            ``operations``, ``memory`` and ``dram`` that replace its parts.

    Raises:
        InputError: the name is not known or the file is wrong.
    """
    if is_file(name):
        return _user(Path(name))
    whole = _completed(str(name))
    if whole not in technology_names():
        raise unknown("technology", name, technology_names())
    return _built_in(whole)


def _completed(name: str) -> str:
    """The name with the default's parts where it has none; as it is if a part is not known."""
    given = name.split("+")
    chosen: list[str] = []
    for known, default in zip(
        ((_OPERATIONS,), _MEMORIES, _DRAMS), DEFAULT_TECHNOLOGY.split("+"), strict=True
    ):
        found = [part for part in given if part in known]
        chosen.append(found[0] if found else default)
    whole = "+".join(chosen)
    return whole if sorted({*given} & {*chosen}) == sorted(given) else name


@lru_cache
def _built_in(name: str) -> Technology:
    _, memory, dram = name.split("+")
    folder = data_folder()
    table = read_yaml(folder / f"{_OPERATIONS}.yaml", _OperationTable, "technology")
    drams = read_yaml(folder / "dram.yaml", _Drams, "technology").model_dump(by_alias=True)
    macros = read_table(folder / "cacti-45nm.csv", _MEMORIES[memory], memory, _CACTI)
    return _assemble(table, macros, Dram(dram, **drams[dram]))


def _assemble(table: _OperationTable, memory: MemoryTable, dram: Dram) -> Technology:
    operations = {
        Precision(precision): OperationCosts(**{key: Operation(**one) for key, one in part.items()})
        for precision, part in table.operations.model_dump(exclude_none=True).items()
    }
    register = Register(**table.register_.model_dump())
    beside = (
        None if one is None else Register(**one.model_dump())
        for one in (table.selector, table.full_adder)
    )  # fmt: skip
    return Technology(table.name, operations, table.source, register, memory, dram, *beside)


def _user(path: Path) -> Technology:
    given = read_yaml(path, _UserTechnology, "technology")
    result = load_technology(given.base)
    if given.operations is not None:
        result = _assemble(given.operations, result.memory, result.dram)
    if given.memory is not None:
        file = path.parent / given.memory.table
        memory = read_table(file, given.memory.cell, given.memory.name, given.memory.source)
        result = replace(result, memory=memory)
    if given.dram is not None:
        result = replace(result, dram=Dram(**given.dram.model_dump()))
    return result
