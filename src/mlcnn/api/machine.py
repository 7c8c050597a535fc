"""What a measurement ran on: the machine in words, and the versions of what took part."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from mlcnn.engines.compilers import c_compiler

__all__ = ["compiler", "machine", "processor", "versions"]

_PACKAGES = ("mlcnn", "onnx", "onnxruntime", "openvino", "torch", "numpy")


def _told(what: str) -> str:
    """A line about the first core; Python itself knows only the processor's family on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(what))
    return next(found, "")


def _instructions(flags: str) -> str:
    """The vector instructions that tell apart how fast processors of one name compute."""
    told = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "AVX-VNNI"}
    there = set(flags.split())
    return " ".join(name for flag, name in told.items() if flag in there)


def processor() -> dict[str, str]:
    """Name, family, model, flags and vector instructions of the processor; empty if unknown."""
    flags = _told("flags")
    return {
        "name": _told("model name") or platform.processor() or platform.machine(),
        "family": _told("cpu family"),
        "model": _told("model\t"),
        "instructions": _instructions(flags),
        "flags": flags,
    }


def machine() -> str:
    """Processor, vector instructions, cores, memory and system."""
    memory = psutil.virtual_memory().total / 2**30
    cores = psutil.cpu_count() or 1
    told = processor()
    parts = (told["name"], told["instructions"])
    return ", ".join(
        (*filter(None, parts), f"{cores} cores", f"{memory:.0f} GiB", platform.system())
    )


def compiler() -> str | None:
    """What the C compiler calls itself; None where there is none."""
    command = c_compiler()
    if command is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the user's compiler
            [*command, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter(done.stdout.splitlines()), None)


def versions() -> dict[str, str]:
    """Version of Python and of every package that takes part in a run, where installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
