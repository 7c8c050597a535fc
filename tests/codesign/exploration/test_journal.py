"""The journal: what it keeps, whom it lets in, and what it says where it cannot be written."""

import os
import socket
import sqlite3
import subprocess
import sys

import pytest

from mlcnn.codesign.exploration import Journal
from mlcnn.errors import InputError

RUN = {
    "mlcnn": "1", "network": "net abc", "network_name": "net", "template": "gemmini x",
    "space": {"pe": [2.0]}, "convention": "exact", "search": "guided", "seed": 0,
    "objectives": ["edp"], "bounds": {}, "start": None,
}  # fmt: skip


def test_rows_are_there_again(tmp_path):
    path = tmp_path / "j.db"
    with Journal(path, RUN) as journal:
        journal.add(1, "pe=4", {"edp": 2.5}, 0.5)
        journal.add(0, "pe=2", None, 0.25)
    with Journal(path, RUN) as journal:
        assert list(journal.known().items()) == [("pe=2", None), ("pe=4", {"edp": 2.5})]
        assert journal.seconds() == 0.75
    with Journal(path, RUN, fresh=True) as journal:
        assert journal.known() == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"network": "net abd"}, 'network is "net abc" there and "net abd" here'),
        ({"template": "gemmini y"}, 'template is "gemmini x" there and "gemmini y" here'),
        ({"mlcnn": "2"}, 'mlcnn is "1" there and "2" here'),
        ({"seed": 7}, "seed is 0 there and 7 here"),
        (
            {"seed": 7, "space": {"pe": [4.0]}},
            'space is {"pe": [2.0]} there and {"pe": [4.0]} here; seed is 0 there and 7 here',
        ),
    ],
)
def test_another_run_does_not_go_on_in_it(tmp_path, change, told):
    path = tmp_path / "j.db"
    with Journal(path, RUN) as journal:
        journal.add(0, "pe=2", None, 0.25)
    with pytest.raises(InputError) as error:
        Journal(path, RUN | change)
    assert str(error.value) == (
        f"journal {path} is of another run: {told}; give --journal another file, or --fresh to "
        "begin this one anew"
    )
    with Journal(path, RUN | change, fresh=True) as journal:
        assert journal.known() == {}


def test_two_at_once(tmp_path):
    path = tmp_path / "j.db"
    with Journal(path, RUN), pytest.raises(InputError) as error:
        Journal(path, RUN)
    message = str(error.value)
    start = (
        f"journal {path} is in use by the exploration of net by process {os.getpid()} on "
        f"{socket.gethostname()}, begun "
    )
    assert message.startswith(start)
    assert message.endswith("; wait for it, end it, or give --journal another file")
    with Journal(path, RUN):  # the first is gone
        pass


def test_another_file(tmp_path):
    path = tmp_path / "j.db"
    path.write_text("no journal, whatever it is" * 100)
    with pytest.raises(InputError) as error:
        Journal(path, RUN)
    assert str(error.value) == (
        f"journal {path}: it is no journal (file is not a database); give --journal another file, "
        "or --fresh to write over it"
    )


def test_no_place(tmp_path):
    path = tmp_path / "missing" / "j.db"
    with pytest.raises(InputError) as error:
        Journal(path, RUN)
    assert str(error.value) == (
        f"journal {path}: it cannot be written (No such file or directory); give --journal a place "
        "that can be"
    )


def test_a_journal_that_may_only_be_read(tmp_path, monkeypatch):
    path = tmp_path / "j.db"
    with Journal(path, RUN):
        pass
    connect = sqlite3.connect

    def only_read(name):
        return connect(f"file:{name}?mode=ro", uri=True)

    monkeypatch.setattr("sqlite3.connect", only_read)
    with Journal(path, RUN) as journal, pytest.raises(InputError) as error:
        journal.add(0, "pe=2", None, 0.25)
    assert str(error.value) == (
        f"journal {path}: it cannot be written (attempt to write a readonly database); make room "
        "or give --journal another place; what is in it stays, and the same command goes on from "
        "there"
    )


FULL = """
import resource, sys
from pathlib import Path
from codesign.exploration.test_journal import RUN
from mlcnn.codesign.exploration import Journal
from mlcnn.errors import InputError

with Journal(Path(sys.argv[1]), RUN) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        for number in range(100):
            journal.add(number, f"pe={number}", {"text": "x" * 10_000}, 0.0)
    except InputError as error:
        print(number, error)
"""


def test_no_more_room(tmp_path):
    """Files may not grow beyond 200 kB: the system calls fail as on a full disk."""
    path = tmp_path / "j.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["tests", *sys.path])},
    )  # fmt: skip
    number, _, message = done.stdout.partition(" ")
    assert message.startswith(f"journal {path}: it cannot be written (")
    assert message.endswith(
        "); make room or give --journal another place; what is in it stays, and the same command "
        "goes on from there\n"
    )
    with Journal(path, RUN) as journal:
        assert list(journal.known()) == [f"pe={one}" for one in range(int(number))]
    assert int(number) > 5
