"""The journal: what it keeps, whom it lets in, and what it says where it cannot be written."""

import os
import resource
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlcnn.errors import InputError
from mlcnn.journal import Journal

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


def told(path, why):
    return (
        f"journal {path}: it cannot be written ({why}); make room or give --journal another place; "
        "what is in it stays, and the same command goes on from there"
    )


@pytest.fixture
def open_folder():
    """A folder that everybody can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@contextmanager
def somebody():
    """A user whom permissions bind: root may write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_journal_that_may_only_be_read(open_folder):
    path = open_folder / "j.db"
    with Journal(path, RUN) as journal:
        journal.add(0, "pe=2", {"edp": 1.0}, 0.25)
    (open_folder / "j.db.lock").unlink()
    path.chmod(0o444)
    with somebody(), pytest.raises(InputError) as error:
        Journal(path, RUN)
    assert str(error.value) == told(path, "attempt to write a readonly database")
    path.chmod(0o644)
    (open_folder / "j.db.lock").unlink()
    with Journal(path, RUN) as journal:
        assert journal.known() == {"pe=2": {"edp": 1.0}}


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_may_only_be_read(open_folder, there):
    path = open_folder / "j.db"
    if there:
        Journal(path, RUN).__exit__()
        (open_folder / "j.db.lock").unlink()
    open_folder.chmod(0o555)
    with somebody(), pytest.raises(InputError) as error:
        Journal(path, RUN)
    open_folder.chmod(0o777)
    assert str(error.value) == (
        f"journal {path}: it cannot be written (Permission denied); give --journal a place that "
        "can be"
    )
    assert path.exists() == there


@contextmanager
def room(size):
    """Files may not grow beyond a size: the system calls fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("size", "why"), [(0, "File too large"), (4096, "disk I/O error")])
def test_no_room_to_begin(tmp_path, size, why):
    path = tmp_path / "j.db"
    with room(size), pytest.raises(InputError) as error:
        Journal(path, RUN)
    assert str(error.value) == told(path, why)
    with Journal(path, RUN) as journal:
        assert journal.known() == {}


def fill(journal):
    for number in range(90):
        journal.add(number, f"pe={number}", {"text": "x" * 10_000}, 0.0)


def test_no_more_room(tmp_path):
    path = tmp_path / "j.db"
    with Journal(path, RUN) as journal, room(200_000), pytest.raises(InputError) as error:
        fill(journal)
    assert str(error.value) == told(path, "disk I/O error")
    with Journal(path, RUN) as journal:
        known = list(journal.known())
        assert known == [f"pe={number}" for number in range(len(known))]
        assert len(known) > 5
        journal.add(99, "pe=99", None, 0.0)  # there is room again


def test_a_full_disk(tmp_path):
    """What SQLite says of one."""
    path = tmp_path / "j.db"
    with Journal(path, RUN) as journal:
        journal._connection.execute("PRAGMA max_page_count=20")
        with pytest.raises(InputError) as error:
            fill(journal)
        known = len(journal.known())
    assert str(error.value) == told(path, "database or disk is full")
    with Journal(path, RUN) as journal:
        assert list(journal.known()) == [f"pe={number}" for number in range(known)]
        assert known
