"""Sources of networks by prefix: those that come with the package, and those of other packages."""

import re
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from mlcnn.errors import InputError, did_you_mean
from mlcnn.graph.calls import parse_call
from mlcnn.graph.wording import quote
from mlcnn.zoo.hubs.source import NetworkSource, Wanted

__all__ = [
    "GROUP",
    "PREFIX",
    "has_prefix",
    "network_source",
    "prefixes",
    "short_name",
    "split_source",
    "unknown_prefix",
    "wanted",
]

GROUP = "mlcnn.sources"
"""The group of the entry points."""

_BUILT_IN = {
    name: EntryPoint(name, f"mlcnn.zoo.hubs.{value}", GROUP)
    for name, value in (
        ("hf", "hugging_face:HUGGING_FACE"),
        ("pytorchcv", "pytorchcv_networks:PYTORCHCV"),
        ("timm", "timm_networks:TIMM"),
        ("torchvision", "torchvision_networks:TORCHVISION"),
    )
}
# A drive of Windows has one letter, and an address of the web // behind the colon.
PREFIX = re.compile(r"([A-Za-z][\w-]+):(?!:)")
"""What stands in front of a name of a source, known or not."""
_FILE = re.compile(r"[^\w.+-]+")


def prefixes() -> tuple[str, ...]:
    """The prefixes of all sources, in order of the alphabet."""
    return tuple(sorted({*_BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))}))


def has_prefix(text: str) -> bool:
    """Whether a text begins with the prefix of a source; that goes before modules and files.

    Example:
        >>> has_prefix("timm:resnet18"), has_prefix("shop.nets:build"), has_prefix("./timm:a.onnx")
        (True, False, False)
    """
    found = PREFIX.match(text)
    return found is not None and (found[1] in _BUILT_IN or found[1] in prefixes())


def network_source(prefix: str) -> NetworkSource:
    """The source of a prefix.

    Raises:
        InputError: there is none, more than one package provides it, or it cannot be loaded.
    """
    built_in = {(entry.name, entry.value): entry for entry in _BUILT_IN.values()}
    others = {(entry.name, entry.value): entry for entry in entry_points(group=GROUP)}
    found = [entry for entry in (others | built_in).values() if entry.name == prefix]
    if len(found) > 1:
        raise InputError(
            f"{prefix}: {len(found)} packages provide this source of networks: "
            f"{', '.join(entry.value for entry in found)}; uninstall all but one"
        )
    if not found:
        raise unknown_prefix(prefix, prefix)
    try:
        source = found[0].load()
    except Exception as error:
        raise InputError(
            f"{prefix}: this source of networks ({found[0].value}) cannot be loaded, "
            f"{quote(error)}; repair or uninstall it"
        ) from error
    if not isinstance(source, NetworkSource):
        raise InputError(
            f"{prefix}: {found[0].value} is no source of networks: it is a "
            f"{type(source).__name__}; see mlcnn.zoo.hubs.NetworkSource"
        )
    return source


def unknown_prefix(text: str, prefix: str, *, is_module: bool = False) -> InputError:
    """The error for a prefix that no source has.

    Args:
        text: what the message begins with.
        prefix: the prefix.
        is_module: whether it was tried as the name of a module.
    """
    if prefix in {"http", "https"}:
        return InputError(
            f"{text}: an address of the web is not read; download the file and give its path, or "
            "name a repository of Hugging Face as hf:ORG/NAME"
        )
    module = (
        f" As package.module:callable: importing {prefix} failed, Python finds no module of this "
        "name from the current directory"
    )
    return InputError(
        f"{text}: no source of networks is called {prefix!r}"
        f"{did_you_mean(prefix, prefixes(), ', ', '.')} Sources: {', '.join(prefixes())}."
        f"{module if is_module else ''}"
    )


def wanted(text: str, weights: Path | None = None, seed: int = 0) -> Wanted:
    """What a text with a prefix asks for.

    Args:
        text: ``timm:resnet50(in_chans=1)``.
        weights: see ``Wanted``.
        seed: of random weights.

    Raises:
        InputError: nothing stands behind the prefix, or its arguments are no literals.
    """
    call = parse_call(text)
    prefix, _, name = call.name.partition(":")
    if not name or call.arguments:
        raise InputError(
            f"{text}: {prefix}:NAME is required, or {prefix}:NAME(argument=value), with a name for "
            "each argument"
        )
    return Wanted(text, replace(call, name=name), weights, seed)


def split_source(text: str) -> tuple[str, str | None]:
    """A network with a prefix or a module's name in front, and what is behind a further colon.

    Example:
        >>> split_source("timm:resnet18:layer1.0.conv1"), split_source("timm:vgg11(in_chans=1)")
        (('timm:resnet18', 'layer1.0.conv1'), ('timm:vgg11(in_chans=1)', None))
    """
    if text.endswith(")"):
        return text, None
    prefix, _, rest = text.partition(":")
    call, closed, layer = rest.rpartition("):")
    if closed:
        return f"{prefix}:{call})", layer
    name, colon, layer = rest.partition(":")
    return f"{prefix}:{name}", layer if colon else None


def short_name(text: str) -> str:
    """A name for files.

    Args:
        text: a network of a source, or ``package.module:callable``, perhaps with arguments.

    Example:
        >>> short_name("timm:resnet50.a1_in1k"), short_name("hf:ORG/NAME@v2:onnx/model.onnx")
        ('resnet50.a1_in1k', 'NAME')
        >>> short_name("shop.nets:build(size=18)")
        'build'
    """
    name = text.partition("(")[0].partition(":")[2]
    if has_prefix(text):
        name = name.partition(":")[0].partition("@")[0].rpartition("/")[2]
    return _FILE.sub("-", name) or "network"
