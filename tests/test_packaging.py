"""The wheel holds what the package needs, and works from an empty directory."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import mlcnn

ROOT = Path(__file__).parents[1]


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **environment}
    return subprocess.run(
        command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    built = run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT),
        cwd=folder,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_wheel_has_every_file_of_the_package(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("mlcnn/")}
    source = ROOT / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in (source / "mlcnn").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


def test_the_source_distribution_can_be_tested(distributions: Path) -> None:
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    required = {"pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"}
    required |= {"CITATION.cff"}
    assert required <= names
    assert any(name.startswith("tests/golden/") for name in names)
    assert not {".venv", "_build"} & {part for name in names for part in name.split("/")}


def test_the_wheel_works_from_an_empty_directory(distributions: Path, tmp_path: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    target, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    installed = run(
        sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet",
        "--target", str(target), str(wheel), cwd=empty,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    result = run(
        sys.executable, "-m", "mlcnn", "optimize", "lenet5", "--json", cwd=empty,
        PYTHONPATH=str(target),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert len([c for c in document["changes"] if c["form"]]) == 2
    assert (empty / document["output"]).stat().st_size > 62_006 * 4
    where = run(
        sys.executable, "-c", "import mlcnn; print(mlcnn.__file__)", cwd=empty,
        PYTHONPATH=str(target),
    )  # fmt: skip
    assert where.stdout.strip().startswith(str(target))


def test_the_citation_is_of_the_paper_and_the_version() -> None:
    """Title and identifier as in the bibliography, which is from the publisher's page."""
    cited = YAML(typ="safe").load(ROOT / "CITATION.cff")
    (paper,) = cited["references"]
    text = (ROOT / "docs/references.bib").read_text(encoding="utf-8")
    entry = text.split("@inproceedings{jiang2022mlcnn,")[1].split("\n}")[0]
    assert f"{{{paper['title'].replace('MLCNN', '{MLCNN}')}}}" in entry
    assert f"{{{paper['doi']}}}" in entry
    authors = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert f"{{{' and '.join(authors)}}}" in entry
    assert cited["version"] == mlcnn.__version__
    page = (ROOT / "docs/citing.md").read_text(encoding="utf-8")
    assert f"version = {{{mlcnn.__version__}}}" in page


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys, mlcnn, mlcnn.cli; "
        "print([name for name in ('torch', 'onnx', 'onnx_ir', 'altair') if name in sys.modules])"
    )
    result = run(sys.executable, "-c", program, cwd=tmp_path)
    assert result.stdout.strip() == "[]", result.stderr


def test_constraints_pin_every_package_exactly() -> None:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert "torch==2.13.0" in lines
    assert all(line.count("==") == 1 for line in lines)
