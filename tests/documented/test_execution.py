"""Every page's commands and Python run, from top to bottom, in a folder with the reader's files.

    make test-docs                                                      all pages
    pytest -m long --log-cli-level=INFO tests/documented -k exploring   one, told as it goes

``tables.py`` tells what is cut short and what cannot run here. A fenced block of ``output`` has
lines that the last command above it prints; ``...`` stands for others.
"""

import logging
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from documented.pages import PAGES, ROOT, Block, Command, blocks, commands
from documented.scene import make_scene
from documented.served import CLIENT
from documented.tables import CUTS, ELSEWHERE, FRAGMENTS, PREAMBLES

_LIMIT_S = 600
_ROUNDING = re.compile(r"\d(\.\d+)?e-\d+")
_LOG = logging.getLogger(__name__)
_PROGRAMS = {"pip": "-m pip", "python": ""}
_PLAIN = '#!/bin/sh\nexec "{python}" {module} "$@"\n'


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's files, made once."""
    folder = tmp_path_factory.mktemp("scene")
    make_scene(folder)
    return folder


@pytest.fixture
def reader(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own with these files, and the programs of this environment."""
    folder = tmp_path / "reader"
    folder.mkdir()
    for path in (*scene.iterdir(), ROOT / "examples", *(ROOT / "examples" / "plugins").iterdir()):
        (folder / path.name).symlink_to(path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in _PROGRAMS.items():
        path = programs / name
        path.write_text(_PLAIN.format(python=sys.executable, module=module), encoding="utf-8")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    given = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(folder / "site"), str(folder), str(ROOT), given])
    )
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    with _served(programs):
        yield folder


@contextmanager
def _served(programs: Path) -> Iterator[None]:
    """The program ``mlcnn`` among these, imported already."""
    with tempfile.TemporaryDirectory() as short:  # an address has at most 108 characters
        address = f"{short}/mlcnn"
        client = programs / "mlcnn"
        client.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
        client.chmod(0o755)
        path = os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT / "tests")])
        command = [sys.executable, "-m", "documented.served", address]
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as server:
            try:
                while not Path(f"{address}.ready").exists():
                    assert server.poll() is None, "the server did not start"
                    time.sleep(0.1)
                yield
            finally:
                server.terminate()


def shortened(command: Command) -> str:
    """The command as it runs here."""
    text = command.text
    for cut in CUTS:
        if re.search(cut.pattern, command.text):
            text = _with_options(text, cut.options)
    return text


def _with_options(text: str, options: str) -> str:
    """The options behind the others; one that is there already gets the new value."""
    words = options.split()
    for index, option in enumerate(words):
        if option.startswith("--"):
            text = re.sub(rf" {option}( (?!-)[^ ]+)?(?= |$)", "", text)
            words[index] = option
    line, sign, target = text.partition(" >")
    return f"{line} {' '.join(words)}{sign}{target}"


def _execute(command: Command, printed: list[str]) -> str | None:
    """Run it, and add the lines that it prints; what went wrong."""
    printed.clear()
    if any(re.search(pattern, command.text) for pattern in ELSEWHERE):
        return None
    text, started = shortened(command), time.monotonic()
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", text], capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{command}: more than {_LIMIT_S} s; cut it short in CUTS of tables.py"
    if text.startswith("pip "):  # what it installed is new to the program that has begun
        program = Path(os.environ["PATH"].partition(os.pathsep)[0]) / "mlcnn"
        plain = _PLAIN.format(python=sys.executable, module="-m mlcnn")
        program.write_text(plain, encoding="utf-8")
    _LOG.info("%5.1f s, %s: %s", time.monotonic() - started, done.returncode, text)
    printed += [" ".join(line.split()) for line in done.stdout.splitlines()]
    if done.returncode:
        return f"{command}\n  as: {text}\n  ended with {done.returncode}:\n{done.stderr[-1500:]}"
    return None


def _not_printed(block: Block, printed: Sequence[str]) -> str | None:
    """The lines of a block of output that the command above it does not print."""
    there = {_ROUNDING.sub("#", line) for line in (*printed, "...")}
    shown = [" ".join(line.split()) for line in block.text.splitlines()]
    lost = [line for line in shown if _ROUNDING.sub("#", line) not in there]
    return f"{block.page}:{block.line}: not printed: {lost}" if lost else None


def _run_python(block: Block, names: dict[str, Any]) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(block.text, f"{block.page}:{block.line}", "exec"), names)  # noqa: S102
    except Exception:  # noqa: BLE001 - whatever it is, it is told
        return f"{block.page}:{block.line}\n{traceback.format_exc()[-1500:]}"
    return None


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page: Path, reader: Path) -> None:
    wrong: list[str | None] = []
    printed: list[str] = []
    names: dict[str, Any] = {}
    name = str(page.relative_to(ROOT))
    exec(PREAMBLES.get(name, PREAMBLES[""]), names)  # noqa: S102 - of tables.py
    for block in blocks(page):
        if block.title:
            (reader / block.title).unlink(missing_ok=True)
            (reader / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python" and name not in FRAGMENTS:
            wrong.append(_run_python(block, names))
        elif block.language == "console":
            wrong += [_execute(command, printed) for command in commands(block)]
        elif block.language == "output":
            wrong.append(_not_printed(block, printed))
    told = [text for text in wrong if text]
    assert not told, "\n\n".join(told)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mlcnn run net.onnx", "mlcnn run net.onnx --seconds 0.1"),
        ("mlcnn run net.onnx --seconds 5 --json > a.json",
         "mlcnn run net.onnx --json --seconds 0.1 > a.json"),
        ("mlcnn count net.onnx", "mlcnn count net.onnx"),
        ("mlcnn train a --epochs 6 --data 'x y'",
         "mlcnn train a --data 'x y' --epochs 1 --limit 64"),
    ],
)  # fmt: skip
def test_how_commands_are_cut(text: str, expected: str) -> None:
    command = Command("docs/index.md", 1, text)
    assert shortened(command) == expected
    assert shlex.split(shortened(command))
