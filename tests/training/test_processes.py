"""Killed at any moment and resumed, a run ends as an uninterrupted one; processes share a batch."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).parent / "worker.py"


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(folder)], stdout=subprocess.PIPE, text=True
    )


def finish(folder: Path) -> dict[str, bytes]:
    """Run to the end; the bytes of each weight."""
    process = start(folder)
    process.communicate()
    assert process.returncode == 0
    with np.load(folder / "weights.npz") as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


def kill(folder: Path, line: str, skipped: int, delay_s: float) -> None:
    """Start, and kill once ``line`` was said for the time after ``skipped`` others."""
    process = start(folder)
    assert process.stdout is not None
    for said in process.stdout:
        skipped -= said.startswith(line)
        if skipped < 0:
            break
    time.sleep(delay_s)
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, finish(folder)


def check_kills(folder, uninterrupted, moments):
    for moment in moments:
        kill(folder, *moment)
        assert not (folder / "weights.npz").exists()
    assert finish(folder) == uninterrupted[1]
    assert json.loads((folder / "losses.json").read_text()) == json.loads(
        (uninterrupted[0] / "losses.json").read_text()
    )
    assert not list(folder.glob(".*partial"))


def test_killed_within_a_step_and_within_a_checkpoint(tmp_path, uninterrupted):
    check_kills(tmp_path, uninterrupted, [("step", 2, 0.001), ("writing", 4, 0)])


@pytest.mark.long
def test_killed_at_ten_random_moments(tmp_path, uninterrupted):
    generator = random.Random(11)
    moments = [("writing", generator.randrange(3), 0)] * 2
    moments += [("step", generator.randrange(2), generator.uniform(0, 0.02)) for _ in range(8)]
    generator.shuffle(moments)
    check_kills(tmp_path, uninterrupted, moments)


def test_two_processes_have_the_losses_of_one(tmp_path, uninterrupted):
    subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            str(WORKER), str(tmp_path),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    alone, shared = (
        json.loads((folder / "losses.json").read_text()) for folder in (uninterrupted[0], tmp_path)
    )
    assert shared == pytest.approx(alone, rel=1e-5)
    with np.load(tmp_path / "weights.npz") as arrays:
        found = {name: arrays[name] for name in arrays.files}
    for name, expected in uninterrupted[1].items():
        values = np.frombuffer(expected, np.float32).reshape(found[name].shape)
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-5)


def test_what_the_first_process_decides_holds_for_all(tmp_path):
    script = tmp_path / "decide.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from mlcnn import training\n"
        "with training.processes('cpu') as (processes, _):\n"
        "    said = processes.first(f'by {processes.rank}')\n"
        "    Path(sys.argv[1], f'{processes.rank}.txt').write_text(said)\n"
    )
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [sys.executable, *command, str(script), str(tmp_path)], check=True, capture_output=True
    )
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["by 0", "by 0"]
