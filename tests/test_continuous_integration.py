"""What continuous integration is given: the action, the hook, the image's recipe."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from cli.conftest import CONV, make_network, pool
from ruamel.yaml import YAML

from mlcnn.cli import configuring
from mlcnn.cli.app import app

ROOT = Path(__file__).parents[1]
ACTION = YAML(typ="safe").load(ROOT / "action.yml")
HOOKS = YAML(typ="safe").load(ROOT / ".pre-commit-hooks.yaml")


def tool(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def test_the_action_is_what_github_takes() -> None:
    schema = tool(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions",
        "action.yml",
    )  # fmt: skip
    assert schema.returncode == 0, schema.stdout + schema.stderr


def test_the_hook_is_what_pre_commit_takes() -> None:
    valid = tool(sys.executable, "-m", "pre_commit", "validate-manifest", ".pre-commit-hooks.yaml")
    assert valid.returncode == 0, valid.stdout + valid.stderr


def test_inputs_reach_the_shell_as_variables_alone() -> None:
    """An expression inside a script would be pasted into it, whatever it contains."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    used = {
        value for step in ACTION["runs"]["steps"]
        for value in (*step.get("env", {}).values(), *step.get("with", {}).values(),
                      step.get("working-directory", ""))
    }  # fmt: skip
    assert used - {""} == {f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"]}


@dataclass(frozen=True)
class Ran:
    """What one step left."""

    code: int
    out: str
    err: str
    summary: str
    outputs: dict[str, str]


RECORD = 'printf "%s\\n" "$@" >> "$RECORD"; echo end >> "$RECORD"'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with stand-ins for programs, which write down what they are called with."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shim(programs / "mlcnn", RECORD)
    shim(programs / "python", RECORD)
    return tmp_path


@pytest.fixture
def real(project: Path) -> Path:
    """A folder with a network and its baseline, where `mlcnn` is the program itself."""
    for name in ("new", "old"):
        onnx.save(make_network(CONV, pool("AveragePool", "c", "y")), project / f"{name}.onnx")
    shim(project / "bin" / "mlcnn", f'exec {sys.executable} -m mlcnn "$@"')
    return project


def called(project: Path) -> list[list[str]]:
    """The arguments of each call of a stand-in."""
    calls = (project / "record").read_text(encoding="utf-8").split("end\n")
    return [call.splitlines() for call in calls if call]


def shim(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def step(name: str, project: Path, inputs: dict[str, str]) -> Ran:
    """Run a step of the action as a runner does: a file, bash's options, inputs in variables."""
    (found,) = (each for each in ACTION["runs"]["steps"] if each["name"] == name)
    values = {key: given.get("default", "") for key, given in ACTION["inputs"].items()} | inputs
    environment = {
        key: values[text.removeprefix("${{ inputs.").removesuffix(" }}")]
        for key, text in found["env"].items()
    }
    script = project / "step.sh"
    script.write_text(found["run"], encoding="utf-8")
    summary, outputs = project / "summary.md", project / "outputs"
    summary.write_text("")
    outputs.write_text("")
    done = tool(
        "/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", str(script), cwd=project,
        PATH=f"{project / 'bin'}:{os.environ['PATH']}", RECORD=str(project / "record"),
        GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(outputs),
        GITHUB_ACTION_PATH="/the action",
        **environment,
    )  # fmt: skip
    lines = outputs.read_text().splitlines()
    return Ran(
        done.returncode, done.stdout, done.stderr, summary.read_text(),
        dict(line.split("=", 1) for line in lines),
    )  # fmt: skip


BASELINE = {"model": "new.onnx", "baseline": "old.onnx"}


def test_the_action_shows_the_line(project: Path) -> None:
    line = "mlcnn check: ok: new against old: bytes 5 (baseline 5)"
    shim(project / "bin" / "mlcnn", f"{RECORD}; echo '{line}'; echo 'mlcnn: warning: w' >&2")
    options = "--no-more multiplications\n  --max-error 1e-4\n"
    ran = step("Check", project, BASELINE | {"options": options})
    assert (ran.code, ran.out, ran.err) == (0, f"{line}\n", "mlcnn: warning: w\n")
    assert ran.summary == f"```text\n{line}\n```\n"
    assert ran.outputs == {"code": "0", "line": line}
    assert called(project) == [
        ["check", "new.onnx", "--no-more", "multiplications", "--max-error", "1e-4", "--baseline",
         "old.onnx"],
    ]  # fmt: skip


def test_the_action_fails_where_a_limit_breaks(project: Path) -> None:
    line = "mlcnn check: FAILED: new against old: bytes 6, which are 1 more (20.00%) than 5"
    shim(project / "bin" / "mlcnn", f"echo '{line}'; exit 3")
    ran = step("Check", project, BASELINE)
    escaped = line.replace("%", "%25")  # as a runner reads its commands
    assert (ran.code, ran.out) == (3, f"{line}\n::error title=mlcnn check::{escaped}\n")
    assert ran.outputs == {"code": "3", "line": line}
    assert line in ran.summary


def test_the_action_tells_what_is_wrong_with_the_input(project: Path) -> None:
    shim(project / "bin" / "mlcnn", "echo 'mlcnn: error: there is no limit' >&2; exit 2")
    ran = step("Check", project, BASELINE)
    assert ran.code == 2
    assert ran.outputs == {"code": "2", "line": "mlcnn: error: there is no limit"}
    assert ran.summary == "```text\nmlcnn: error: there is no limit\n```\n"


def test_the_baseline_may_come_from_a_file_of_options(project: Path) -> None:
    step("Check", project, {"model": "with space.onnx"})
    assert called(project) == [["check", "with space.onnx"]]


@pytest.mark.parametrize("name", ["model", "baseline", "options"])
def test_nothing_in_an_input_is_run(project: Path, name: str) -> None:
    harm = "$(touch harm) `touch harm` ; touch harm # \" ' * ${PATH}"
    assert step("Check", project, BASELINE | {name: harm}).code == 0
    assert not (project / "harm").exists()
    arguments = called(project)[0]
    if name == "options":
        assert arguments == ["check", "new.onnx", *harm.split(), "--baseline", "old.onnx"]
    else:
        assert harm in arguments


@pytest.mark.long
def test_the_action_with_the_program_itself(real: Path) -> None:
    (real / "mlcnn.toml").write_text('[check]\nbaseline = "old.onnx"\nno-more = ["bytes"]\n')
    ran = step("Check", real, {"model": "new.onnx"})
    assert (ran.code, ran.err) == (0, "")
    assert ran.outputs["line"].startswith("mlcnn check: ok: new against old: bytes ")
    model = make_network(CONV, pool("AveragePool", "c", "y"))
    model.doc_string = "x" * 5000
    onnx.save(model, real / "new.onnx")
    ran = step("Check", real, {"model": "new.onnx"})
    assert ran.code == 3
    assert ran.outputs["line"].startswith("mlcnn check: FAILED: new against old: bytes ")


def test_the_action_installs_by_the_constraints(project: Path) -> None:
    assert step("Install mlcnn", project, {"extras": "openvino,data"}).code == 0
    torch, mlcnn = called(project)
    assert torch[-5:] == [
        "--index-url", "https://download.pytorch.org/whl/cpu", "--constraint",
        "/the action/constraints.txt", "torch",
    ]  # fmt: skip
    assert mlcnn[-3:] == [
        "--constraint", "/the action/constraints.txt", "/the action[openvino,data]",
    ]  # fmt: skip
    step("Install mlcnn", project, {})
    assert called(project)[-1][-1] == "/the action"


def git(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return tool(
        "/usr/bin/env", "git", "-c", "user.name=n", "-c", "user.email=e@example.org",
        "-c", "commit.gpgsign=false", *command, cwd=project,
        PATH=f"{project / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        PRE_COMMIT_HOME=str(project.parent / f"{project.name}-cache"),
    )  # fmt: skip


def made_repository(project: Path) -> None:
    """The project under git, with the hook of this package from a repository of its own."""
    hooks = project.parent / f"{project.name}-hooks"
    hooks.mkdir()
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    (hooks / ".pre-commit-hooks.yaml").write_text(text, encoding="utf-8")
    for place in (hooks, project):
        git(place, "init", "-q", "-b", "main")
        git(place, "add", ".pre-commit-hooks.yaml")
    git(hooks, "commit", "-qm", "hooks")
    revision = git(hooks, "rev-parse", "HEAD").stdout.strip()
    config: dict[str, Any] = {"repo": str(hooks), "rev": revision, "hooks": [{
        "id": "mlcnn-check",
        "args": ["new.onnx", "--baseline", "old.onnx", "--no-more", "multiplications"],
    }]}  # fmt: skip
    with (project / ".pre-commit-config.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({"repos": [config]}, file)
    (project / "bin" / "python").unlink()
    installed = tool(
        sys.executable, "-m", "pre_commit", "install", cwd=project,
        PRE_COMMIT_HOME=str(project.parent / f"{project.name}-cache"),
    )  # fmt: skip
    assert installed.returncode == 0, installed.stdout + installed.stderr


@pytest.mark.long
def test_a_commit_that_breaks_a_limit_is_refused(real: Path) -> None:
    project = real
    made_repository(project)
    git(project, "add", "new.onnx", "old.onnx", ".pre-commit-config.yaml")
    first = git(project, "commit", "-m", "first")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "mlcnn check" in first.stderr
    wide = make_network(CONV, pool("AveragePool", "c", "y"))
    wide.graph.node[0].input[1] = "wide"
    initializer = onnx.numpy_helper.to_array(wide.graph.initializer[0]).repeat(3, 2)[:, :, :5]
    wide.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(initializer, "wide"))
    wide.graph.node[0].attribute[0].CopyFrom(onnx.helper.make_attribute("pads", [2, 1, 2, 1]))
    onnx.save(wide, project / "new.onnx")
    git(project, "add", "new.onnx")
    second = git(project, "commit", "-m", "second")
    # 5 x 3 in place of 3 x 3.
    assert second.returncode == 1
    assert (
        "mlcnn check: FAILED: new against old: multiplications 11,520, which are 4,608 more "
        "(66.67%) than the baseline's 6,912"
    ) in second.stderr
    assert "- exit code: 3" in second.stderr
    (project / "note.txt").write_text("nothing to check")
    git(project, "reset", "-q", "HEAD", "new.onnx")
    git(project, "add", "note.txt")
    third = git(project, "commit", "-m", "a commit without networks")
    assert third.returncode == 0
    assert "(no files to check)" in third.stderr


def test_the_image_is_built_from_what_it_is_given() -> None:
    """Docker is seldom where tests run: what is copied is there and is not ignored."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 1000"]
    assert 'ENTRYPOINT ["mlcnn"]' in lines
    assert all("--constraint" in line for line in lines if "pip install" in line)


def blocks(language: str) -> list[str]:
    """What the page shows in a language."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_the_workflow_and_the_configuration_of_the_page_are_valid(tmp_path: Path) -> None:
    workflow, hooks = blocks("yaml")
    (tmp_path / "workflow.yml").write_text(workflow, encoding="utf-8")
    (tmp_path / "hooks.yaml").write_text(hooks, encoding="utf-8")
    checks = (
        ("check_jsonschema", "--builtin-schema", "vendor.github-workflows", "workflow.yml"),
        ("pre_commit", "validate-config", "hooks.yaml"),
    )
    for check in checks:
        valid = tool(sys.executable, "-m", *check, cwd=tmp_path)
        assert valid.returncode == 0, valid.stdout + valid.stderr
    (job,) = YAML(typ="safe").load(workflow)["jobs"].values()
    given = job["steps"][-1]["with"]
    assert given.keys() <= ACTION["inputs"].keys()
    required = {name for name, each in ACTION["inputs"].items() if each.get("required")}
    assert required <= given.keys()


def test_the_options_of_the_page_are_taken(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    path = tmp_path / "mlcnn.toml"
    path.write_text(text, encoding="utf-8")
    entries = tuple(configuring._entries(path))
    assert len(entries) == 5
    configuring._require_known(app, entries)
