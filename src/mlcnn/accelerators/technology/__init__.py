"""Technology tables: energy and area constants with their sources."""

from mlcnn.accelerators.technology.loading import (
    DEFAULT_TECHNOLOGY,
    load_technology,
    technology_names,
)
from mlcnn.accelerators.technology.memory import Macro, MemoryTable, Register
from mlcnn.accelerators.technology.tables import Dram, Operation, OperationCosts, Technology

__all__ = [
    "DEFAULT_TECHNOLOGY",
    "Dram",
    "Macro",
    "MemoryTable",
    "Operation",
    "OperationCosts",
    "Register",
    "Technology",
    "load_technology",
    "technology_names",
]
