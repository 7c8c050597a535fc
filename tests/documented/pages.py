"""What the pages show: fenced blocks, and the commands in them and in their text.

Pages are found, not listed: a new one is tested as soon as it is there.
"""

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "Command", "blocks", "commands", "mentions"]

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)
_SPAN = re.compile(r"`((?:mlcnn|python -m|pytest|make) [^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: path from the repository's root.
        line: of its first line of text.
        language: what stands behind the fence, as ``console``.
        text: without indentation.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def title(self) -> str | None:
        """The file that it is, where its first line says so: ``# mine.yaml, of yours``."""
        found = re.match(r"# ([\w.-]+\.\w+)\b", self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class Command:
    """A command as a page shows it.

    Attributes:
        page: path from the repository's root.
        line: where it stands.
        text: without prompt and comment, on one line.
    """

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """The words as a shell makes them."""
        return shlex.split(self.text)

    @property
    def calls(self) -> list[list[str]]:
        """The calls that ``&&`` joins, each without settings in front and without redirection."""
        found: list[list[str]] = [[]]
        for word in self.words:
            if word == "&&":
                found.append([])
            elif found[-1] or not re.match(r"[A-Z_]+=", word):
                found[-1].append(word)
        return [call[: call.index(">")] if ">" in call else call for call in found]

    def __str__(self) -> str:
        """Where it stands, and what it is."""
        return f"{self.page}:{self.line}: {self.text}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in _FENCE.finditer(text):
        indent, _, language, inside = match.groups()
        line = text[: match.start()].count("\n") + 2
        inside = re.sub(f"^{indent}", "", inside, flags=re.MULTILINE)
        found.append(Block(str(page.relative_to(ROOT)), line, language.strip(), inside))
    return found


def commands(block: Block) -> list[Command]:
    """The lines of a console block behind a ``$``, with the lines that continue them."""
    found = []
    for match in _PROMPT.finditer(block.text):
        line = block.line + block.text[: match.start()].count("\n")
        text = re.sub(r"(^|\s)#\s.*$", "", match[1], flags=re.MULTILINE)
        text = re.sub(r"\s*\\\n\s*", " ", text).strip()
        found.append(Command(block.page, line, text))
    return found


def mentions(page: Path) -> list[Command]:
    """Commands within the text of a page, between backquotes."""
    text = page.read_text(encoding="utf-8")
    bare = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    found = [
        Command(str(page.relative_to(ROOT)), bare[: match.start()].count("\n") + 1, match[1])
        for match in _SPAN.finditer(bare)
    ]
    return [replace(command, text=" ".join(command.text.split())) for command in found]
