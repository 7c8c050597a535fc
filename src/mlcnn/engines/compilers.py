"""The compilers of this machine."""

import os
import shutil

__all__ = ["c_compiler", "cxx_compiler"]


def c_compiler() -> str | None:
    """Path of the C compiler (``$CC``, or the first of cc, gcc and clang), None without one."""
    return _first(os.environ.get("CC"), ("cc", "gcc", "clang"))


def cxx_compiler() -> str | None:
    """Path of the C++ compiler (``$CXX``, or g++, c++ or clang++), None without one."""
    return _first(os.environ.get("CXX"), ("g++", "c++", "clang++"))


def _first(given: str | None, names: tuple[str, ...]) -> str | None:
    found = map(shutil.which, (given,) if given else names)
    return next((path for path in found if path), None)
