"""``mlcnn deploy``: what it writes, prints and refuses."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

QUICK = ("--no-verify", "--no-measure", "--algorithm", "direct")


def test_it_writes_a_folder_and_says_what_is_in_it(mlcnn, fusable) -> None:
    result = mlcnn("deploy", fusable, "-o", "out", *QUICK)
    assert result.code == 0, result.err
    assert "written: out/ (fusable.h, CMakeLists.txt, main.c" in result.out
    names = {path.name for path in Path("out").iterdir()}
    assert names == {
        "fusable.h", "fusable.c", "fusable_weights.S", "fusable_weights.bin", "main.c",
        "fusable_onnxruntime.c", "fusable_onnxruntime.onnx", "CMakeLists.txt", "kernels",
        "deployed.json",
    }  # fmt: skip
    header = Path("out/fusable.h").read_text()
    assert "#define FUSABLE_INPUT_0_SIZE 192 /* numbers */" in header
    assert " * inputs[0]: x, 1 x 3 x 8 x 8 floats\n" in header
    assert " * outputs[0]: y, 1 x 4 x 4 x 4 floats\n" in header


def test_json_says_it_all(mlcnn, fusable) -> None:
    told = mlcnn("deploy", fusable, "-o", "out", "--batch", "3", "--name", "net", *QUICK, "--json")
    document = told.json
    assert document["output"] == "out"
    assert document["name"] == "net"
    assert document["batch"] == 3
    assert document["inputs"] == [{"name": "x", "shape": [3, 3, 8, 8], "dtype": "float32"}]
    assert document["outputs"] == [{"name": "y", "shape": [3, 4, 4, 4], "dtype": "float32"}]
    assert document["checked"] is None
    assert "fuse" in document["pipeline"]
    assert document["plan"] == json.loads(Path("out/deployed.json").read_text())["plan"]
    weights = Path("out/net_weights.bin").stat().st_size
    assert document["weights_bytes"] == weights - 64


@pytest.mark.long  # compiles
def test_the_library_is_compiled_and_compared(mlcnn, fusable) -> None:
    document = mlcnn("deploy", fusable, "-o", "out", "--json").json
    checked = document["checked"]
    assert checked["difference"] == 0
    assert checked["context_bytes"] == document["context_bytes"]
    assert checked["binary_bytes"] - checked["code_bytes"] == document["weights_bytes"] + 64


def test_nothing_is_written_where_something_is_wrong(mlcnn, fusable, network, tmp_path) -> None:
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    onnx.save(network(helper.make_node("Sign", ["x"], ["y"], name="sign")), tmp_path / "sign.onnx")
    cases = {
        ("-o", "full"): "full: holds notes.txt, which is not as `mlcnn deploy` wrote it; give a "
        "new or an empty folder",
        ("-o", "full/notes.txt"): "full/notes.txt: a file stands where a folder is required",
        ("--batch", "0"): "batch must be 1 or more, got 0",
        ("--threads", "0"): "--threads 0: 1 or more are required",
        ("--name", "my net"): "--name my net: a name in C is required (letters, digits and _, a "
        "letter first, no word of C), as my_net",
    }
    for options, message in cases.items():
        result = mlcnn("deploy", fusable, *options, *QUICK)
        assert (result.code, result.error) == (2, message)
    result = mlcnn("deploy", "sign.onnx", "-o", "out", *QUICK)
    assert result.code == 2
    assert "Sign" in result.error
    assert "'sign'" in result.error
    assert "onnxruntime" in result.error
    assert not Path("out").exists()
    assert [path.name for path in Path("full").iterdir()] == ["notes.txt"]
