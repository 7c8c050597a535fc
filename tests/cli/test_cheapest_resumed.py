"""``mlcnn cheapest`` killed, interrupted, by several processes, and without room: one answer."""

import errno
import json
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import onnxruntime
import pytest
import torch
from api.stripes import SIZE, Net, stripes

import mlcnn
from mlcnn import graph, training
from mlcnn.api.searching import trials
from mlcnn.cli import INTERRUPTED, main
from mlcnn.errors import InputError
from mlcnn.journal import Journal

_TIMES = {"seconds", "spent", "output"}
_WORKERS = {"workers", "processes", "address"}
_LIMIT_S = 120


@pytest.fixture(scope="module", autouse=True)
def codes_as_everywhere():
    """Codes are added up as in any process; elsewhere in the tests they are without saturation."""
    with pytest.MonkeyPatch.context() as plain:
        plain.setattr(onnxruntime, "SessionOptions", type(onnxruntime.SessionOptions()))
        yield


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A command without its folder: nothing of it depends on time."""
    folder = tmp_path_factory.mktemp("asked")
    images, labels = stripes(1000)
    np.savez(folder / "stripes.npz", images=images, labels=labels)
    data = training.open_data(folder / "stripes.npz")
    torch.manual_seed(0)
    module, recipe = Net(), training.Recipe(epochs=2, batch_size=64, crop=0, flip=False)
    training.train(module, data.training, recipe, normal=training.Normal())
    model = mlcnn.load(module.eval(), torch.zeros(2, 1, SIZE, SIZE))
    graph.save(model, folder / "net.onnx")
    return ("cheapest", folder / "net.onnx", "--data", folder / "stripes.npz", "--objective",
            "size", "--first", 64, "--batch-size", 64, "--methods", "channels,int8", "--max-drop",
            90, "--threads", 1)  # fmt: skip


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory):
    """What an undisturbed run of one process comes to."""
    folder = tmp_path_factory.mktemp("whole")
    assert main([*map(str, asked), "-o", str(folder)]) == 0
    return folder


def answer(folder):
    """All of a result but its times, and who worked on it."""
    found = json.loads((folder / "result.json").read_text())
    found["options"] = {k: v for k, v in found["options"].items() if k not in _WORKERS}
    tried = [{k: v for k, v in row.items() if k != "seconds"} for row in found["tried"]]
    return {k: v for k, v in found.items() if k not in _TIMES} | {"tried": tried}


def rows(folder):
    """What is in the journal, but for times."""
    with sqlite3.connect(folder / "journal.db") as connection:
        found = connection.execute("SELECT tried, result FROM results ORDER BY number")
        return {tried: {**json.loads(result), "seconds": 0} for tried, result in found}


def count(folder):
    if not (folder / "journal.db").exists():
        return 0
    with suppress(sqlite3.OperationalError):  # no table yet
        return len(rows(folder))
    return 0


def networks(folder):
    return {path.name: path.read_bytes() for path in (folder / "networks").glob("*.onnx")}


def same(folder, whole, told=""):
    """Whether a run came to what another one came to, with the same networks."""
    assert answer(folder) == answer(whole), told
    assert networks(folder) == networks(whole), told
    found = {tried: row for tried, row in rows(folder).items() if tried in rows(whole)}
    assert found == rows(whole), told
    # An interrupted run judges the best that it has.
    assert all(tried.startswith("judge of") for tried in rows(folder) if tried not in found), told


def begun(asked, folder, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "mlcnn", *map(str, [*asked, "-o", folder, *more])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def killed(asked, folder, moment, *more):
    """A run, killed so many seconds after the journal has so many rows."""
    process, end = begun(asked, folder, *more), time.monotonic() + _LIMIT_S
    number, seconds = moment
    while count(folder) < number and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == -signal.SIGKILL, told


def test_killed_and_resumed(mlcnn, asked, whole, tmp_path):
    moment = (random.Random().randrange(2, len(rows(whole)) - 2), 0.1)
    told = f"rows after which it was killed, and seconds: {moment}"
    killed(asked, tmp_path, moment)
    assert rows(tmp_path).items() <= rows(whole).items(), told
    assert mlcnn(*asked, "-o", tmp_path).code == 0
    same(tmp_path, whole, told)


@pytest.mark.long
def test_killed_at_ten_moments(mlcnn, asked, whole, tmp_path):
    seed = random.randrange(10**6)
    drawn, size = random.Random(seed), len(rows(whole))
    moments = sorted((drawn.randrange(size - 1), drawn.uniform(0, 1)) for _ in range(10))
    processes = [drawn.choice((1, 1, 2)) for _ in moments]
    told = f"seed {seed}: rows and seconds {moments}, processes {processes}"
    for moment, number in zip(moments, processes, strict=True):
        killed(asked, tmp_path, moment, "--processes", number)
        known = rows(tmp_path) if count(tmp_path) else {}
        assert known.items() <= rows(whole).items(), told
    assert mlcnn(*asked, "-o", tmp_path).code == 0
    same(tmp_path, whole, told)


def test_two_processes_come_to_what_one_comes_to(mlcnn, asked, whole, tmp_path):
    assert mlcnn(*asked, "-o", tmp_path, "--processes", 2).code == 0
    same(tmp_path, whole)
    assert {p.name for p in (tmp_path / "steps").glob("*.onnx")} == {
        p.name for p in (whole / "steps").glob("*.onnx")
    }


@pytest.mark.long
def test_tasks_of_ray_come_to_what_one_process_comes_to(mlcnn, asked, whole, tmp_path):
    """The same front, with the same networks."""
    pytest.importorskip("ray")
    result = mlcnn(*asked, "-o", tmp_path, "--workers", "ray", "--processes", 2)
    assert result.code == 0, result.err
    same(tmp_path, whole)


def test_interrupted_it_keeps_the_best_and_goes_on(mlcnn, asked, whole, tmp_path, monkeypatch):
    made, left = trials.attempt, 6

    def attempt(*arguments):
        nonlocal left
        left -= 1
        if not left:
            signal.raise_signal(signal.SIGINT)
        return made(*arguments)

    monkeypatch.setattr(trials, "attempt", attempt)
    result = mlcnn(*asked, "-o", tmp_path, "--json")
    assert result.code == INTERRUPTED
    document = result.json
    assert document["interrupted"]
    assert document["pipeline"]
    assert [point["accuracy"] for point in document["points"]] == [None] * len(document["points"])
    assert 0 < len(document["tried"]) < len(answer(whole)["tried"])
    assert (tmp_path / "net.onnx").exists()
    assert mlcnn(*asked, "-o", tmp_path).code == 0
    same(tmp_path, whole)


def test_a_folder_of_another_search(mlcnn, asked, whole):
    kept = networks(whole), answer(whole)
    result = mlcnn(*(80 if word == 90 else word for word in asked), "-o", whole)
    assert result.err.splitlines()[-1] == (
        f"mlcnn: error: journal {whole}/journal.db is of another run: max-drop is 90.0 there and "
        "80.0 here; give -o another folder, or --fresh to begin this one anew"
    )
    assert result.code == 2
    assert (networks(whole), answer(whole)) == kept


def test_a_folder_in_use(mlcnn, asked, tmp_path):
    with Journal(tmp_path / "journal.db", {"network_name": "net"}, work="search for the cheapest"):
        result = mlcnn(*asked, "-o", tmp_path)
    error = result.err.splitlines()[-1]
    assert error.startswith(
        f"mlcnn: error: journal {tmp_path}/journal.db is in use by the search for the cheapest of "
        f"net by process {os.getpid()} on {socket.gethostname()}, begun "
    )
    assert error.endswith("; wait for it, end it, or give -o another folder")
    assert result.code == 2
    assert {path.name for path in tmp_path.iterdir()} == {"journal.db", "journal.db.lock"}


def test_no_more_room_for_the_journal(mlcnn, asked, tmp_path):
    """Files may not grow beyond what some need: the system calls fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        result = mlcnn(*asked, "-o", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.code == 2
    assert result.err.splitlines()[-1] == (
        f"mlcnn: error: journal {tmp_path}/journal.db: it cannot be written (disk I/O error); make "
        "room or give -o another place; what is in it stays, and the same command goes on from "
        "there"
    )


def test_no_more_room_for_a_network(mlcnn, asked, whole, tmp_path, monkeypatch):
    """What a full disk refuses is not written down as a trial that failed."""
    made, left = graph.save, 3

    def write(model, path):
        nonlocal left
        left -= "steps" in path.parts
        if left:
            made(model, path)
            return
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error

    with monkeypatch.context() as full:
        full.setattr(graph, "save", write)
        result = mlcnn(*asked, "-o", tmp_path)
    assert result.code == 2
    assert result.err.splitlines()[-1] == (
        f"mlcnn: error: {tmp_path}: it cannot be written (No space left on device); make room or "
        "give -o another place; what is in it stays, and the same command goes on from there"
    )
    assert rows(tmp_path).items() <= rows(whole).items()
    assert mlcnn(*asked, "-o", tmp_path).code == 0
    same(tmp_path, whole)
