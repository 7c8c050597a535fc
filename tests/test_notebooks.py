"""The notebooks run from top to bottom, every cell shows something, and no output is kept."""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))
CHART = "application/vnd.vegalite.v6+json"
TIMEOUT_S = 300


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_stored(path: Path) -> None:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_shows_something(path: Path, tmp_path: Path) -> None:
    notebook = read(path)
    nbclient.NotebookClient(
        notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        (output,) = cell.outputs
        assert output.output_type == "execute_result", cell.source
        assert {"text/html", CHART} & output.data.keys(), cell.source
    shown = [cell.outputs[0].data.get("text/html", "") for cell in cells]
    assert shown[0].startswith("<table><caption>lenet5")
    assert shown[-1].startswith('<iframe title="lenet5: mlcnn report"')
    assert list(tmp_path.iterdir()) == []
