"""What one core of this machine can do: measured once, kept beside the compiled kernels."""

import functools
import time
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from statistics import median

import numpy as np

from mlcnn.engines.native.library import Library, load
from mlcnn.engines.native.store import read_json, write_json

__all__ = ["Machine", "machine_of"]

_ROUNDS = 200_000
_FLOATS = 24 << 20  # 96 MB: more than caches hold
_TIMES = 5


@dataclass(frozen=True, slots=True)
class Machine:
    """One core.

    Attributes:
        macs_per_s: multiply-adds in registers.
        bytes_per_s: read from memory, in four streams.
    """

    macs_per_s: float
    bytes_per_s: float

    @property
    def gflops(self) -> float:
        """Peak in 1e9 floating-point operations a second."""
        return 2 * self.macs_per_s / 1e9


def _rate(amount: float, run: "functools.partial[object]") -> float:
    run()
    spent: list[float] = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        run()
        spent.append(time.perf_counter() - start)
    return amount / median(spent)


def measure(library: Library) -> Machine:
    """Measure this core, which takes about 0.2 s."""
    macs = library.multiply(1) * _ROUNDS
    array = np.ones(_FLOATS, np.float32)
    return Machine(
        _rate(macs, functools.partial(library.multiply, _ROUNDS)),
        _rate(array.nbytes, functools.partial(library.read, array)),
    )


@functools.cache
def machine_of(march: str) -> Machine:
    """The figures of this machine; those in the cache where they can be read."""
    library = load(march)
    path: Path = library.path.with_suffix(".machine.json")
    found = read_json(path)
    try:
        machine = Machine(float(found["macs_per_s"]), float(found["bytes_per_s"]))
        if all(0 < rate < inf for rate in (machine.macs_per_s, machine.bytes_per_s)):
            return machine
    except (KeyError, TypeError, ValueError):
        pass
    machine = measure(library)
    write_json(path, asdict(machine))
    return machine
