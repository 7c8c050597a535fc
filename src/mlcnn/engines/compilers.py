"""The compilers of this machine."""

import os
import shlex
import shutil

__all__ = ["c_compiler", "c_compiler_missing", "cxx_compiler"]

_C = ("cc", "gcc", "clang")


def c_compiler() -> tuple[str, ...] | None:
    """Command of the C compiler, None without one.

    It is ``$CC``, with arguments or behind another program (``gcc -O1``, ``ccache gcc``) if that
    is what it says, or the first of cc, gcc and clang. The program is a path.
    """
    return _first(os.environ.get("CC"), _C)


def c_compiler_missing() -> str:
    """Why ``c_compiler`` finds none, and what to do."""
    given = (os.environ.get("CC") or "").strip()
    if not given:
        return "install gcc or clang"
    words = _words(given)
    what = f"no program {words[0]!r} is found" if words else "it is no command"
    return f"CC is {given!r}, and {what}: set CC to a C compiler, or unset it"


def cxx_compiler() -> tuple[str, ...] | None:
    """Command of the C++ compiler (``$CXX``, or g++, c++ or clang++), None without one."""
    return _first(os.environ.get("CXX"), ("g++", "c++", "clang++"))


def _words(command: str) -> list[str]:
    """A command's words as a shell reads them; none where quotes are not closed."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _first(given: str | None, names: tuple[str, ...]) -> tuple[str, ...] | None:
    commands = [_words(given)] if given and given.strip() else [[name] for name in names]
    for command in commands:
        path = shutil.which(command[0]) if command else None
        if path is not None:
            return (path, *command[1:])
    return None
