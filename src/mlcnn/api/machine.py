"""What a measurement ran on: the machine in words, and the versions of what took part."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import psutil

from mlcnn.engines.compilers import c_compiler
from mlcnn.engines.processor import named, processor

__all__ = ["compiler", "machine", "processor", "versions"]

_PACKAGES = ("mlcnn", "onnx", "onnxruntime", "openvino", "torch", "numpy")


def machine() -> str:
    """Processor, vector instructions, cores, memory and system."""
    memory = psutil.virtual_memory().total / 2**30
    cores = psutil.cpu_count() or 1
    return f"{named()}, {cores} cores, {memory:.0f} GiB, {platform.system()}"


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
