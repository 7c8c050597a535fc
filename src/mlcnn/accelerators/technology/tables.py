"""Technology: energy and area of operations, memories and DRAM, each with its source."""

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.technology.memory import MemoryTable, Register
from mlcnn.errors import InputError

__all__ = ["Dram", "Operation", "OperationCosts", "Technology"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        energy_pj: dynamic energy.
        area_um2: area of the unit.
    """

    energy_pj: float
    area_um2: float


@dataclass(frozen=True, slots=True)
class OperationCosts:
    """The operations of one precision.

    Attributes:
        multiply: weight times input.
        add: in the adder tree.
        accumulate: onto a 32-bit entry; also bias and pool.
        input_add: in the input unit.
    """

    multiply: Operation
    add: Operation
    accumulate: Operation
    input_add: Operation


@dataclass(frozen=True, slots=True)
class Dram:
    """DRAM.

    Attributes:
        name: what results call it.
        pj_per_bit: energy of a bit loaded or stored.
        source: where the number is from.
    """

    name: str
    pj_per_bit: float
    source: str


@dataclass(frozen=True, slots=True)
class Technology:
    """All constants of an energy and area estimate.

    Attributes:
        operations_name: name of the table of operations.
        operations: by precision.
        operations_source: where they are from.
        register: flip-flops.
        selector: multiplexers of two bits; None where the table has none.
        full_adder: of counters of ones, likewise.
        memory: on-chip memories.
        dram: DRAM.
    """

    operations_name: str
    operations: Mapping[Precision, OperationCosts]
    operations_source: str
    register: Register
    memory: MemoryTable
    dram: Dram
    selector: Register | None = None
    full_adder: Register | None = None

    @property
    def name(self) -> str:
        """The tables that make it up; it stands in every result."""
        return "+".join((self.operations_name, self.memory.name, self.dram.name))

    def costs(self, precision: Precision) -> OperationCosts:
        """The operations of one precision.

        Raises:
            InputError: the table has none of that precision.
        """
        found = self.operations.get(precision)
        if found is None:
            raise InputError(
                f"table {self.operations_name} has no operations of {precision.value}, only of "
                f"{', '.join(sorted(self.operations))}: add a row of that name to it"
            )
        return found

    def selecting(self) -> Register:
        """A multiplexer of two bits.

        Raises:
            InputError: the table has none.
        """
        return self._needed(
            "selector", "multiplexers", "leaves out zeros selects its inputs by them"
        )

    def adding(self) -> Register:
        """A full adder.

        Raises:
            InputError: the table has none.
        """
        return self._needed("full_adder", "full adders", "counts ones does so by them")

    def _needed(self, row: str, what: str, use: str) -> Register:
        found: Register | None = getattr(self, row)
        if found is None:
            raise InputError(
                f"table {self.operations_name} has no {what}, and a machine that {use}: add a row "
                f"{row}, as horowitz-45nm has it"
            )
        return found

    def with_dram(self, pj_per_bit: float) -> "Technology":
        """The same with another DRAM energy, named by the number."""
        dram = Dram(f"dram-{pj_per_bit:g}-pj-per-bit", pj_per_bit, "given by the user")
        return replace(self, dram=dram)


def data_folder() -> Path:
    """The folder of the tables that come with the package."""
    return Path(str(importlib.resources.files("mlcnn.accelerators.technology")))
