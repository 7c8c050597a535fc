"""``mlcnn.toml``: where it is found, what wins, and what is wrong with it; and ``-v``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import onnx
import pytest
from cli.conftest import CONV, make_network, pool

from mlcnn.cli import configuring

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder above the current one, so that nothing above counts."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("MLCNN_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """A folder with a network twice."""
    folder = tmp_path / "nets"
    folder.mkdir()
    for name in ("new", "old"):
        onnx.save(make_network(CONV, pool("AveragePool", "c", "y")), folder / f"{name}.onnx")
    return folder


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mlcnn.toml"
    path.write_text(text, encoding="utf-8")
    return path


CHECK = '[check]\nbaseline = "nets/old.onnx"\nno-more = ["multiplications"]\n'


def test_options_of_a_command_and_of_all(mlcnn: Call, nets: Path) -> None:
    write(nets.parent, f"[defaults]\njson = true\nthreads = 1\n{CHECK}")
    result = mlcnn("check", "nets/new.onnx")
    assert (result.code, result.err) == (0, "")
    assert [row["limit"] for row in json.loads(result.out)["checks"]] == ["multiplications"]
    # A command without some of the options takes the others.
    assert json.loads(mlcnn("list", "zoo").out)


def test_the_command_line_wins_then_the_commands_own_table(
    mlcnn: Call, nets: Path, fusable: Path
) -> None:
    write(nets.parent, f'[defaults]\npasses = "reorder"\n{CHECK}[optimize]\npasses = "exact"\n')
    given = mlcnn("check", "nets/new.onnx", "--no-more", "bytes", "--json")
    assert [row["limit"] for row in given.json["checks"]] == ["bytes"]
    run = mlcnn("optimize", fusable, "--dry-run", "--json")
    assert [change["pass"] for change in run.json["changes"]] == ["fuse"]
    run = mlcnn("optimize", fusable, "--dry-run", "--json", "--passes", "reorder")
    assert run.json["changes"] == []


def test_a_file_above_is_found_and_its_paths_are_its_own(
    mlcnn: Call, nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(nets.parent, CHECK)
    deep = nets.parent / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert mlcnn("check", "../../nets/new.onnx").code == 0
    # The nearest file counts alone.
    write(nets.parent / "a", "[defaults]\n")
    assert "--baseline requires an argument" in mlcnn("check", "../../nets/new.onnx").error


def test_a_repository_and_the_home_folder_end_the_search(
    mlcnn: Call, nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(nets.parent, "[defaults]\nwrong = 1\n")
    inner = nets.parent / "repository" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert mlcnn("list", "zoo").code == 2
    (inner.parent / ".git").mkdir()
    assert mlcnn("list", "zoo").code == 0
    write(inner.parent, "[defaults]\njson = true\n")  # the repository's own
    assert json.loads(mlcnn("list", "zoo").out)
    (inner.parent / ".git").rmdir()
    (inner.parent / "mlcnn.toml").unlink()
    monkeypatch.setattr(Path, "home", lambda: inner)
    assert mlcnn("list", "zoo").code == 0


def test_a_user_without_a_home_and_a_folder_that_is_gone(
    mlcnn: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> NoReturn:
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(Path, "home", none)
    assert mlcnn("list", "zoo").code == 0
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = mlcnn("list", "zoo")
    monkeypatch.chdir(tmp_path)
    assert result.code == 0


def test_a_file_where_everybody_may_write_is_not_read(
    mlcnn: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    path = write(shared, "[defaults]\nwrong = 1\n")
    shared.chmod(0o777)
    monkeypatch.chdir(shared)
    result = mlcnn("list", "zoo")
    assert result.code == 0
    assert result.err == (
        f"mlcnn: warning: {path} is not read, since everybody may write to its folder; name it "
        "with --config\n"
    )
    assert mlcnn("list", "zoo", "--config", "mlcnn.toml").code == 2


def test_a_named_file_and_none(mlcnn: Call, nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(nets.parent, "[defaults]\nwrong = 1\n")
    other = write(
        nets.parent / "other", '[check]\nbaseline = "../nets/old.onnx"\nno-more = "bytes"\n'
    )
    assert mlcnn("check", "nets/new.onnx", "--config", other).code == 0
    monkeypatch.setenv("MLCNN_CONFIG", str(other))
    assert mlcnn("check", "nets/new.onnx").code == 0
    result = mlcnn("check", "nets/new.onnx", "--no-config")
    assert "--baseline requires an argument" in result.error
    monkeypatch.setenv("MLCNN_CONFIG", "gone.toml")
    assert mlcnn("list").error == "MLCNN_CONFIG gone.toml: no such file"
    assert mlcnn("list", "--config", "x.toml").error == "--config x.toml: no such file"
    assert mlcnn("list", "--config", "x.toml", "--no-config").error == (
        "--config x.toml and --no-config: give one"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "json = true\n",
            (":1: json stands in no table; put it below [defaults], for every command, or below a "
            "command's name, as [check]"),
        ),
        (
            "\n[chek]\njson = true\n",
            (":3: [chek] is no command of mlcnn; did you mean 'check'? [defaults] holds for every "
            "command"),
        ),
        (
            "[check]\nmax-dorp = 1\n",
            ":2: [check] max-dorp: mlcnn check has no option --max-dorp; did you mean 'max-drop'?",
        ),
        (
            "[defaults]\n# threads\n\nthreds = 1\n",
            ":4: [defaults] threds: no command has option --threds; did you mean 'threads'?",
        ),
        (
            "[rtl.simulate]\nmax-drop = 1\n",
            ":2: [rtl.simulate] max-drop: mlcnn rtl simulate has no option --max-drop",
        ),
        ('[check]\nthreads = "two"\n', ":2: [check] threads = 'two': a whole number is required"),
        ("[check]\nthreads = 1.5\n", ":2: [check] threads = 1.5: a whole number is required"),
        ("[check]\nthreads = [1]\n", ":2: [check] threads = [1]: a whole number is required"),
        ("[check]\njson = 1\n", ":2: [check] json = 1: true or false is required"),
        ("[check]\nmax-drop = true\n", ":2: [check] max-drop = true: a number is required"),
        ("[check]\nbaseline = 3\n", ":2: [check] baseline = 3: a text is required"),
        (
            "[check]\nbatch = ['1']\n",
            ":2: [check] batch = ['1']: a whole number, or a list of them is required",
        ),
        (
            '[check]\nno-more = ["byte"]\n',
            (":2: [check] no-more = 'byte': one of multiplications, parameters, bytes is required; "
            "did you mean 'bytes'?"),
        ),
        ("[defaults]\ndebug = true\n", ":2: [defaults] debug: give it on the command line"),
        (
            "[check\n",
            (
                ": not valid TOML: Expected ']' at the end of a table declaration (at line 1, "
                "column 7)"
            ),
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_whichever_command_runs(
    mlcnn: Call, tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text)
    result = mlcnn("list", "zoo")
    assert (result.code, result.out) == (2, "")
    assert result.error.startswith(f"{path}{message}")
    if not message.endswith("--max-drop"):
        assert result.error == f"{path}{message}"


def test_bytes_that_are_no_text(mlcnn: Call, tmp_path: Path) -> None:
    (tmp_path / "mlcnn.toml").write_bytes(b"\xff\xfe")
    assert "mlcnn.toml: cannot be read" in mlcnn("list").error


def test_help_does_not_need_a_right_file(mlcnn: Call, tmp_path: Path) -> None:
    write(tmp_path, "wrong")
    assert mlcnn("--help").code == mlcnn("check", "--help").code == 0
    assert mlcnn("--version").code == 0


def test_lines_are_those_of_the_file() -> None:
    text = 'a = 1\n[check]\n"b-c" = 2 # d = 3\n\n[ rtl.simulate ]\ne=4\n'
    assert configuring._lines(text) == {
        ("", "a"): 1, ("check", ""): 2, ("check", "b-c"): 3, ("rtl.simulate", ""): 5,
        ("rtl.simulate", "e"): 6,
    }  # fmt: skip


def told(result: Any) -> list[str]:
    """What stands behind the time in each line of standard error."""
    lines = result.err.splitlines()
    assert all(line.startswith("mlcnn: ") and " s: " in line for line in lines)
    return [line.split(" s: ", 1)[1] for line in lines]


def test_verbose_tells_what_is_done(mlcnn: Call, fusable: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "[defaults]\nseconds = 0.1\n")
    lines = told(mlcnn("optimize", fusable, "-o", "out.onnx", "--form", "box", "--json", "-v"))
    assert lines[0] == f"options from {path}"
    assert lines[1] == f"read {fusable}: 2 nodes, 1 weights"
    assert "pass fuse: 1 changes, 0 skipped" in lines
    assert lines[-2:] == ["write out.onnx", "done"]


def test_how_much_is_told_is_asked_anew_each_time(mlcnn: Call, fusable: Path) -> None:
    given = ["count", fusable, "--form", "box", "--json"]
    once, twice = mlcnn(*given, "-v"), mlcnn(*given, "-vv")
    quiet = mlcnn(*given)
    assert quiet.err == ""
    assert once.out == twice.out == quiet.out
    assert len(told(twice)) > len(told(once)) > 1
    assert "fuse changed conv, pool: box" in told(twice)
    assert told(mlcnn(*given, "-v", "--verbose")) == told(twice)


def test_every_command_takes_the_common_options() -> None:
    from mlcnn.cli.app import app

    for command, part in configuring._commands(app, ()):
        if command != ("completion",):
            names = configuring._by_name(part.assemble_argument_collection())
            missing = {"--json", "--verbose", "--debug", "--config", "--no-config"} - names.keys()
            assert not missing, command
