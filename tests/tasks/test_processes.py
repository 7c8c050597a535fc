"""Jobs in processes of their own: done once each, whoever dies, and the first error told."""

import operator
import os
import signal

import pytest

from mlcnn.tasks import Processes


def test_each_job_is_done_with_what_was_given():
    with Processes(operator.mul, 3, 2) as processes:
        assert sorted(processes.map(range(5))) == [0, 3, 6, 9, 12]
        assert sorted(processes.map([7])) == [21]


def test_what_a_job_raises_is_told():
    with Processes(operator.truediv, 1, 1) as processes:
        with pytest.raises(ZeroDivisionError):
            list(processes.map([0]))
        assert list(processes.map([2])) == [0.5]


def test_a_process_that_is_killed_is_begun_again():
    with Processes(operator.pow, 2, 1) as processes:
        assert list(processes.map([1])) == [2]
        (one,) = processes._pool._processes
        os.kill(one, signal.SIGKILL)
        assert sorted(processes.map([1, 2])) == [2, 4]
