"""The commit that a result names is that of mlcnn's own source, or none."""

import subprocess

import mlcnn
from mlcnn.api.provenance import where
from mlcnn.training import Hardware


def git(folder, *arguments):
    command = ("git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_repository_that_holds_the_source(tmp_path, monkeypatch):
    source = tmp_path / "mlcnn" / "__init__.py"
    source.parent.mkdir()
    source.touch()
    monkeypatch.setattr(mlcnn, "__file__", str(source))
    assert where(Hardware())["commit"] is None  # no repository
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "a project that installed mlcnn")
    assert where(Hardware())["commit"] is None  # the repository is another project's
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "mlcnn itself")
    assert where(Hardware())["commit"] == git(tmp_path, "rev-parse", "HEAD")
