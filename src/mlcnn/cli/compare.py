"""``mlcnn compare``: two searches for the cheapest way to run a network side by side."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Printing
from mlcnn.cli.output import console, print_json
from mlcnn.errors import InputError

__all__ = ["compare"]


def compare(
    first: Path,
    second: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    printing: Printing = Printing(),
) -> None:
    """Set two runs of `mlcnn cheapest` side by side: what was asked, found, and tried by one alone.

    Args:
        first: folder of a run.
        second: folder of another one.
        out: a page to write, as compare.html.
        printing: what is printed.
    """
    if out is not None:
        mlcnn.graph.check_output(out)
        if out.suffix != ".html":
            raise InputError(f"-o {out}: the page is an .html file; give it this suffix")
    found = mlcnn.api.compare_runs(first, second)
    if out is not None:
        found.report().save(out)
    if printing.json:
        print_json(found.to_json() | {"output": None if out is None else str(out)})
        return
    parts = ["\n".join(map(mlcnn.api.printable, found.text().split("\n")))]
    parts += [] if out is None else [f"written: {out}"]
    console().print(*parts, sep="\n", markup=False, soft_wrap=True)
