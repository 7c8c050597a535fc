"""The examples run, in an empty directory, and print what the page of examples shows."""

import re
import runpy
from pathlib import Path

import pytest

PRINTED = Path(__file__).parents[1] / "docs" / "printed"
COUNTED = frozenset({"02_count_operations", "03_explain_sites", "04_write_pass"})
COUNTED |= {"07_evaluate_accelerator"}
"""Examples whose numbers hang on no machine."""
_NUMBER = re.compile(r"(?<![A-Za-z])[-+]?\d[\d,.]*(e[-+]?\d+)?x?")
_CHOSEN = re.compile(r"^(warning: |fold-constants,)|ranges by")
"""Lines that say what was chosen by time or by a few images."""

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


# Lightning asks torch 2.13 in a way that it is about to drop.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    output = capsys.readouterr().out
    assert output
    for line in output.splitlines():
        if line.startswith("written: "):
            assert (tmp_path / line.removeprefix("written: ")).stat().st_size > 0
    _is_what_the_page_shows(path.stem, output)


def _lines(text: str, *, numbers: bool) -> list[str]:
    """Lines without what differs from machine to machine."""
    kept = [line for line in text.splitlines() if not _CHOSEN.search(line)]
    bare = kept if numbers else [_NUMBER.sub("#", line) for line in kept]
    return [" ".join(line.split()) for line in bare if line.strip()]


def _is_what_the_page_shows(name: str, output: str) -> None:
    shown = (PRINTED / f"{name}.txt").read_text(encoding="utf-8")
    numbers = name in COUNTED
    printed, expected = (_lines(text, numbers=numbers) for text in (output, shown))
    again = f"run `python docs/render_examples.py {name}`"
    if name == "06_compare_latency":  # an engine may be missing
        assert set(printed) <= set(expected), again
    else:
        assert printed == expected, again


def test_the_page_shows_every_example() -> None:
    page = (PRINTED.parent / "examples.md").read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert f"../examples/{path.name}" in page
        assert f"printed/{path.stem}.txt" in page


@pytest.mark.parametrize("other", ["conv1 fused", "conv2 1.5 ms", "conv1", ""])
def test_what_differs_is_found(other: str) -> None:
    assert _lines("conv1  1.5e-3 ms", numbers=False) == _lines("conv1 22 ms", numbers=False)
    assert _lines("conv1  1.5e-3 ms", numbers=False) != _lines(other, numbers=False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 80
