"""A plan written as a folder that needs nothing else."""

import re
from collections.abc import Callable
from pathlib import Path

from mlcnn.engines.native.deploying.folder import whole_folder, write_manifest
from mlcnn.engines.native.deploying.operator import custom_network
from mlcnn.engines.native.deploying.plan import Plan
from mlcnn.engines.native.deploying.sources import render, weights_header
from mlcnn.errors import InputError

__all__ = ["check_name", "name_in_c", "write"]

_C_WORDS = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "main",
    ]
)


def name_in_c(text: str) -> str:
    """A name as one of C.

    Example:
        >>> name_in_c("resnet18-224"), name_in_c("2nd net"), name_in_c("double")
        ('resnet18_224', 'net_2nd_net', 'net_double')
    """
    name = re.sub(r"[^0-9A-Za-z_]+", "_", text).strip("_") or "network"
    return name if _is_name(name) else f"net_{name}"


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z][0-9A-Za-z_]*", name) is not None and name not in _C_WORDS


def check_name(name: str) -> str:
    """A name that the user gave.

    Raises:
        InputError: it is no name in C.
    """
    if not _is_name(name):
        raise InputError(
            f"--name {name}: a name in C is required (letters, digits and _, a letter first, no "
            f"word of C), as {name_in_c(name)}"
        )
    return name


def write(
    plan: Plan,
    folder: Path,
    name: str,
    title: str,
    check: Callable[[Path], None] | None = None,
    *,
    writer: str = "mlcnn",
) -> None:
    """Write a library as C: the whole folder, or nothing.

    Args:
        plan: what runs.
        folder: new, empty, or one that ``write`` made and nobody changed: that is replaced.
        name: of the functions and files.
        title: what the network is called.
        writer: that the files name.
        check: told the folder when all is written, but not yet in its place; what it raises leaves
            nothing behind.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    with whole_folder(folder) as made:
        for path, content in render(plan, name, title, writer).items():
            (made / path).parent.mkdir(exist_ok=True)
            (made / path).write_bytes(content)
        with (made / f"{name}_weights.bin").open("wb") as file:
            file.write(weights_header(plan))
            file.write(plan.constants.data)
        network = custom_network(plan, name).SerializeToString(deterministic=True)
        (made / f"{name}_onnxruntime.onnx").write_bytes(network)
        write_manifest(made, {"name": name, "plan": plan.stamp, "writer": writer})
        if check is not None:
            check(made)
