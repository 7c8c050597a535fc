"""Shell completion, in a real bash; and what starting the command line imports."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cyclopts.completion import ShellDetectionError

Call = Callable[..., Any]

ASK = """
source "$1"; shift
complete -p mlcnn
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
_mlcnn
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script that a user loads; made in a process of its own, which imports nothing heavy."""
    program = (
        "import sys; from mlcnn.cli import main; code = main(['completion', 'bash']); "
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'altair'} & sys.modules.keys(); "
        "sys.exit(f'imported: {heavy}' if heavy else code)"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr
    path = tmp_path_factory.mktemp("completion") / "mlcnn.bash"
    path.write_text(made.stdout, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("chec", ["check"]),
        ("check --no-m", ["--no-more"]),
        ("check --no-more ", ["multiplications", "parameters", "bytes"]),
        ("check net.onnx --engine nat", ["native"]),
        ("rtl ", ["simulate"]),
        ("rtl simulate --verb", ["--verbose"]),
        ("check net", []),  # bash completes files then
    ],
)
def test_bash_completes(script: Path, line: str, first: list[str]) -> None:
    words = ["mlcnn", *line.split(" ")]
    found = subprocess.run(
        ["/bin/bash", "--norc", "-c", ASK, "bash", str(script), *words],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    how, *words = found.stdout.splitlines()
    assert how == "complete -o default -F _mlcnn mlcnn"
    assert [word.strip() for word in words if word] == first


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(mlcnn: Call, shell: str) -> None:
    result = mlcnn("completion", shell)
    assert result.code == 0
    assert "no-more" in result.out
    assert "mlcnn" in result.out


def test_a_shell_that_is_not_known(mlcnn: Call) -> None:
    assert mlcnn("completion", "tcsh").error == (
        'Invalid value "tcsh" for SHELL. Choose from: "bash", "zsh", "fish".'
    )


def test_install(mlcnn: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".local/share/bash-completion/completions/mlcnn"
    result = mlcnn("--install-completion", "--shell", "bash")
    assert result.out == f"written: {path}; start the shell again\n"
    assert path.read_text(encoding="utf-8") == mlcnn("completion", "bash").out

    def unknown() -> NoReturn:
        raise ShellDetectionError

    monkeypatch.setattr("cyclopts.completion.detect.detect_shell", unknown)
    assert mlcnn("--install-completion").error == (
        "--install-completion: which shell this is cannot be told; give it, as --shell bash"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["--version"]])
def test_starting_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        f"import sys; from mlcnn.cli import main; main({arguments!r}); "
        "heavy = {'torch', 'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'altair', 'mlcnn.api'}; "
        "sys.exit(f'imported: {heavy & sys.modules.keys()}' if heavy & sys.modules.keys() else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_broken_installation_is_one_line() -> None:
    program = (
        "import sys; sys.modules['cyclopts'] = None; from mlcnn.cli import main; main(['list'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "mlcnn: error: the installation is broken: import of cyclopts halted; None in sys.modules; "
        "install mlcnn again\n"
    )
