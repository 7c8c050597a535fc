"""Tasks of Ray: their blocks, deadline and errors on a stand-in; and on Ray itself, killed."""

import contextlib
import importlib.machinery
import math
import os
import pickle
import random
import signal
import socket
import sys
import threading
import time
import types
from itertools import islice

import psutil
import pytest
from codesign.exploration.made_up import GROUPS

import mlcnn
from benchmarks.exploring import resnet18
from mlcnn.codesign.conventions import EXACT
from mlcnn.codesign.exploration import (
    Candidates,
    Here,
    Job,
    Journal,
    LoopNests,
    OnRay,
    Processes,
    Quantity,
    Question,
    Unfinished,
    Work,
    load_template,
)
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.tasks.on_ray import blocks

RANGES = ("pe=8..32", "scratchpad_kb=32", "accumulator_kb=16..64")
LAYERS = resnet18()[1:5]
NETWORK = LoopNests(GROUPS, EXACT)
KILLS = 3
INSTEAD = "or map in processes of this machine alone: --engine local --processes N"


def jobs(count):
    space = load_template("gemmini").space(ranges=("scratchpad_kb=16", "accumulator_kb=16"))
    return [Job(n, space.architecture(design)) for n, design in enumerate(islice(space, count))]


@pytest.mark.parametrize(
    ("count", "seconds", "sizes"),
    [(4, math.inf, [1, 1, 1, 1]), (4, 2.0, [1, 1, 1, 1]), (4, 0.6, [2, 2]), (4, 0.01, [4]),
     (26, 0.3, [4, 4, 4, 4, 4, 3, 3]), (1, 0.001, [1])],
)  # fmt: skip
def test_blocks_of_a_second(count, seconds, sizes):
    given = jobs(1) * count
    assert sorted(map(len, blocks(given, seconds)), reverse=True) == sizes


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class StandIn:
    """What of Ray is used, done at once in this process.

    Args:
        fail: raised in place of every result.
        idle: no task is ever finished.
    """

    exceptions = types.SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, fail=None, *, idle=False, version=None, network=None, reach=None):
        self.fail, self.idle, self.reach = fail, idle, reach
        self.version, self.network = version, network
        self.tasks, self.cancelled, self.options_given = [], [], {}
        self.__spec__ = importlib.machinery.ModuleSpec("ray", None)

    def is_initialized(self):
        return False

    def init(self, **options):
        self.given = options
        if self.reach:
            raise self.reach

    def shutdown(self):
        pass

    def put(self, one):
        return one

    def remote(self, task):
        def begin(version, network, block):
            self.tasks.append(len(pickle.loads(block)))  # noqa: S301
            return lambda: task(self.version or version, self.network or network, block)

        return types.SimpleNamespace(
            options=lambda **options: (
                self.options_given.update(options) or types.SimpleNamespace(remote=begin)
            )
        )

    def wait(self, waiting, timeout):
        if self.idle:
            time.sleep(timeout)
            return [], waiting
        return waiting[:1], waiting[1:]

    def get(self, one):
        if self.fail:
            raise self.fail
        return one()

    def cancel(self, one, *, force):
        self.cancelled.append(one)


@pytest.fixture
def ray(monkeypatch):
    def made(*arguments, **options):
        module = StandIn(*arguments, **options)
        monkeypatch.setitem(sys.modules, "ray", module)
        return module

    return made


def mapped(workers, count, deadline=math.inf):
    with workers as mapping:
        found = sorted(mapping.map(jobs(count), deadline), key=lambda one: one.number)
    return [(one.number, one.found, one.why) for one in found]


def test_results_are_those_of_this_process(ray):
    module = ray()
    assert mapped(OnRay(NETWORK, 3), 3) == mapped(Here(NETWORK), 3)
    assert module.tasks == [1, 1, 1]
    assert module.options_given["max_retries"] > 0
    assert module.given["address"] == "local"
    assert module.given["num_cpus"] == 3


def test_quick_designs_share_a_task(ray):
    module = ray()
    with OnRay(NETWORK) as workers:
        for _ in range(2):
            assert len(list(workers.map(jobs(3), math.inf))) == 3
    assert module.tasks == [1, 1, 1, 3]


def test_the_deadline(ray):
    module = ray(idle=True)
    with pytest.raises(Unfinished):
        mapped(OnRay(NETWORK), 2, time.time() + 0.05)
    assert len(module.cancelled) == 2


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnsupportedError) as error:
        OnRay(NETWORK)
    assert str(error.value) == (
        '--engine ray: the package ray is not installed; run pip install "mlcnn[ray]", ' + INSTEAD
    )


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_nobody_at_the_address(ray):
    ray()
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(InputError) as error:
        OnRay(NETWORK, address=address).__enter__()
    assert str(error.value) == (
        f"--engine ray: Ray cannot be reached at {address} ([Errno 111] Connection refused); give "
        f"--address a cluster that runs, as ray start --head prints it, {INSTEAD}"
    )


def test_no_cluster(ray):
    ray(reach=ConnectionError("Could not find any running Ray instance. Please specify the one"))
    with pytest.raises(InputError) as error:
        OnRay(NETWORK, address="auto").__enter__()
    assert str(error.value) == (
        "--engine ray: Ray cannot be reached at auto (Could not find any running Ray instance); "
        f"give --address a cluster that runs, as ray start --head prints it, {INSTEAD}"
    )


def test_a_task_that_dies_wherever_it_runs(ray):
    ray(RayError("The worker died unexpectedly while executing this task. Check its log files"))
    with pytest.raises(UnsupportedError) as error:
        mapped(OnRay(NETWORK), 1)
    assert str(error.value) == (
        "--engine ray: a task was lost 21 times (RayError: The worker died unexpectedly while "
        f"executing this task); see that a process has memory enough, {INSTEAD}; what is in the "
        "journal stays"
    )


HERE = mlcnn.__version__
LACKING = pickle.dumps(math.floor).replace(b"floor", b"flaw!")


@pytest.mark.parametrize(
    ("options", "there"),
    [
        ({"version": "0.0.9"}, HERE),  # what the tasks are told is the other one
        ({"network": LACKING}, f"{HERE} with other files"),
        (
            {"fail": RayTaskError("The remote function failed to import on the worker. This may")},
            "none, or one without this",
        ),
    ],
)
def test_another_mlcnn_on_the_cluster(ray, options, there):
    ray(**options)
    with pytest.raises(UnsupportedError) as error:
        mapped(OnRay(NETWORK), 1)
    assert str(error.value) == (
        f"--engine ray: mlcnn {HERE} is required on every machine of the cluster, and one has "
        f'{there}; install the same there: pip install "mlcnn[ray]=={HERE}"'
    )


def in_a_task():
    """Processes of Ray below this one that map designs."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if one.cmdline()[0].startswith("ray::_block"):
                found.append(one.pid)
    return found


def kill_some(killed, ended):
    """Kill processes in the middle of a task, now and then."""
    drawn = random.Random(0)
    while len(killed) < KILLS and not ended.wait(drawn.uniform(0.5, 2.0)):
        for process in in_a_task()[:1]:
            os.kill(process, signal.SIGKILL)
            killed.append(process)


def explored(path, workers):
    space = load_template("gemmini").space(ranges=RANGES)
    objectives = (Quantity.LATENCY, Quantity.POWER, Quantity.AREA)
    found = Candidates.of(space, LoopNests(LAYERS, EXACT), ())
    with Journal(path, {}) as journal, workers as mapping:
        Work(Question(space, objectives), found, journal, mapping, lambda _: None).explored("net")
        return list(journal.known().items())


@pytest.mark.long
def test_an_exploration_whose_processes_of_ray_are_killed(tmp_path):
    pytest.importorskip("ray")
    expected = explored(tmp_path / "local.db", Processes(LoopNests(LAYERS, EXACT), 2))
    killed, ended = [], threading.Event()
    killer = threading.Thread(target=kill_some, args=(killed, ended))
    killer.start()
    try:
        found = explored(tmp_path / "ray.db", OnRay(LoopNests(LAYERS, EXACT), 2))
    finally:
        ended.set()
        killer.join()
    assert len(killed) == KILLS
    assert found == expected
