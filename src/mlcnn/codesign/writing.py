"""An architecture as the YAML file that ``load_architecture`` reads."""

from collections.abc import Mapping
from typing import Any

from mlcnn.codesign.architecture import Architecture, AreaLaw, EnergyLaw, Level, Operand
from mlcnn.codesign.files import TYPE

__all__ = ["architecture_document"]


def architecture_document(architecture: Architecture) -> dict[str, Any]:
    """The keys and values of the file.

    Args:
        architecture: the machine; an area by a law is one of a table of the package.
    """
    document: dict[str, Any] = {
        "name": architecture.name,
        "type": TYPE,
        "source": architecture.source,
        "clock_mhz": architecture.clock_mhz,
        "mac_energy_pj": architecture.mac_energy_pj,
    }
    if architecture.area is not None:
        area = architecture.area
        document["area_um2"] = area.name if isinstance(area, AreaLaw) else area
    document["levels"] = {level.name: _level(level) for level in architecture.levels}
    return document


def _level(level: Level) -> dict[str, Any]:
    capacity = level.capacity
    if isinstance(capacity, Mapping):
        capacity = {Operand(operand).value: words for operand, words in capacity.items()}
    fan_out = level.fan_out
    below: dict[str, Any] | None = None
    if fan_out.size > 1 or fan_out.dims is not None:
        below = {"size": fan_out.size}
        if fan_out.dims is not None:
            below["dims"] = list(fan_out.dims)
    fields: dict[str, Any] = {
        "keeps": [operand.value for operand in level.keeps],
        "word_bits": level.word_bits,
        "capacity": capacity,
        "block_words": level.block_words if level.block_words > 1 else None,
        "read_bandwidth": level.read_bandwidth,
        "write_bandwidth": level.write_bandwidth,
        "shared_bandwidth": level.shared_bandwidth,
        "energy": _energy(level.energy),
        "write_energy": None if level.write_energy is None else _energy(level.write_energy),
        "fan_out": below,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _energy(law: EnergyLaw) -> dict[str, float]:
    return {"pj": law.pj} | ({"pj_per_kb": law.pj_per_kb} if law.pj_per_kb else {})
