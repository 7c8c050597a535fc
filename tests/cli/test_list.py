"""``mlcnn list``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mlcnn as package

Call = Callable[..., Any]
KNOWN = {
    "zoo": "lenet5",
    "sources": "timm",
    "passes": "fuse",
    "engines": "onnxruntime",
    "machines": "mlcnn-fp32",
    "technologies": "horowitz-45nm+cacti-45nm-lop+hbm2",
}


@pytest.mark.parametrize(("kind", "name"), KNOWN.items())
def test_everything_has_a_line(mlcnn: Call, kind: str, name: str) -> None:
    result = mlcnn("list", kind)
    assert result.code == 0
    assert any(
        line.split()[:1] == [name] and len(line.split()) > 1 for line in result.out.splitlines()
    )
    document = mlcnn("list", kind, "--json").json
    assert document["kind"] == kind
    assert name in [entry["name"] for entry in document["entries"]]
    assert all(entry["about"] for entry in document["entries"])
    one = mlcnn("list", kind, "--describe", name, "--json").json
    assert one == next(entry for entry in document["entries"] if entry["name"] == name)


def test_a_machine_is_a_file_to_edit(mlcnn: Call, tmp_path: Path) -> None:
    text = mlcnn("list", "machines", "--describe", "mlcnn-int8").out
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("name: mlcnn-int8", "name: mine"))
    found = package.accelerators.load_accelerator(path)
    assert found.name == "mine"
    assert found.slices == package.accelerators.load_accelerator("mlcnn-int8").slices


def test_options_of_a_pass(mlcnn: Call) -> None:
    options = mlcnn("list", "passes", "--describe", "max-to-average", "--json").json["options"]
    assert options["window"] == "stride (of keep, stride)"
    assert options["all"] == "false"
    assert "chooser" not in mlcnn("list", "passes", "--describe", "fuse").out


def test_an_alias_says_what_it_stands_for(mlcnn: Call) -> None:
    found = mlcnn("list", "passes", "--describe", "exact").out
    assert package.passes.pipeline.ALIASES["exact"] in found


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("pases",), "'pases' cannot be listed, did you mean 'passes'? Give one of zoo, passes,"),
        (
            ("machines", "--describe", "mlcnn-int9"),
            "unknown accelerator 'mlcnn-int9', did you mean",
        ),
        (("passes", "--describe", "fus"), "unknown pass 'fus'; did you mean 'fuse'?"),
        (("engines", "--describe", "torh"), "unknown engine 'torh'; did you mean 'torch'?"),
        (("zoo", "--describe", "lenet6"), "unknown network 'lenet6', did you mean 'lenet5'?"),
    ],
)
def test_what_is_not_there(mlcnn: Call, arguments: tuple[str, ...], told: str) -> None:
    result = mlcnn("list", *arguments)
    assert (result.code, result.out) == (2, "")
    assert told in result.error


def test_help_describes_each_command_in_a_line(
    mlcnn: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip("│ ") for line in mlcnn("--help").out.splitlines()]
    for command in ("run", "optimize", "count", "bench", "evaluate", "reproduce", "list"):
        (line,) = [line for line in lines if line.split()[:1] == [command]]
        assert line.endswith(".")
