"""C sources compiled for this machine by its C compiler, once, into the user's cache."""

import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlcnn.engines.compilers import c_compiler, c_compiler_missing
from mlcnn.errors import UnsupportedError

__all__ = ["Build", "cache_folder", "compiled", "target_flag"]

_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Build:
    """What is compiled and how.

    Attributes:
        name: of the library.
        source: the file that is compiled; files beside it may be included.
        flags: for the compiler.
        options: more flags, tried in turn until it compiles.
    """

    name: str
    source: Path
    flags: tuple[str, ...]
    options: tuple[tuple[str, ...], ...] = ((),)


def target_flag(march: str) -> str:
    """The flag that compiles for a processor, as gcc names it."""
    arm = platform.machine() in {"aarch64", "arm64"}
    return ("-mcpu=" if arm else "-march=") + march


def compiled(build: Build, who: str, instead: str) -> Path:
    """The library; compiled where it is not in the cache yet.

    Args:
        build: what is compiled.
        who: needs it, for messages.
        instead: what to do without it, for messages.

    Raises:
        UnsupportedError: there is no C compiler, or it fails.
    """
    found = c_compiler()
    if found is None:
        raise UnsupportedError(f"{who} needs a C compiler: {c_compiler_missing()}, or {instead}")
    command = [*found, *build.flags]
    key = hashlib.sha256()
    for file in sorted(build.source.parent.glob("*.[ch]")):
        key.update(file.read_bytes())
    key.update("\n".join([*command, _processor()]).encode())
    path = cache_folder() / f"{build.name}-{key.hexdigest()[:16]}.so"
    if not path.exists():
        _compile(build, command, path, (who, shlex.join(found), instead))
    return path


def _processor() -> str:
    """What the processor can do: a library compiled for another one may not run here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    told = (line for line in lines if line.startswith(("flags", "Features", "model name")))
    return "".join(sorted(set(told)))


def cache_folder() -> Path:
    """The user's cache, or a new folder where that cannot be written."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        (root / "mlcnn").mkdir(parents=True, exist_ok=True)
        if os.access(root / "mlcnn", os.W_OK):
            return root / "mlcnn"
    except (OSError, RuntimeError):  # there may be no home
        pass
    return Path(tempfile.mkdtemp(prefix="mlcnn-"))


def _compile(build: Build, command: list[str], target: Path, words: tuple[str, str, str]) -> None:
    """Compile to a file of another name first: another process may be loading the target."""
    who, shown, instead = words
    told = "there is no option to try"
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        for options in build.options:
            ends = ["-shared", "-fPIC", "-o", str(made), str(build.source), "-lm"]
            try:
                done = subprocess.run(  # noqa: S603 - the user's compiler on our own source
                    [*command, *options, *ends],
                    capture_output=True, text=True, timeout=_SECONDS, check=False,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                raise UnsupportedError(f"{who}: {shown}: {error}") from error
            if done.returncode == 0:
                made.replace(target)
                return
            lines = done.stderr.splitlines()
            told = next((line for line in lines if "error" in line), "it failed")
    raise UnsupportedError(
        f"{who}: {shown} does not compile its kernels: {told.strip()}; set CC to another "
        f"compiler or {instead}"
    )
