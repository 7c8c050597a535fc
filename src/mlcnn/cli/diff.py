"""``mlcnn diff``: two networks node by node."""

from pathlib import Path

import mlcnn
from mlcnn.cli.options import Loading, Printing
from mlcnn.cli.output import console, print_json, progress, show
from mlcnn.errors import InputError

__all__ = ["diff"]


def diff(
    before: str,
    after: str,
    /,
    *,
    html: Path | None = None,
    netron: bool = False,
    loading: Loading = Loading(),
    printing: Printing = Printing(),
) -> None:
    """Compare two networks node by node: what went, what came, what changed, with the counts.

    Args:
        before: zoo name, .onnx or .pt2 file, or package.module:callable.
        after: another one.
        html: a page to write that draws both around each difference.
        netron: open the two files in Netron, where it is installed.
        loading: how to load the networks.
        printing: what is printed.
    """
    if html is not None:
        mlcnn.graph.check_output(html)
    if netron:
        _require_files(before, after)
    with progress() as tell:
        tell("compare", 0, 0)
        found = mlcnn.diff(before, after, input_shape=loading.shape, weights=loading.weights)
        if html is not None:
            found.report().save(html)
    if printing.json:
        print_json(found.to_json() | {"html": None if html is None else str(html)})
    else:
        show(mlcnn.api.difference_tables(found.names, found.nodes, found.counts, found.uncounted))
        if html is not None:
            console().print(f"written: {html}", soft_wrap=True, markup=False)
    if netron:
        mlcnn.api.show_in_netron(before, after, wait=True)


def _require_files(*sources: str) -> None:
    mlcnn.api.require_netron(" and ".join(sources))
    for source in sources:
        if not Path(source).is_file():
            raise InputError(
                f"--netron: {source} is no file, and Netron opens files; write it first with "
                "`mlcnn optimize`"
            )
