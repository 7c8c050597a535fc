"""The hardware, simulated: Amaranth to C++ by Yosys (CXXRTL), compiled once for each build."""

import ctypes
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mlcnn.engines.compiled import cache_folder
from mlcnn.engines.compilers import cxx_compiler
from mlcnn.errors import UnsupportedError
from mlcnn.rtl.build import Build
from mlcnn.rtl.memory import Bytes
from mlcnn.rtl.program import Program

__all__ = [
    "DRAM_LATENCY",
    "WRITE_LATENCY",
    "Chip",
    "LayerCycles",
    "Simulated",
    "Simulator",
    "require_tools",
]

DRAM_LATENCY, WRITE_LATENCY = 60, 60
"""Cycles, where nothing else is said."""

_FLAGS = ("-O2", "-std=c++17", "-shared", "-fPIC", "-w")
_SECONDS = 600
_MOST_CYCLES = 10**9
_MOST_STEPS = 1 << 20
_PACKAGES = ("amaranth", "pyosys")
_SOURCES = ("build.py", "circuit.py", "configuration.py", "driver.cc", "layer.py")
"""Beside the blocks, what the library is made of."""


@dataclass(frozen=True, slots=True)
class LayerCycles:
    """What a layer took.

    Attributes:
        cycles: from its first configuration command to the acknowledgement of its last store.
        steps: cycles of each of its steps.
    """

    cycles: int
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What is left of a program that was run.

    Attributes:
        memory: as it is then, shape (beats, bytes of a beat).
        layers: what each took.
        cycles: simulated, all together.
    """

    memory: Bytes
    layers: tuple[LayerCycles, ...]
    cycles: int


class _Request(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint64) for name in (
            "program", "latency", "write_latency", "trace", "percent", "beats", "most_cycles",
            "layers",
        )),
        ("reset_at", ctypes.c_int64),
        ("wave_layer", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("memory", "cycles", "steps", "lengths")),
        ("most_steps", ctypes.c_uint64),
        ("wave_path", ctypes.c_char_p),
    )  # fmt: skip


class Chip(AbstractContextManager["Chip"]):
    """One piece of the hardware, from power-on: its memories are filled at random then.

    Args:
        library: compiled.
        seed: of what is in the memories.
    """

    def __init__(self, library: ctypes.CDLL, seed: int) -> None:
        self._library = library
        self._bench: int | None = library.power_on(ctypes.c_uint64(seed))

    def __exit__(self, *_: object) -> None:
        if self._bench is not None:
            self._library.power_off(ctypes.c_void_p(self._bench))
            self._bench = None

    def run(
        self,
        program: Program,
        memory: Bytes,
        *,
        dram_latency: int = DRAM_LATENCY,
        write_latency: int = WRITE_LATENCY,
        stalls: int = 0,
        trace: int = 0,
        reset_at: int | None = None,
        wave: tuple[int, Path] | None = None,
    ) -> Simulated:
        """Run a program, behind others that ran before.

        Args:
            program: the layers.
            memory: its image with the input in it; it is not changed.
            dram_latency: cycles from a command to its beat, 1 or more.
            write_latency: cycles from a store to its acknowledgement, 1 or more.
            stalls: of a hundred cycles so many take no command, at random.
            trace: seed of the stalls, see ``timing.ready_at``.
            reset_at: a cycle in which a reset begins; the program is then started again.
            wave: number of a layer, and a file for its signals (.vcd).

        Raises:
            RuntimeError: it did not end, or left the memory.
        """
        left, count = np.ascontiguousarray(memory, np.uint8).copy(), len(program.layers)
        cycles, steps = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
        lengths = np.zeros(_MOST_STEPS, np.uint64)
        request = _Request(
            program=program.program_base, latency=dram_latency, write_latency=write_latency,
            trace=trace, percent=stalls, beats=len(left), most_cycles=_MOST_CYCLES, layers=count,
            reset_at=-1 if reset_at is None else reset_at,
            wave_layer=-1 if wave is None else wave[0],
            memory=left.ctypes.data, cycles=cycles.ctypes.data, steps=steps.ctypes.data,
            lengths=lengths.ctypes.data, most_steps=_MOST_STEPS,
            wave_path=None if wave is None else str(wave[1]).encode(),
        )  # fmt: skip
        simulated = ctypes.c_uint64()
        bench = ctypes.c_void_p(self._bench)
        code = self._library.run(bench, ctypes.byref(request), ctypes.byref(simulated))
        if code:
            what = "did not end" if code == 1 else "read or wrote beside the memory"
            raise RuntimeError(f"the hardware {what}; {simulated.value} cycles were simulated")
        ends = [0, *(int(one) for one in steps)]
        layers = tuple(
            LayerCycles(int(took), tuple(int(one) for one in lengths[start:end]))
            for took, start, end in zip(cycles, ends, ends[1:], strict=False)
        )
        return Simulated(left, layers, simulated.value)


@dataclass(frozen=True)
class Simulator:
    """The hardware of a build, compiled when it is first needed.

    Attributes:
        build: its sizes.
    """

    build: Build

    def power_on(self, seed: int = 0) -> Chip:
        """A piece of it.

        Args:
            seed: of what is in its memories.

        Raises:
            UnsupportedError: the hardware cannot be compiled here.
        """
        return Chip(self._library, seed)

    @cached_property
    def _library(self) -> ctypes.CDLL:
        library = ctypes.CDLL(str(compiled_hardware(self.build)))
        library.power_on.restype = ctypes.c_void_p
        return library


def require_tools() -> tuple[str, ...]:
    """The C++ compiler, if all is there that the hardware is compiled with.

    Raises:
        UnsupportedError: a package or the compiler is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UnsupportedError(
            f'simulating the hardware needs {" and ".join(missing)}: pip install "mlcnn[rtl]"'
        )
    compiler = cxx_compiler()
    if compiler is None:
        raise UnsupportedError(
            "simulating the hardware needs a C++ compiler: install g++ (a package of that name in "
            "most systems), or set CXX to another"
        )
    return compiler


def compiled_hardware(build: Build) -> Path:
    """The library that simulates a build, from the user's cache where it is there.

    Raises:
        UnsupportedError: a package or a compiler is missing, or does not compile it.
    """
    compiler = require_tools()
    key = hashlib.sha256()
    own = files("mlcnn.rtl")
    for source in [
        *sorted(own.joinpath("blocks").iterdir(), key=str),
        *map(own.joinpath, _SOURCES),
    ]:
        if source.is_file():
            key.update(source.read_bytes())
    key.update(repr((astuple(build), compiler, [version(one) for one in _PACKAGES])).encode())
    path = cache_folder() / f"rtl-{key.hexdigest()[:16]}.so"
    if not path.exists():
        _compile(build, compiler, path)
    return path


def _compile(build: Build, compiler: tuple[str, ...], target: Path) -> None:
    """Compile into a folder of its own, so that nothing half-built is ever in the cache."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made, told = Path(folder) / target.name, json.dumps(asdict(build))
        _done([sys.executable, "-m", "mlcnn.rtl.circuit", folder, told], "Yosys")
        driver = str(files("mlcnn.rtl").joinpath("driver.cc"))
        options = [f"-I{_runtime()}", f"-I{folder}", f"-DBEAT_BYTES={build.beat_bytes}"]
        _done([*compiler, *_FLAGS, *options, driver, "-o", str(made)], shlex.join(compiler))
        made.replace(target)


def _done(command: list[str], who: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - Yosys and the user's compiler on our own source
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsupportedError(f"compiling the hardware: {who}: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).splitlines()
        told = next((one for one in lines if "error" in one.lower()), "it failed")
        raise UnsupportedError(f"compiling the hardware: {who}: {told.strip()}")


def _runtime() -> Path:
    """Where the headers are that CXXRTL's output includes."""
    return Path(str(files("pyosys"))) / "share/include/backends/cxxrtl/runtime"
