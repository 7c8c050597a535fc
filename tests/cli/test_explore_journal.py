"""``mlcnn explore --journal``: killed, interrupted, beside another one, and where no room is."""

import json
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mlcnn.journal import Journal

Call = Callable[..., Any]

ONE = ("--range", "pe=4", "--range", "scratchpad_kb=1", "--range", "accumulator_kb=1")
FEW = ("--range", "pe=2..4", "--range", "scratchpad_kb=1..2", "--range", "accumulator_kb=1")
MORE = ("--range", "pe=2..16", "--range", "scratchpad_kb=1..4", "--range", "accumulator_kb=1..2")
KILLS = 10


def rows(path: Path) -> list[Any]:
    with sqlite3.connect(path) as connection:
        return list(connection.execute("SELECT number, tried, result FROM results ORDER BY 1"))


def test_a_journal_of_another_seed(mlcnn: Call, fusable: Path) -> None:
    one = ("--range", "pe=4", "--range", "scratchpad_kb=1", "--range", "accumulator_kb=1")
    mlcnn("explore", fusable, *one, "--journal", "j.db")
    assert mlcnn("explore", fusable, *one, "--journal", "j.db", "--seed", 1).error == (
        "journal j.db is of another run: seed is 0 there and 1 here; give --journal another file, "
        "or --fresh to begin this one anew"
    )
    assert mlcnn("explore", fusable, *one, "--journal", "j.db", "--seed", 1, "--fresh").code == 0


def test_a_journal_in_use(mlcnn: Call, fusable: Path) -> None:
    with Journal(Path("j.db"), {"network_name": "vgg16"}):
        result = mlcnn("explore", fusable, *ONE, "--journal", "j.db")
    first = f"the exploration of vgg16 by process {os.getpid()} on {socket.gethostname()}, begun "
    assert result.error.startswith(f"journal j.db is in use by {first}")
    assert result.error.endswith("; wait for it, end it, or give --journal another file")
    assert result.code == 2


def test_no_more_room(mlcnn: Call, fusable: Path) -> None:
    """Files may not grow beyond what two designs need: the system calls fail as on a full disk."""
    whole = mlcnn("explore", fusable, *FEW, "--journal", "whole.db", "--json").json
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        result = mlcnn("explore", fusable, *FEW, "--journal", "j.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.error == (
        "journal j.db: it cannot be written (disk I/O error); make room or give --journal another "
        "place; what is in it stays, and the same command goes on from there"
    )
    assert result.code == 2
    kept = rows(Path("j.db"))
    assert 0 < len(kept) < len(rows(Path("whole.db")))
    again = mlcnn("explore", fusable, *FEW, "--journal", "j.db", "--json").json
    assert rows(Path("j.db")) == rows(Path("whole.db"))
    assert again["pareto"] == whole["pareto"]


@contextmanager
def somebody() -> Iterator[None]:
    """A user whom permissions bind: root may write everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


READ_ONLY = (
    "attempt to write a readonly database); make room or give --journal another place; what is in "
    "it stays, and the same command goes on from there"
)
NO_RIGHT = "Permission denied); give --journal a place that can be"


@pytest.fixture
def opened_by_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*arguments: Any, **options: Any) -> Journal:
        with somebody():
            return Journal(*arguments, **options)

    monkeypatch.setattr("mlcnn.api.exploring.Journal", opened)


@pytest.mark.usefixtures("opened_by_somebody")
@pytest.mark.parametrize(
    ("place", "mode", "why"), [("j.db", 0o444, READ_ONLY), ("", 0o555, NO_RIGHT)]
)
def test_what_may_only_be_read(mlcnn: Call, fusable: Path, place: str, mode: int, why: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # that of a test is root's alone
        folder = Path(name)
        folder.chmod(0o777)
        path = folder / "j.db"
        assert mlcnn("explore", fusable, *ONE, "--journal", path).code == 0
        kept = rows(path)
        (folder / "j.db.lock").unlink()
        (folder / place).chmod(mode)
        result = mlcnn("explore", fusable, *ONE, "--journal", path)
        folder.chmod(0o777)
        assert result.error == f"journal {path}: it cannot be written ({why}"
        assert result.code == 2
        assert rows(path) == kept


def run(folder: Path, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "mlcnn", "explore", *map(str, arguments), "--json"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def wait_for(path: Path, count: int, process: "subprocess.Popen[str]") -> list[Any]:
    """Until a journal has so many designs, or the process has ended: what is in it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        ended = process.poll() is not None
        found: list[Any] = []
        if path.exists():
            with suppress(sqlite3.OperationalError):  # no table yet
                found = rows(path)
        if len(found) >= count or ended:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{path} has not {count} designs")


@pytest.mark.long
def test_interrupted(tmp_path: Path, fusable: Path) -> None:
    path = tmp_path / "j.db"
    process = run(tmp_path, fusable, *MORE, "--journal", path)
    wait_for(path, 2, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["interrupted"]
    assert document["pareto"]
    assert document["scored"] == len(rows(path))


@pytest.mark.long
def test_killed_at_ten_moments(mlcnn: Call, tmp_path: Path, fusable: Path) -> None:
    """Each run is killed a random time after a random number of designs, the next goes on."""
    begun = time.monotonic()
    expected = mlcnn("explore", fusable, *MORE, "--journal", "whole.db", "--json").json
    each = (time.monotonic() - begun) / expected["scored"]
    whole, path = rows(tmp_path / "whole.db"), tmp_path / "cut.db"
    drawn = random.Random(0)
    moments = sorted(
        (drawn.randrange(len(whole)), drawn.uniform(0, each), drawn.choice((1, 1, 2)))
        for _ in range(KILLS)
    )
    told = f"killed when so many are written and so many seconds later; processes: {moments}"
    for number, seconds, processes in moments:
        cut = run(tmp_path, fusable, *MORE, "--journal", path, "--processes", processes)
        before = wait_for(path, number, cut)
        time.sleep(seconds)
        cut.send_signal(signal.SIGKILL)
        cut.communicate()
        assert cut.returncode == -signal.SIGKILL, told
        known = rows(path) if before else []
        assert set(before) <= set(known) <= set(whole), told
    found = mlcnn("explore", fusable, *MORE, "--journal", path, "--json").json
    assert rows(path) == whole, told
    assert found["pareto"] == expected["pareto"], told


@pytest.mark.long
def test_two_processes_at_once(mlcnn: Call, tmp_path: Path, fusable: Path) -> None:
    path = tmp_path / "j.db"
    first = run(tmp_path, fusable, *MORE, "--journal", path)
    try:
        wait_for(path, 1, first)
        error = mlcnn("explore", fusable, *MORE, "--journal", path).error
    finally:
        first.kill()
        first.communicate()
    start = f"journal {path} is in use by the exploration of fusable by process {first.pid} on "
    assert error.startswith(start)
