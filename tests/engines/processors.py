"""Processors that the kernels are compiled for, as far as this machine can run them."""

import platform
from pathlib import Path

import pytest

__all__ = ["MARCHES"]

CPU_FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
MARCHES = [
    "native",
    pytest.param(  # blocks of 8, 16 registers
        "haswell", marks=pytest.mark.skipif("avx2" not in CPU_FLAGS, reason="no AVX2 here")
    ),
    pytest.param(  # blocks of 4
        "x86-64", marks=pytest.mark.skipif(platform.machine() != "x86_64", reason="not x86-64")
    ),
]
