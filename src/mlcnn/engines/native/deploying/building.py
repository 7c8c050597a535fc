"""A deployed library compiled here, to see that it computes what the engine ``native`` does."""

import ctypes
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlcnn.engines.compiled import target_flag
from mlcnn.engines.compilers import c_compiler, c_compiler_missing
from mlcnn.engines.native.deploying.plan import Buffer
from mlcnn.engines.native.library import FLAGS
from mlcnn.errors import UnsupportedError

__all__ = ["Built", "Loaded", "build", "build_flags"]

_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Built:
    """A shared library.

    Attributes:
        path: its file.
        compiler: that compiled it.
        binary_bytes: of the file, without symbols.
        code_bytes: of that without the weights.
    """

    path: Path
    compiler: str
    binary_bytes: int
    code_bytes: int


def build_flags(compiler: str, march: str, threads: int = 1) -> list[str]:
    """The flags by which the kernels are compiled for the engine ``native``, too.

    Args:
        compiler: its command; clang does not know all of them.
        march: the processor.
        threads: of a run; more than one needs OpenMP.
    """
    known = [flag for flag in FLAGS if flag != "-fpeel-loops" or "clang" not in Path(compiler).name]
    return [*known, target_flag(march), *(["-fopenmp"] if threads > 1 else [])]


def build(
    folder: Path, name: str, march: str, *, into: Path, compiler: Sequence[str] | None = None,
    threads: int = 1, flags: Sequence[str] = (), sources: Sequence[str] = (),
) -> Built:  # fmt: skip
    """Compile a deployed network as a shared library.

    Args:
        folder: of the network.
        name: of the network, in C.
        march: the processor.
        into: the folder for the library.
        compiler: its command; this machine's C compiler by default.
        threads: of a run.
        flags: more flags.
        sources: more files of the folder.

    Raises:
        UnsupportedError: there is no C compiler, or it fails.
    """
    command = tuple(compiler) if compiler is not None else c_compiler()
    if command is None:
        raise UnsupportedError(f"deploy needs a C compiler: {c_compiler_missing()}")
    path = into / f"lib{name}.so"
    call = [
        *command, *build_flags(command[0], march, threads), *flags, "-shared", "-fPIC", "-s",
        f'-DWEIGHTS="{(folder / f"{name}_weights.bin").absolute()}"', "-o", str(path),
        *(str(folder / file) for file in (f"{name}.c", f"{name}_weights.S", *sources)), "-lm",
    ]  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 - the user's compiler on what we wrote
            call, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsupportedError(f"deploy: {command[0]}: {error}") from error
    if done.returncode:
        lines = done.stderr.splitlines()
        told = next((line for line in lines if "error" in line), "it failed")
        raise UnsupportedError(f"deploy: {command[0]} does not compile the network: {told.strip()}")
    whole = path.stat().st_size
    return Built(
        path, shlex.join(command), whole, whole - (folder / f"{name}_weights.bin").stat().st_size
    )


class Loaded:
    """A compiled library, called in this process with one context."""

    def __init__(self, path: Path, name: str, outputs: Sequence[Buffer], threads: int = 1) -> None:
        """Open a context.

        Raises:
            UnsupportedError: the library refuses.
        """
        self._library, self._name, self._outputs = ctypes.CDLL(str(path)), name, outputs
        self.context_bytes = self._function("context_bytes", ctypes.c_size_t)(threads)
        self._context = ctypes.c_void_p()
        code = self._function("open")(ctypes.byref(self._context), None, threads)
        if code:
            raise UnsupportedError(f"deploy: {path.name}: {name}_open returns code {code}")

    def _function(self, what: str, result: type | None = ctypes.c_int) -> Callable[..., int]:
        function = getattr(self._library, f"{self._name}_{what}")
        function.restype = result
        return function

    def runner(
        self, inputs: Sequence[NDArray[np.float32 | np.bool_]]
    ) -> tuple[Callable[[], int], list[NDArray[np.float32]]]:
        """A call that runs the network once, and the arrays that it fills."""
        results = [np.empty(buffer.shape, np.float32) for buffer in self._outputs]
        given = (ctypes.c_void_p * len(inputs))(*(array.ctypes.data for array in inputs))
        made = (ctypes.c_void_p * len(results))(*(array.ctypes.data for array in results))
        run, kept = self._function("run"), [*inputs, *results]

        def call() -> int:
            _ = kept
            return run(self._context, given, made)

        return call, results

    def close(self) -> None:
        """Give the context back."""
        self._function("close", None)(self._context)
