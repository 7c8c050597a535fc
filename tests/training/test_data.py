"""The one way in for images: every format is found by content, and the split is by content."""

import io
import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from training.test_formats import RECORD, idx

from mlcnn import zoo
from mlcnn.errors import InputError
from mlcnn.training import ImageSet, Normal, formats, load_sample, normal_for, open_data
from mlcnn.training.data import read_images

SAMPLE = load_sample()


def npz(path: Path, count: int = 500, **more) -> Path:
    np.savez(path, images=SAMPLE.images[:count], labels=SAMPLE.labels[:count], **more)
    return path


def parts(data):
    return [data.training, data.calibration, data.validation, data.test]


def test_the_parts_share_no_image_and_lose_none(tmp_path):
    data = open_data(npz(tmp_path / "x.npz"))
    keys = [{image.tobytes() for image in part.images} for part in parts(data)]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 500
    shares = [len(part) / 500 for part in parts(data)]
    for share, wanted in zip(shares, (0.80, 0.02, 0.08, 0.10), strict=True):
        # Four standard deviations of a binomial share.
        assert abs(share - wanted) < 4 * (wanted * (1 - wanted) / 500) ** 0.5


def test_a_test_set_of_their_own_is_kept(tmp_path):
    path = npz(
        tmp_path / "x.npz", 400, test_images=SAMPLE.images[400:], test_labels=SAMPLE.labels[400:]
    )
    data = open_data(path)
    assert (data.test.images == SAMPLE.images[400:]).all()
    assert sum(len(part) for part in parts(data)[:3]) == 400


def test_an_image_stays_in_its_part_whatever_the_order(tmp_path):
    order = np.random.default_rng(0).permutation(500)
    first = open_data(npz(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", images=SAMPLE.images[order], labels=SAMPLE.labels[order])
    second = open_data(tmp_path / "y.npz")
    for one, other in zip(parts(first), parts(second), strict=True):
        assert {i.tobytes() for i in one.images} == {i.tobytes() for i in other.images}


def test_equal_images_are_never_in_two_parts(tmp_path):
    images = np.concatenate([SAMPLE.images, SAMPLE.images])
    np.savez(tmp_path / "x.npz", images=images, labels=np.tile(SAMPLE.labels, 2))
    keys = [
        {image.tobytes() for image in part.images} for part in parts(open_data(tmp_path / "x.npz"))
    ]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 500


@pytest.fixture
def small(monkeypatch):
    """The CIFAR files in small: 20 records each."""
    for name in ("cifar10", "cifar100"):
        layout = formats._CIFAR[name]
        records = {"train": 20, "test": 20}
        changed = {f: getattr(layout, f) for f in layout.__slots__} | {"records": records}
        monkeypatch.setitem(formats._CIFAR, name, formats._Cifar(**changed))


def records(index: int) -> bytes:
    part = slice(20 * index, 20 * index + 20)
    columns = [SAMPLE.labels[part, None].astype(np.uint8), SAMPLE.images[part].reshape(20, -1)]
    return np.concatenate(columns, 1).tobytes()


def batch(index: int) -> bytes:
    part = slice(20 * index, 20 * index + 20)
    labels = SAMPLE.labels[part].tolist()
    content = {b"data": SAMPLE.images[part].reshape(20, -1), b"labels": labels}
    return pickle.dumps(content, protocol=2)


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def check_cifar(given: Path) -> None:
    found = read_images(given)
    assert found.name == "cifar10"
    assert (found.given.images == SAMPLE.images[:100]).all()
    assert (found.given.labels == SAMPLE.labels[:100]).all()
    assert (found.test.images == SAMPLE.images[100:120]).all()


def cifar_files(suffix: str, content) -> dict[str, bytes]:
    files = {f"data_batch_{i + 1}{suffix}": content(i) for i in range(5)}
    return {**files, f"test_batch{suffix}": content(5)}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("suffix", "content"), [(".bin", records), ("", batch)])
def test_cifar_as_folder_and_as_archive(tmp_path, suffix, content):
    files = cifar_files(suffix, content)
    inner = tmp_path / "cifar" / "cifar-10"
    inner.mkdir(parents=True)
    for name, data in files.items():
        (inner / name).write_bytes(data)
    check_cifar(inner)
    check_cifar(inner.parent)
    check_cifar(archive(tmp_path / "c.tar.gz", {f"cifar-10/{n}": c for n, c in files.items()}))


@pytest.mark.usefixtures("small")
def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "run",)

    files = cifar_files("", batch) | {"test_batch": pickle.dumps({b"data": Evil()})}
    with pytest.raises(
        InputError, match=r"test_batch: not a batch of cifar10 .* would run pathlib"
    ):
        read_images(archive(tmp_path / "c.tar.gz", files))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("small")
def test_a_truncated_archive_is_refused(tmp_path):
    path = archive(tmp_path / "c.tar.gz", cifar_files(".bin", records))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"c\.tar\.gz: neither .* nor a readable tar .* truncated"):
        read_images(path)
    other = archive(tmp_path / "other.tar.gz", {"readme": b"no data"})
    with pytest.raises(InputError, match=r"other\.tar\.gz: an archive without a data set"):
        read_images(other)


def test_mnist(tmp_path):
    for prefix, count in (("train", 4), ("t10k", 3)):
        pixels = bytes(range(4 * count))
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx(count, 2, 2, content=pixels))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(
            idx(count, content=bytes(range(count)))
        )
    found = read_images(tmp_path)
    assert (found.name, found.given.images.shape, found.test.labels.tolist()) == (
        "mnist", (4, 1, 2, 2), [0, 1, 2],
    )  # fmt: skip


def test_svhn(tmp_path):
    io_module = pytest.importorskip("scipy.io")
    pixels = SAMPLE.images[:30].transpose(2, 3, 1, 0)
    digits = np.where(SAMPLE.labels[:30] == 0, 10, SAMPLE.labels[:30])[:, None]
    for split in ("train", "test"):
        io_module.savemat(tmp_path / f"{split}_32x32.mat", {"X": pixels, "y": digits})
    found = read_images(tmp_path)
    assert (found.given.images == SAMPLE.images[:30]).all()
    assert (found.given.labels == SAMPLE.labels[:30]).all()
    alone = read_images(tmp_path / "train_32x32.mat")
    assert alone.test is None
    broken = tmp_path / "broken.mat"
    broken.write_bytes((tmp_path / "train_32x32.mat").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"broken\.mat: not a \.mat file with X and y"):
        read_images(broken)


def write_pngs(root: Path, count: int = 40) -> None:
    image_class = pytest.importorskip("PIL.Image")
    for index in range(count):
        label = "cat" if index % 2 else "bird"
        (root / label).mkdir(parents=True, exist_ok=True)
        pixels = SAMPLE.images[index].transpose(1, 2, 0)
        image_class.fromarray(pixels).save(root / label / f"{index:03}.png")


def test_class_folders(tmp_path):
    write_pngs(tmp_path / "train")
    write_pngs(tmp_path / "test", 4)
    found = read_images(tmp_path)
    assert found.class_names == ("bird", "cat")
    assert found.given.labels.tolist() == [0] * 20 + [1] * 20
    assert (found.given.images[:20] == SAMPLE.images[0:40:2]).all()
    assert (found.given.images[20:] == SAMPLE.images[1:40:2]).all()
    assert len(found.test) == 4
    plain = read_images(tmp_path / "train")
    assert plain.test is None
    small = read_images(tmp_path / "train", resize=(16, 8))
    assert small.given.images.shape == (40, 3, 16, 8)


def test_bad_class_folders(tmp_path):
    image_class = pytest.importorskip("PIL.Image")
    write_pngs(tmp_path, 6)
    odd = tmp_path / "cat" / "odd.png"
    image_class.fromarray(np.zeros((9, 7, 3), np.uint8)).save(odd)
    with pytest.raises(InputError, match=r"odd\.png: is 9x7, 000\.png is 32x32; .*--resize"):
        read_images(tmp_path)
    odd.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"cat/odd\.png: not a readable image .*repair or remove"):
        read_images(tmp_path)


def test_grey_images_have_one_channel(tmp_path):
    image_class = pytest.importorskip("PIL.Image")
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        image_class.fromarray(SAMPLE.images[0, 0]).save(tmp_path / label / "x.png")
    assert read_images(tmp_path).given.images.shape == (2, 1, 32, 32)


def test_a_torch_data_set(tmp_path, monkeypatch):
    (tmp_path / "shop_data.py").write_text(
        "import torch\n"
        "class Photos(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 6\n"
        "    def __getitem__(self, i): return torch.full((3, 4, 4), i / 10), i % 3\n"
        "def photos(): return Photos(), Photos()\n"
        "def broken(): return [(torch.zeros(3, 4, 4), 0), (torch.zeros(3, 5, 4), 1)]\n"
        "def nothing(): return 7\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = read_images("shop_data:photos")
    assert found.given.images.dtype == np.float32
    assert found.given.images[4, 0, 0, 0] == np.float32(0.4)
    assert found.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(InputError, match="shop_data:broken: its images have the shapes"):
        read_images("shop_data:broken")
    with pytest.raises(InputError, match=r"shop_data:nothing: TypeError: .*torch data set"):
        read_images("shop_data:nothing")


def test_bad_data(tmp_path):
    with pytest.raises(InputError, match="no such file or folder; data sets known by name are"):
        open_data(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no data here: neither folders of images"):
        open_data(tmp_path / "empty")
    with pytest.raises(InputError, match="its 5 images are too few: none falls to the"):
        open_data(npz(tmp_path / "few.npz", 5))
    np.savez(tmp_path / "one.npz", images=SAMPLE.images, labels=np.zeros(500, np.int64))
    with pytest.raises(InputError, match="all training images are of one class"):
        open_data(tmp_path / "one.npz")
    np.savez(tmp_path / "nan.npz", images=np.full((2, 1, 2, 2), np.nan), labels=np.zeros(2, int))
    with pytest.raises(InputError, match="not finite; remove it"):
        open_data(tmp_path / "nan.npz")


def test_data_that_do_not_go_with_a_network(tmp_path):
    data = open_data(npz(tmp_path / "x.npz"))
    data.require_fit(10, (3, 32, 32), "--data")
    with pytest.raises(InputError, match="the network tells 4 classes apart"):
        data.require_fit(4, (3, 32, 32), "--data")
    with pytest.raises(InputError, match=r"are 3x32x32, the network takes 3x64x64; .*--resize"):
        data.require_fit(10, (3, 64, 64), "--data")


def test_how_images_go_to_a_network():
    entry = zoo.describe("lenet5")
    assert normal_for(SAMPLE, entry)[0].mean == entry.normalisation.mean
    guess, note = normal_for(SAMPLE)
    assert guess == Normal()
    assert "they go to it as x / 255" in note
    assert normal_for(SAMPLE, mean=(0.5,), std=(0.25,)) == (Normal((0.5,), (0.25,)), None)
    ready = ImageSet("ready", np.full((2, 3, 4, 4), 0.3, np.float32), np.zeros(2, np.int64), 1)
    assert normal_for(ready, entry) == (Normal(scale=1.0), None)
    assert Normal((0.5,), (0.25,)).told == "(x / 255 - 0.5) / 0.25"
    with pytest.raises(InputError, match="a scale above 0"):
        Normal(std=(0.0,))


def test_a_download_without_a_network(monkeypatch):
    pooch = pytest.importorskip("pooch")

    def fail(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(
        InputError, match=r"--data cifar10: cannot be downloaded \(no route to host"
    ):
        open_data("cifar10")


def test_record_size():
    assert len(records(0)) == 20 * RECORD
