"""A ``.pt2`` archive reduced to what cannot run code.

``torch.export.load`` unpickles with ``weights_only=False``, evaluates the text of symbolic sizes,
imports modules that a tree specification names, and resolves operators by attribute access from
the module ``torch``. So it is never given the user's file: it is given an archive made here,
whose tensors went through the weights-only loader and whose program was checked word by word.
"""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch

from mlcnn.errors import InputError
from mlcnn.graph.arithmetic import is_arithmetic, is_symbol
from mlcnn.graph.memory import require_memory
from mlcnn.graph.wording import quote

__all__ = ["safe_archive"]

Json = dict[str, object]

_PROGRAM = "models/model.json"
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_FOLDERS = ("data/weights/", "data/constants/")
_HEADERS = ("archive_format", "archive_version", "byteorder", ".data/version")
_REMEDY = "export the network again with torch.export.save, from torch 2.8 or newer"

_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|prim|quantized_decomposed|torchvision)\.(?!\w*(file|save|load))\w+"
    r"(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem"
    r"|index)"
    r"|math\.(ceil|floor|trunc|sqrt)"
    r"|torch\.sym_(int|float|max|min|not|ite|sum)"
)
_TREE_TYPES = frozenset(
    {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
)


def safe_archive(path: Path) -> io.BytesIO:
    """The archive with nothing in it but checked data.

    Args:
        path: a ``.pt2`` file.

    Returns:
        An archive for ``torch.export.load``: the same program and tensors, no example inputs, no
        compiled code.

    Raises:
        InputError: the file is no such archive, or holds more than data.
    """
    members = _read(path)
    if _PROGRAM not in members:
        raise InputError(
            f"{path}: holds no exported program ({_PROGRAM}), or is truncated; {_REMEDY}"
        )
    safe = {name: members[name] for name in _HEADERS if name in members}
    safe[_SAMPLE_INPUTS] = b""
    safe[_PROGRAM] = _checked_program(members[_PROGRAM], path)
    pickled = _pickled(members, path)
    for name, content in members.items():
        if name.startswith(_FOLDERS):
            is_pickled = name in pickled or name.endswith(".pt")
            safe[name] = _repickled(content, name, path) if is_pickled else content
    return _write(safe)


def _read(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise InputError(f"{path}: not as torch.export.save writes it; {_REMEDY}")
            roots = {entry.filename.partition("/")[0] for entry in entries}
            members = {entry.filename.partition("/")[2]: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{path}: not a .pt2 archive, or a truncated one: {quote(error)}; {_REMEDY}"
        ) from error
    if len(roots) != 1 or len(members) != len(entries):
        raise InputError(f"{path}: not as torch.export.save writes it; {_REMEDY}")
    return members


def _write(members: dict[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), content)
    buffer.seek(0)
    return buffer


def _parse(content: bytes, name: str, path: Path) -> Json:
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {name} is damaged: {quote(error)}; {_REMEDY}") from error
    if not isinstance(parsed, dict):
        raise InputError(f"{path}: {name} is damaged; {_REMEDY}")
    return cast("Json", parsed)


def _pickled(members: dict[str, bytes], path: Path) -> set[str]:
    """Names of the tensors that are stored pickled; checks the sizes of all of them."""
    found: set[str] = set()
    total = 0
    for folder in _FOLDERS:
        for name in [item for item in members if item.startswith(folder) and _is_config(item)]:
            entries = _parse(members[name], name, path).get("config")
            for entry in _dicts(entries):
                file = entry.get("path_name")
                if entry.get("use_pickle") is not False:
                    found.add(f"{folder}{file}")
                total += _elements(entry)
    # The smallest element is a byte: a size that lies is refused before anything is allocated.
    require_memory(total, f"{path}: the tensors' declared shapes", _REMEDY)
    return found


def _is_config(name: str) -> bool:
    return name.endswith("_config.json")


def _dicts(value: object) -> Iterator[Json]:
    """Every object inside a parsed document, outermost first."""
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            entry = cast("Json", item)
            yield entry
            pending.extend(entry.values())
        elif isinstance(item, list):
            pending.extend(cast("list[object]", item))


def _elements(entry: Json) -> int:
    meta = entry.get("tensor_meta")
    sizes = cast("Json", meta).get("sizes") if isinstance(meta, dict) else None
    count = 1 if isinstance(sizes, list) else 0
    for size in _dicts(sizes):
        value = size.get("as_int", 1)
        count *= value if isinstance(value, int) and value > 0 else 1
    return count


def _repickled(content: bytes, name: str, path: Path) -> bytes:
    """Tensors through the weights-only loader and back: nothing else survives."""
    if not content:
        return content
    try:
        tensors: object = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, EOFError) as error:
        raise InputError(
            f"{path}: {name} holds more than tensors, and loading it could run code: it is "
            "refused; save a program without custom objects"
        ) from error
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def _checked_program(content: bytes, path: Path) -> bytes:
    program = _parse(content, _PROGRAM, path)
    for entry in _dicts(program):
        for key in ("target", "as_operator"):
            target = entry.get(key)
            if isinstance(target, str) and not _OPERATORS.fullmatch(target):
                raise InputError(
                    f"{path}: the program calls {target[:80]!r}, which is no tensor operator that "
                    "mlcnn knows to be safe: it is refused; remove custom operators"
                )
        expression = entry.get("expr_str")
        if isinstance(expression, str) and not is_arithmetic(expression):
            raise InputError(
                f"{path}: {expression[:80]!r} stands for a size in the program and is no "
                f"arithmetic: it is refused; {_REMEDY}"
            )
        for key in ("in_spec", "out_spec"):
            _check_tree(entry.get(key), path)
        _strip_metadata(entry)
    ranges = program.get("range_constraints")
    for name in cast("Json", ranges) if isinstance(ranges, dict) else ():
        if not is_symbol(name):
            raise InputError(f"{path}: {name[:80]!r} is no name of a size; {_REMEDY}")
    return json.dumps(program).encode()


def _strip_metadata(entry: Json) -> None:
    """Keep the modules that a node came from, and nothing else that is resolved on load."""
    metadata = entry.get("metadata")
    if "target" in entry and isinstance(metadata, dict):
        kept = cast("Json", metadata)
        entry["metadata"] = {k: v for k, v in kept.items() if k == "nn_module_stack"}


def _check_tree(text: object, path: Path) -> None:
    if not isinstance(text, str):
        return
    try:
        tree: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {_PROGRAM} is damaged: {quote(error)}") from error
    for node in _dicts(tree):
        context = node.get("context")
        is_plain = context is None or (isinstance(context, str) and "__enum__" not in context)
        kind = node.get("type")
        if not is_plain or not (kind is None or isinstance(kind, str)) or kind not in _TREE_TYPES:
            raise InputError(
                f"{path}: the program takes or returns {str(kind)[:80]!r}; only tuples, lists and "
                "dictionaries of tensors are supported"
            )
