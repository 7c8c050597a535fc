"""What a measurement ran on: the machine in words, and the versions of what took part."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

__all__ = ["machine", "versions"]

_PACKAGES = ("mlcnn", "onnx", "onnxruntime", "openvino", "torch", "numpy")


def _processor() -> str:
    """The processor's name; Python itself knows only its family on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def machine() -> str:
    """Processor, cores, memory and system."""
    memory = psutil.virtual_memory().total / 2**30
    cores = psutil.cpu_count() or 1
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()}"


def versions() -> dict[str, str]:
    """Version of Python and of every package that takes part in a run, where installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
