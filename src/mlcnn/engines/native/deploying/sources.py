"""A plan as the C sources of a library."""

import ctypes
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from math import inf, isnan
from pathlib import Path

from mlcnn.engines.native.deploying.plan import Buffer, Plan
from mlcnn.engines.native.library import Op, Place, Step

__all__ = ["HEADER_BYTES", "domain_of", "render", "weights_header"]

HEADER_BYTES = 64
_FORMAT = 1
_IN_TURN = 2  # groups that take the lanes of a vector in turn
_BOOL, _FLOAT = 9, 1  # as ONNX numbers its types
_LEFT_OUT = frozenset({"kernels.c", "probe.h"})  # what only measures the machine


def render(plan: Plan, name: str, title: str, writer: str = "mlcnn") -> dict[str, bytes]:
    """The files of a library, by their paths in its folder; the weights are not among them.

    Args:
        plan: what runs.
        name: of its functions and files, a C identifier.
        title: what the network is called in comments.
        writer: that is named there.
    """
    words = _words(plan, name, title, writer)
    templates = {
        "network.h": f"{name}.h",
        "network.c": f"{name}.c",
        "weights.S": f"{name}_weights.S",
        "onnxruntime.c": f"{name}_onnxruntime.c",
        "main.c": "main.c",
        "CMakeLists.txt": "CMakeLists.txt",
    }
    folder = files("mlcnn.engines.native.deploying") / "templates"
    found = {
        path: _filled((folder / template).read_text(encoding="utf-8"), words).encode()
        for template, path in templates.items()
    }
    kernels = Path(str(files("mlcnn.engines.native") / "kernels"))
    for file in sorted(kernels.glob("*.h")):
        if file.name not in _LEFT_OUT:
            found[f"kernels/{file.name}"] = file.read_bytes()
    return found


def domain_of(name: str) -> str:
    """The domain of a network's operator: of its own, as a session takes a domain only once."""
    return f"mlcnn.native.{name}"


def weights_header(plan: Plan) -> bytes:
    """What stands in front of the weights: so many bytes, by which a library knows its own."""
    return f"mlcnn {_FORMAT} {plan.stamp}".encode().ljust(HEADER_BYTES, b"\0")


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda found: words[found[1]], text)


def _words(plan: Plan, name: str, title: str, writer: str) -> dict[str, str]:
    upper, library = name.upper(), plan.library
    used = {Op(step.op) for step in plan.steps}
    tables = f" || TABLES != {int(library.tables > 0)}" if Op.TABLE in used else ""
    return {
        "NAME": name,
        "UPPER": upper,
        "TITLE": _in_comment(title),
        "WRITER": writer,
        "STAMP": plan.stamp,
        "DOMAIN": domain_of(name),
        "MARCH": plan.march,
        "OPENMP": "ON" if plan.threads > 1 else "OFF",
        "BLOCK": str(library.block),
        "GROUP": str(library.group),
        "VNNI": str(int(library.vnni)),
        "TABLES_CHECK": tables,
        "ROOM_BYTES": str(plan.room_bytes),
        "KERNELS": f"{sum(1 << op for op in used):#x}ull",
        "PAIRS": str(int(any(step.together == _IN_TURN for step in plan.steps))),
        "VALUES": str(plan.program.memory.size),
        "STEPS": ",\n".join(map(_step, plan.steps)),
        "ARRAYS": "\n".join(_told(plan.inputs, "inputs") + _told(plan.outputs, "outputs")),
        "SIZES": "\n".join(_sizes(upper, plan)),
        "INPUT_BYTES": _listed(_bytes(buffer) for buffer in plan.inputs),
        "OUTPUT_BYTES": _listed(4 * buffer.size for buffer in plan.outputs),
        "INPUT_SIZES": _listed(buffer.size for buffer in plan.inputs),
        "INPUT_TYPES": _listed(_BOOL if buffer.flags else _FLOAT for buffer in plan.inputs),
        "OUTPUT_SHAPES": "\n".join(
            f"static const int64_t output_shape_{index}[] = {{{_listed(buffer.shape) or 0}}};"
            for index, buffer in enumerate(plan.outputs)
        ),
        "OUTPUT_SHAPE_NAMES": ", ".join(f"output_shape_{i}" for i in range(len(plan.outputs))),
        "OUTPUT_RANKS": _listed(len(buffer.shape) for buffer in plan.outputs),
    }  # fmt: skip


def _in_comment(text: str) -> str:
    """A text that ends no comment and no line."""
    return "".join(c if c.isprintable() else " " for c in text).replace("*/", "* /")


def _listed(numbers: "Iterator[int] | Sequence[int]") -> str:
    return ", ".join(map(str, numbers))


def _bytes(buffer: Buffer) -> int:
    return buffer.size * (1 if buffer.flags else 4)


def _told(buffers: Sequence[Buffer], which: str) -> list[str]:
    lines = []
    for index, buffer in enumerate(buffers):
        kind = "bytes, 0 or 1, to be cast to floats' pointer" if buffer.flags else "floats"
        shape = " x ".join(map(str, buffer.shape)) or "1"
        lines.append(f" * {which}[{index}]: {_in_comment(buffer.name)}, {shape} {kind}")
    return lines


def _sizes(upper: str, plan: Plan) -> Iterator[str]:
    for which, buffers in (("INPUT", plan.inputs), ("OUTPUT", plan.outputs)):
        yield f"#define {upper}_{which}S {len(buffers)}"
        for index, buffer in enumerate(buffers):
            yield f"#define {upper}_{which}_{index}_SIZE {buffer.size} /* numbers */"


def _step(step: Step) -> str:
    """One step of the table; what is zero is left out."""
    fields = [f".op = {Op(step.op).name}"]
    for name, kind, *_ in Step._fields_:
        value = getattr(step, name)
        if kind is Place:
            found = _place(value)
            fields.extend([f".{name} = {{{found}}}"] if found else [])
        elif name != "op" and (value or (kind is ctypes.c_float and str(value) == "-0.0")):
            fields.append(f".{name} = {_number(value)}")
    return f"    {{{', '.join(fields)}}}"


def _place(place: Place) -> str:
    return ", ".join(
        f".{name} = {value}" for name, *_ in Place._fields_ if (value := getattr(place, name))
    )


def _number(value: float) -> str:
    """A number as C writes it, exactly."""
    if isinstance(value, int):
        return str(value)
    if isnan(value):
        return "NAN"
    return ("-" if value < 0 else "") + "INFINITY" if abs(value) == inf else f"{value.hex()}f"
