"""The processor in words."""

import functools
import platform
from pathlib import Path

__all__ = ["named", "processor"]

# Vector instructions that tell apart how fast processors of one name compute.
_TOLD = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "AVX-VNNI"}


def _line(what: str) -> str:
    """A line about the first core; Python itself knows only the processor's family on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(what))
    return next(found, "")


@functools.cache
def processor() -> dict[str, str]:
    """Name, family, model, flags and vector instructions of the processor; empty if unknown."""
    flags = _line("flags")
    there = set(flags.split())
    return {
        "name": _line("model name") or platform.processor() or platform.machine(),
        "family": _line("cpu family"),
        "model": _line("model\t"),
        "instructions": " ".join(told for flag, told in _TOLD.items() if flag in there),
        "flags": flags,
    }


def named() -> str:
    """Its name and vector instructions."""
    told = processor()
    return ", ".join(filter(None, (told["name"], told["instructions"])))
