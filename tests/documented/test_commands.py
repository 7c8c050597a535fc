"""Every command and every piece of Python in README, CONTRIBUTING and docs is one that works.

Here commands are parsed by the program that they call, and what they name has to be there;
``test_execution.py``, a long one, runs them.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cyclopts.exceptions import MissingArgumentError
from documented.pages import PAGES, ROOT, Command, blocks, commands, mentions
from documented.tables import CUTS, ELSEWHERE, FILES, FRAGMENTS, OTHERS, PROGRAMS

from mlcnn import codesign, reproduce, zoo
from mlcnn.accelerators.technology import load_technology
from mlcnn.api import listed
from mlcnn.cli.app import app
from mlcnn.codesign.exploration import template_names
from mlcnn.errors import InputError
from mlcnn.passes import pipeline
from mlcnn.training.download import DOWNLOADS

HERE = Path(__file__).parent.relative_to(ROOT)
BLOCKS = [block for page in PAGES for block in blocks(page)]
SHOWN = [one for block in BLOCKS if block.language == "console" for one in commands(block)]
TOLD = [command for page in PAGES for command in mentions(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
SOURCES = ("hf", "pytorchcv", "timm", "torchvision")
"""What may stand before the colon of a network that comes from elsewhere."""

_FILE = re.compile(r"\.(bin|csv|db|gz|jsonl?|npz|onnx|png|pt2?|safetensors|toml|ya?ml)$|/$")
_OUTPUTS = ("-o", "--out", "--output", "--journal", ">")
_OTHERS = re.compile(rf"(?<![\w-])({'|'.join(OTHERS)})(\{{[^}}]*\}})?(,|$)")
_STANDS_FOR = re.compile(r"\b[A-Z][A-Z_]+\b|\.\.\.|…")


class Parsed(Exception):  # noqa: N818 - no error
    """The arguments are taken."""


def _outputs(words: Sequence[str]) -> list[str]:
    named = [word for option, word in pairwise(words) if option in _OUTPUTS]
    return [*named, words[-1]] if words[0] == "cp" else named


def _made_before(command: Command) -> list[str]:
    """Files and folders that commands above it on its page write."""
    above = [one for one in SHOWN if one.page == command.page and one.line < command.line]
    return [name for one in above for name in _outputs(one.words)]


def missing(command: Command) -> list[str]:
    """The files that a command reads and nobody gives it."""
    words, made = command.words, _made_before(command)
    own = _outputs(words)
    titles = {block.title for block in BLOCKS if block.page == command.page}
    found = []
    for word in words[1:]:
        name = re.sub(r"(?<=\.onnx):.*$", "", word.rpartition("=")[2])
        name = name.removeprefix("auto:")
        if not _FILE.search(name) or "://" in name or "$(" in name:
            continue
        given = name in FILES or name in own or name in titles or (ROOT / name).exists()
        made_so = any(name == one or name.startswith(f"{one.rstrip('/')}/") for one in made)
        if not (given or made_so or name.startswith("runs/")):
            found.append(name)
    return found


def _is_network(name: str) -> bool:
    plain, _, rest = name.partition(":")
    if _FILE.search(plain) or plain in SOURCES or plain in zoo.names():
        return True
    try:
        zoo.describe(plain)
    except InputError:
        module = f"{plain.replace('.', '/')}.py"
        return bool(rest) and (module in FILES or (ROOT / module).exists())
    return True


def _is_architecture(name: str) -> bool:
    try:
        codesign.load_architecture(name)
    except InputError:
        return name in template_names()
    return True


def _flat(bound: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Options of a command and of its groups: each text by itself."""
    for name, value in bound.items():
        if hasattr(type(value), "__dataclass_fields__"):
            fields = {field: getattr(value, field) for field in type(value).__dataclass_fields__}
            yield from _flat(fields)
            continue
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, str | Path) and str(one):
                yield name, str(one)


def unknown(command: str, bound: dict[str, Any]) -> list[str]:
    """What a command names that there is none of."""
    machines = {item.name for item in listed("machines")}
    known = {
        "model": _is_network,
        "networks": _is_network,
        "on": lambda name: name in machines or _is_architecture(name),
        "against": lambda name: name in machines or _is_network(name),
        "template": _is_architecture,
        "what": lambda name: name in (reproduce.ALL, *reproduce.names()),
        "data": lambda name: name in DOWNLOADS or ":" in name or f"{name.rstrip('/')}/" in FILES,
        "describe": lambda name: any(name == item.name for item in listed(bound["kind"])),
    }
    found = []
    for name, value in _flat(bound):
        if name == "passes":
            pipeline.parse(_OTHERS.sub("", value))
        elif name == "technology" and not _FILE.search(value):
            load_technology(value)
        elif name in known and not _FILE.search(value) and not known[name](value):
            found.append(f"{name} {value!r}")
    return found


def parse_mlcnn(words: Sequence[str]) -> None:
    """Parse a command line of mlcnn, without running it."""
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    wrong = unknown(words[0], bound.arguments) if words else []
    assert not wrong, f"there is no {', '.join(wrong)}; {HERE}/tables.py tells the reader's files"


def parse_module(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse a command line of a module's ``main``, without running it."""
    name, *arguments = words
    if name == "mlcnn":
        parse_mlcnn(arguments)
        return
    assert name.partition(".")[0] in {"benchmarks", "mlcnn"}, f"module {name} is not ours"
    module = importlib.import_module("benchmarks.speed" if name == "benchmarks" else name)
    genuine = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        genuine(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(argparse.ArgumentParser, "error", _refuse)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(Parsed):
        module.main()


def _refuse(self: argparse.ArgumentParser, message: str) -> None:
    raise AssertionError(f"{self.prog}: {message}")


def _parse(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for program, *words in command.calls:
        _parse_call(program, words, monkeypatch)


def _parse_call(program: str, words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if program == "mlcnn":
        parse_mlcnn(words)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), f"no target {words[0]}"
    elif program == "pytest":
        assert (ROOT / words[0]).exists(), f"no {words[0]}"
    elif program == "pip":
        _parse_extras(words)
    elif "-m" in words and program in {"python", "torchrun"}:
        parse_module(words[words.index("-m") + 1 :], monkeypatch)


def _parse_extras(words: Sequence[str]) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
        for name in extra.split(","):
            assert re.search(rf"^{name} = \[", project, re.MULTILINE), f"no extra {name}"


def test_there_are_commands() -> None:
    assert len(SHOWN) > 80
    assert len(TOLD) > 60
    assert len(PYTHON) > 8


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_shown_commands(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {call[0] for call in command.calls} - PROGRAMS
    assert not unknown or any(re.search(one, command.text) for one in ELSEWHERE), (
        f"{command}: {', '.join(unknown)} is neither in PROGRAMS nor in ELSEWHERE of "
        f"{HERE}/tables.py; add it where it belongs, in ELSEWHERE with the reason"
    )
    assert not missing(command), (
        f"{command}: no command above it writes {', '.join(missing(command))}; add what a reader "
        f"has to FILES in {HERE}/tables.py, and make it in scene.py"
    )
    _parse(command, monkeypatch)


@pytest.mark.parametrize("command", TOLD, ids=str)
def test_commands_in_the_text(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be a part of a command, or have words in capitals for what the reader has."""
    if command.text.startswith("mlcnn") and _STANDS_FOR.search(command.text):
        return
    named = command.text.startswith("python") and len(command.words) == len(["python", "-m", "it"])
    try:
        _parse(command, monkeypatch)
    except MissingArgumentError:
        pass  # what is told is an option, not a whole command
    except AssertionError as error:
        if not (named and "the following arguments are required" in str(error)):
            raise


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}:{block.line}")
def test_python_blocks_compile(block: Any) -> None:
    compile(block.text, f"{block.page}:{block.line}", "exec")


@pytest.mark.parametrize("pattern", [*ELSEWHERE, *(cut.pattern for cut in CUTS)])
def test_no_row_of_the_tables_is_left_over(pattern: str) -> None:
    assert any(re.search(pattern, command.text) for command in SHOWN)


def test_no_file_or_page_of_the_tables_is_left_over() -> None:
    words = " ".join([command.text for command in SHOWN] + [block.text for block in PYTHON])
    used = [name.rstrip("/").removesuffix(".py").replace("shop/", "shop.") for name in FILES]
    assert [name for name in used if name not in words] == []
    assert [page for page in FRAGMENTS if not (ROOT / page).exists()] == []


# -- what it would find


def _command(text: str) -> Command:
    return Command("docs/index.md", 0, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mlcnn run vgg17", "there is no model 'vgg17'"),
        ("mlcnn run vgg16 --sped", "Unknown option"),
        ("cd net && THREADS=1 mlcnn run vgg18 > out.txt", "there is no model 'vgg18'"),
        ("mlcnn evaluate vgg16 --on mlcnn-int9", "there is no on 'mlcnn-int9'"),
        ("mlcnn optimize vgg16 --passes fuze", "'fuze'"),
        ("mlcnn bench vgg16 --engine onix", "onix"),
        ("mlcnn train vgg16 --data cifar11", "there is no data 'cifar11'"),
        ("mlcnn reproduce table-9", "there is no what 'table-9'"),
        ("python -m benchmarks.speeed", "speeed"),
        ("python -m benchmarks.engines --bach 1", "--bach"),
        ("make tests", "no target tests"),
        ("pip install mlcnn[rtx]", "no extra rtx"),
        ("pytest tests/rtl/test_software.py", "no tests/rtl"),
    ],
)
def test_what_is_wrong_is_found(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match=re.escape(message)):
        _parse(_command(text), monkeypatch)


def test_a_file_of_nowhere_is_found() -> None:
    assert missing(_command("mlcnn run other.onnx -o mine.onnx")) == ["other.onnx"]
    assert missing(_command("mlcnn run net.onnx --data photos/ -o mine.onnx")) == []
