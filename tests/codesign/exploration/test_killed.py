"""Explorations killed at random moments: what was finished is kept, and the end is the same."""

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from codesign.exploration.made_up import Formula, candidates

from mlcnn.codesign.exploration import Journal, Quantity, Question, Work

RUN = {"seed": 0}
THREE = (Quantity.LATENCY, Quantity.POWER, Quantity.AREA)
FEW = ("pe=2..8", "scratchpad_kb=2..8", "accumulator_kb=1..4")
KILLS = 10
PAUSE_S = 0.004


class Slow(Formula):
    """Takes a while for a design, and writes down which it begins."""

    def __init__(self, found, begun):
        super().__init__(found)
        self.begun = begun

    def map(self, jobs, deadline):
        for job in jobs:
            with self.begun.open("a") as file:
                file.write(f"{job.number}\n")
            time.sleep(PAUSE_S)
            yield from super().map([job], deadline)


def explored(path, begun):
    found = candidates(ranges=FEW)
    question = Question(found.space, THREE)
    with Journal(path, RUN) as journal:
        return Work(question, found, journal, Slow(found, begun), lambda _: None).explored("net")


def begin(path, begun):
    """The same in a process of its own, that stays until it is killed."""
    process = os.fork()
    if process:
        return process
    try:
        explored(path, begun)
        time.sleep(60)
    finally:
        os._exit(1)


def lines(path):
    return len(path.read_text().split()) if path.exists() else 0


def wait_until(done):
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.0005)


def rows(path):
    with sqlite3.connect(path) as connection:
        return list(connection.execute("SELECT number, tried, result FROM results ORDER BY 1"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_killed_at_ten_moments(tmp_path: Path) -> None:
    expected = explored(tmp_path / "whole.db", tmp_path / "whole")
    whole, path = rows(tmp_path / "whole.db"), tmp_path / "cut.db"
    drawn = random.Random(0)
    moments = sorted((drawn.randrange(len(whole)), drawn.uniform(0, PAUSE_S)) for _ in range(KILLS))
    told = f"killed when a design begins, and so many seconds later: {moments}"
    done = again = 0
    for number, (design, moment) in enumerate(moments):
        begun = tmp_path / f"begun-{number}"
        process = begin(path, begun)
        wait_until(lambda b=begun, n=done, d=design: n + lines(b) > min(d, len(whole) - 1))
        time.sleep(moment)
        os.kill(process, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
        known = rows(path)
        assert set(known) <= set(whole), told
        again += done + lines(begun) - len(known)
        done = len(known)
    assert again <= KILLS, told  # of each run, only what was in flight is lost
    found = explored(path, tmp_path / "last")
    assert lines(tmp_path / "last") == len(whole) - done
    assert rows(path) == whole, told
    assert found.front == expected.front
    assert found.scored == expected.scored
