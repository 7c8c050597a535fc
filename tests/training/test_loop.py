"""The loop learns, repeats itself, resumes, and says what is wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training.toy import NORMAL, RECIPE, toy_images, toy_module, train

from mlcnn import training
from mlcnn.errors import InputError
from mlcnn.training import Hardware, ImageSet, Normal, Optimizer
from mlcnn.training.batches import Batches


def state(module: nn.Module) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in module.state_dict().items()}


def test_it_learns():
    seen = []
    module = toy_module()
    history = train(module, toy_images(), replace(RECIPE, epochs=20), progress=seen.append)
    assert history == seen[-1]
    assert [len(epochs) for epochs in seen] == list(range(1, 21))
    assert [epoch.number for epoch in history] == list(range(1, 21))
    assert history[-1].loss < history[0].loss / 2
    assert not module.training
    images = toy_images()
    pixels = torch.from_numpy(NORMAL.apply(images.images))
    guesses = module(pixels).argmax(1).numpy()
    assert (guesses == images.labels).mean() > 0.9


def test_a_seed_decides_everything():
    modules = [toy_module() for _ in range(3)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(modules[0], toy_images(), RECIPE, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    train(modules[1], toy_images(), RECIPE, seed=3)
    train(modules[2], toy_images(), RECIPE, seed=4)
    assert state(modules[0]) == state(modules[1])
    assert state(modules[0]) != state(modules[2])


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    whole, halves = toy_module(), toy_module()
    train(whole, toy_images(), RECIPE, seed=5)
    checkpoint = tmp_path / "run.npz"
    first = train(halves, toy_images(), RECIPE, seed=5, checkpoint=checkpoint, stop_after=2)
    assert [epoch.number for epoch in first] == [1, 2]
    fresh = toy_module()
    second = train(fresh, toy_images(), RECIPE, seed=5, checkpoint=checkpoint)
    assert second[:2] == first
    assert [epoch.number for epoch in second] == [1, 2, 3, 4]
    assert state(fresh) == state(whole)
    # Nothing is left to do: the history is still told.
    assert train(toy_module(), toy_images(), RECIPE, seed=5, checkpoint=checkpoint) == second


class KilledError(Exception):
    """Stands for the end of the process, after a step."""


@pytest.mark.parametrize("recipe", [
    RECIPE,
    replace(RECIPE, optimizer=Optimizer.ADAMW, ema=0.9, mixup=0.4, weight_decay=0.01),
])  # fmt: skip
@pytest.mark.parametrize("step", [1, 2, 6, 11])
def test_a_run_resumed_within_an_epoch_ends_as_an_uninterrupted_one(tmp_path, recipe, step):
    validation = toy_images(20)
    whole = toy_module()
    expected = train(whole, toy_images(), recipe, seed=5, validation=validation)

    def kill(done: int, total: int) -> None:
        assert total == 16
        if done == step:
            raise KilledError

    path = tmp_path / "run.npz"
    with pytest.raises(KilledError):
        train(
            toy_module(), toy_images(), recipe, seed=5, validation=validation, checkpoint=path,
            every_s=0, tell=kill,
        )  # fmt: skip
    resumed = toy_module()
    steps: list[int] = []
    found = train(
        resumed, toy_images(), recipe, seed=5, validation=validation, checkpoint=path, every_s=0,
        tell=lambda done, _: steps.append(done),
    )  # fmt: skip
    # The step that was told last was not saved yet.
    assert steps[0] == max(step, 1)
    assert state(resumed) == state(whole)
    assert [replace(epoch, seconds=0) for epoch in found] == [
        replace(epoch, seconds=0) for epoch in expected
    ]


def test_the_best_epoch_on_the_validation_images_is_kept():
    validation = ImageSet("val", toy_images(30).images, toy_images(30).labels, 3)
    recipe = replace(RECIPE, learning_rate=0.3, epochs=6)
    module = toy_module()
    history = train(module, toy_images(), recipe, seed=1, validation=validation)
    accuracies = [epoch.validation for epoch in history]
    right = training.right_images(module, validation, NORMAL)
    assert right.mean() == max(accuracies)
    # The first of the best: trained for so many epochs only, the weights are the same.
    first = accuracies.index(max(accuracies)) + 1
    short = toy_module()
    train(short, toy_images(), recipe, seed=1, stop_after=first)
    assert state(short) == state(module)


def test_the_moving_average_is_the_sum_of_its_definition():
    recipe = replace(RECIPE, ema=0.8, epochs=1)
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    start = {k: v.clone() for k, v in module.state_dict().items()}
    seen: list[dict[str, torch.Tensor]] = []

    class Watch(training.Hook):
        def gradients(self, module):
            seen.append({k: v.clone() for k, v in module.state_dict().items()})

    last = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    last.load_state_dict(start)
    train(last, toy_images(), replace(recipe, ema=0))
    train(module, toy_images(), recipe, hooks=[Watch()])
    for name, first in start.items():
        expected = first
        for weights in [state[name] for state in seen[1:]] + [last.state_dict()[name]]:
            expected = 0.8 * expected + 0.2 * weights
        torch.testing.assert_close(module.state_dict()[name], expected)


def test_mixed_images_have_mixed_labels():
    recipe = replace(RECIPE, mixup=1.0, crop=0, flip=False)
    images = toy_images(16)
    (batch,) = Batches(images, recipe, Normal(scale=1.0), Hardware()).epoch(3)
    plain = torch.from_numpy(images.images).float()[batch.indices]
    assert 0 < batch.kept < 1
    torch.testing.assert_close(batch.inputs, batch.kept * plain + (1 - batch.kept) * plain.flip(0))
    assert batch.others.tolist() == batch.labels.flip(0).tolist()


def test_bf16_and_channels_last_learn_the_same_task():
    hardware = Hardware("cpu", training.Precision.BF16)
    module = toy_module()
    recipe = replace(RECIPE, epochs=20)
    history = train(module, toy_images(), recipe, hardware=hardware)
    exact = train(toy_module(), toy_images(), recipe)
    assert module[0].weight.dtype == torch.float32
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert history[0].loss != exact[0].loss
    assert history[0].loss == pytest.approx(exact[0].loss, rel=0.02)
    right = training.right_images(module, toy_images(), NORMAL, hardware)
    assert right.mean() > 0.9


def test_an_interruption_keeps_the_last_checkpoint(tmp_path):
    checkpoint = tmp_path / "run.npz"

    def interrupt(epoch):
        if epoch[-1].number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint, progress=interrupt)
    resumed = train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint)
    assert [epoch.number for epoch in resumed] == [1, 2, 3, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoint = tmp_path / "run.npz"
    train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint, stop_after=1)
    before = checkpoint.read_bytes()

    def fail(file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match=r"^disk full$"):
        train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint, stop_after=2)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    checkpoint = tmp_path / "run.npz"
    train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint, stop_after=1)
    with pytest.raises(InputError, match=r"another run \(seed is 0 there and 1 here\)"):
        train(toy_module(), toy_images(), RECIPE, seed=1, checkpoint=checkpoint)
    with pytest.raises(InputError, match="recipe crop is 1 there and 0 here"):
        train(toy_module(), toy_images(), replace(RECIPE, crop=0), checkpoint=checkpoint)
    with pytest.raises(InputError, match=r"'0\.weight'.*another network"):
        train(
            nn.Sequential(nn.Flatten(), nn.Linear(36, 3)),
            toy_images(),
            RECIPE,
            checkpoint=checkpoint,
        )


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"run\.npz: not an \.npz file of plain arrays"):
        train(toy_module(), toy_images(), RECIPE, checkpoint=path)
    np.savez(path, weights=np.ones(3))
    with pytest.raises(InputError, match=r"run\.npz: not a checkpoint"):
        train(toy_module(), toy_images(), RECIPE, checkpoint=path)


def test_a_pickled_checkpoint_runs_no_code(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, run=np.array(json.dumps({})), bad=np.array([object()], dtype=object))
    with pytest.raises(InputError, match=r"not an \.npz file of plain arrays"):
        train(toy_module(), toy_images(), RECIPE, checkpoint=path)


def test_divergence_is_said():
    with pytest.raises(
        InputError,
        match=r"training diverged in epoch 1, step \d+ \(loss .*, learning rate .*lower the",
    ):
        train(
            nn.Sequential(nn.Flatten(), nn.Linear(36, 50), nn.Linear(50, 3)),
            toy_images(),
            replace(RECIPE, learning_rate=1e20, epochs=9),
        )


def test_no_images_are_refused():
    with pytest.raises(InputError, match="has no images to train on"):
        train(toy_module(), toy_images(0), RECIPE)


def numbered(height: int = 4, width: int = 5) -> ImageSet:
    """One image with a different value at every pixel; none is 0."""
    pixels = 1 + np.arange(height * width, dtype=np.uint8).reshape(1, 1, height, width)
    return ImageSet("numbered", pixels, np.zeros(1, np.int64), 1)


def test_augmentation_is_every_crop_and_its_mirror():
    """What is drawn, undone, is one of the shifts of the padded image."""
    images = numbered()
    plain = replace(RECIPE, crop=1, flip=True, batch_size=1)
    padded = np.pad(images.images[0, 0], 1)
    crops = [padded[y : y + 4, x : x + 5] for y in range(3) for x in range(3)]
    possible = {array.tobytes() for crop in crops for array in (crop, crop[:, ::-1])}
    batches = Batches(images, plain, Normal(), Hardware())
    drawn = set()
    for seed in range(300):
        (batch,) = batches.epoch(seed)
        drawn.add((batch.inputs * 255).round().byte().numpy()[0, 0].tobytes())
    assert drawn == possible


def test_batches_hold_every_image_once():
    images = toy_images(50)
    recipe = replace(RECIPE, crop=0, flip=False)
    batches = list(Batches(images, recipe, Normal(scale=1.0), Hardware()).epoch(0))
    assert [len(batch.labels) for batch in batches] == [16, 16, 16, 2]
    pixels = torch.cat([batch.inputs for batch in batches]).round().byte().numpy()
    key = lambda image: image.tobytes()  # noqa: E731
    assert sorted(map(key, pixels)) == sorted(map(key, images.images))
    indices = torch.cat([batch.indices for batch in batches])
    assert (images.images[indices] == pixels).all()


def test_processes_share_a_batch():
    images, recipe = toy_images(49), replace(RECIPE, mixup=0.5)
    whole = list(Batches(images, recipe, NORMAL, Hardware()).epoch(2))
    parts = [
        list(Batches(images, recipe, NORMAL, Hardware(), training.Processes(rank, 2)).epoch(2))
        for rank in (0, 1)
    ]
    # The last image alone cannot be shared.
    assert [len(part) for part in (whole, *parts)] == [4, 3, 3]
    for batch, first, second in zip(whole[:3], *parts, strict=True):
        assert (batch.inputs[::2] == first.inputs).all()
        assert (batch.inputs[1::2] == second.inputs).all()
        assert (batch.kept, batch.size) == (first.kept, first.size) == (second.kept, second.size)
