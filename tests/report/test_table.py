"""Tables in terminals of any width: nothing that they hold is lost."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from mlcnn.report import columns_table

NAMES = ("features.denseblock1.denselayer1.conv1", "[bold]classifier[/]")
NUMBERS = (("1,234,567,890", "12"), ("3", "4,000,000"))


def printed(width: int) -> str:
    table = columns_table(
        ("layer", False),
        ("form", False),
        ("before", True),
        ("fused,\nshared", True),
        title="Counts",
    )
    for name, numbers in zip(NAMES, NUMBERS, strict=True):
        table.add_row(Text(name), "expanded", *numbers)
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [10, 16, 24, 32, 40, 48, 60, 80, 140])
def test_no_name_and_no_digit_is_lost_at_any_width(width):
    lines = printed(width).splitlines()
    assert max(map(len, lines)) <= width
    if width < 48:
        letters = "".join(line.strip() for line in lines)
        assert all(name in letters for name in NAMES)
    else:  # a folded name stands in the first column
        header = next(line for line in lines if line.startswith("layer"))
        edge = header.index("form")
        assert edge > 12
        letters = "".join(line[:edge].strip() for line in lines)
        assert all(name in letters for name in NAMES)
        letters = "".join(lines)
    assert all(number in letters for row in NUMBERS for number in row)


def test_a_narrow_terminal_gets_a_list():
    assert printed(30).splitlines() == [
        "Counts",
        "",
        "features.denseblock1.denselaye",
        "r1.conv1",
        "  form: expanded",
        "  before: 1,234,567,890",
        "  fused, shared: 12",
        "",
        "[bold]classifier[/]",
        "  form: expanded",
        "  before: 3",
        "  fused, shared: 4,000,000",
    ]
