"""``.pt2`` files load; a file that tries to run code does not, and does not run it."""

import contextlib
import copy
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.export import Dim

from mlcnn import graph
from mlcnn.errors import InputError
from mlcnn.graph.quiet import quiet

PROGRAM = "models/model.json"


def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    ).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A program as torch saves it."""
    path = tmp_path_factory.mktemp("programs") / "net.pt2"
    with quiet("torch"):
        program = torch.export.export(
            build(),
            (torch.randn(2, 3, 8, 8),),
            dynamic_shapes=({0: Dim("n", max=64), 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},),
        )
        torch.export.save(program, path)
    return path


def rewrite(saved, target, changes):
    """The archive with some members changed by functions of their content, or added."""
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(target, "w") as sink:
        names = {name.partition("/")[2]: name for name in source.namelist()}
        for name, full in names.items():
            content = source.read(full)
            change = changes.get(name)
            sink.writestr(zipfile.ZipInfo(full), change(content) if change else content)
        for name, change in changes.items():
            if name not in names:
                sink.writestr(zipfile.ZipInfo(f"net/{name}"), change(b""))
    return target


def edit(function):
    """A change of a JSON document."""

    def change(content):
        document = json.loads(content)
        function(document)
        return json.dumps(document).encode()

    return change


def test_a_program_loads_with_its_names_and_dynamic_sizes(saved, run):
    model = graph.load_program(saved)

    assert [graph.layer_name(node) for node in model.graph if node.op_type == "Conv"] == ["0"]
    assert {"0.weight", "5.weight", "5.bias"} <= set(model.graph.initializers)
    assert len(model.graph[0].inputs) == 2
    shape = model.graph.inputs[0].shape
    assert [isinstance(dim, int) for dim in shape] == [False, True, False, False]
    x = torch.randn(3, 3, 9, 10)
    (got,) = run(graph.to_proto(model), {model.graph.inputs[0].name: x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(got, build()(x).numpy(), rtol=1e-5, atol=1e-6)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_the_bomb_of_these_tests_goes_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "mark"))).close()  # noqa: S301 - that is the point
    assert (tmp_path / "mark").exists()


@pytest.fixture
def loaded(monkeypatch):
    """The programs that loaded: exporting them takes seconds, and is tested elsewhere."""
    programs = []
    monkeypatch.setattr(
        "mlcnn.graph.programs.from_program", lambda *program, **_: programs.append(program)
    )
    return programs


def pickled(thing, *, as_torch):
    buffer = io.BytesIO()
    if as_torch:
        torch.save(thing, buffer)
        return buffer.getvalue()
    return pickle.dumps(thing)


def use_pickle(name, entry):
    def change(document):
        document["config"][name] = document["config"].get(name) or entry
        document["config"][name]["use_pickle"] = True

    return edit(change)


def load_bomb(saved, tmp_path, changes, pattern="could run code: it is refused"):
    crafted = rewrite(saved, tmp_path / "crafted.pt2", changes)
    with pytest.raises(InputError, match=pattern) as caught:
        graph.load_program(crafted)
    assert str(caught.value).startswith(str(crafted))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("as_torch", [True, False])
def test_code_in_a_weight_does_not_run(saved, tmp_path, as_torch):
    bomb = pickled(Bomb(tmp_path / "mark"), as_torch=as_torch)
    load_bomb(
        saved,
        tmp_path,
        {
            "data/weights/model_weights_config.json": use_pickle("0.weight", {}),
            "data/weights/weight_0": lambda _: bomb,
        },
    )


@pytest.mark.parametrize("kind", ["tensor_0", "custom_obj_0", "opaque_obj_0"])
def test_code_in_a_constant_does_not_run(saved, tmp_path, kind):
    bomb = pickled(Bomb(tmp_path / "mark"), as_torch=kind == "tensor_0")
    entry = {"path_name": kind, "is_param": False, "tensor_meta": None}
    load_bomb(
        saved,
        tmp_path,
        {
            "data/constants/model_constants_config.json": use_pickle("c", entry),
            f"data/constants/{kind}": lambda _: bomb,
        },
    )


@pytest.mark.parametrize("name", ["data/weights/model.pt", "data/constants/model.pt"])
def test_code_in_an_old_archive_does_not_run(saved, tmp_path, name):
    bomb = pickled({"0.weight": Bomb(tmp_path / "mark")}, as_torch=True)
    load_bomb(saved, tmp_path, {name: lambda _: bomb})


def test_code_in_the_example_inputs_does_not_run(saved, tmp_path, loaded):
    bomb = pickled(((Bomb(tmp_path / "mark"),), {}), as_torch=True)
    crafted = rewrite(
        saved, tmp_path / "crafted.pt2", {"data/sample_inputs/model.pt": lambda _: bomb}
    )

    graph.load_program(crafted)

    assert not (tmp_path / "mark").exists()
    ((program,),) = loaded
    assert "0.weight" in program.state_dict


def test_compiled_code_is_not_loaded(saved, tmp_path, loaded):
    crafted = rewrite(
        saved, tmp_path / "crafted.pt2", {"data/aotinductor/model/lib.so": lambda _: b"\x7fELF"}
    )

    graph.load_program(crafted)

    assert len(loaded) == 1


def first_node(document):
    return document["graph_module"]["graph"]["nodes"][0]


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.hub.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.load_library",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "math.factorial",
        "#custom:thing",
        "os.system",
    ],
)
def test_a_program_may_call_tensor_operators_only(saved, tmp_path, target):
    def change(document):
        mark = str(tmp_path / "mark")
        first_node(document).update(
            target=target,
            inputs=[{"name": "", "arg": {"as_string": f"touch {mark}"}, "kind": 1}],
        )

    load_bomb(saved, tmp_path, {PROGRAM: edit(change)}, "which is no tensor operator that mlcnn")


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('pathlib').Path('MARK').touch()",
        "(lambda: open('MARK', 'w'))()",
        "Symbol(open('MARK', 'w'))",
        "Add('open(chr(77), chr(119))', 1)",
        "9**9**9**9",
        "Pow(Integer(9), Pow(Integer(9), Integer(99)))",
        "[].__class__",
    ],
)
def test_a_size_is_arithmetic_only(saved, tmp_path, expression):
    text = expression.replace("MARK", str(tmp_path / "mark"))

    def change(document):
        values = document["graph_module"]["graph"]["tensor_values"]
        values["conv2d"]["sizes"][0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}

    load_bomb(saved, tmp_path, {PROGRAM: edit(change)}, "and is no arithmetic: it is refused")


def test_a_tree_specification_imports_nothing(saved, tmp_path, monkeypatch):
    (tmp_path / "payload.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    context = json.dumps({"__enum__": True, "fqn": "payload:Kind", "name": "A"})

    def change(document):
        signature = document["graph_module"]["module_call_graph"][0]["signature"]
        spec = {"type": "builtins.dict", "context": context, "children_spec": []}
        signature["in_spec"] = json.dumps([1, spec])

    load_bomb(saved, tmp_path, {PROGRAM: edit(change)}, "only tuples, lists and dictionaries")


def test_a_name_of_a_size_that_would_count_for_ever_is_refused(saved, tmp_path):
    def change(document):
        document["range_constraints"]["u99999999999"] = {"min_val": 0, "max_val": 9}

    load_bomb(saved, tmp_path, {PROGRAM: edit(change)}, "'u99999999999' is no name of a size")


def test_a_declared_size_beyond_the_machine_is_not_allocated(saved, tmp_path):
    def change(document):
        document["config"]["0.weight"]["tensor_meta"]["sizes"] = [{"as_int": 2**50}]

    load_bomb(
        saved,
        tmp_path,
        {
            "data/weights/model_weights_config.json": edit(change),
            "data/weights/weight_0": lambda _: b"",
        },
        r"the tensors' declared shapes needs 1\.0 PiB of memory and this machine has",
    )


def test_pickled_tensors_load_through_the_weights_only_loader(saved, tmp_path):
    weight = nn.Parameter(torch.full((4, 3, 3, 3), 0.5))
    crafted = rewrite(
        saved,
        tmp_path / "crafted.pt2",
        {
            "data/weights/model_weights_config.json": use_pickle("0.weight", {}),
            "data/weights/weight_0": lambda _: pickled(weight, as_torch=True),
        },
    )

    model = graph.load_program(crafted)

    np.testing.assert_array_equal(graph.constant(model.graph.initializers["0.weight"]), 0.5)


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"", "not a .pt2 archive, or a truncated one"),
        (b"PK\x03\x04 nonsense", "not a .pt2 archive, or a truncated one"),
        (b"\x80\x02}q\x00.", "not a .pt2 archive"),
    ],
)
def test_a_file_that_is_no_archive(tmp_path, content, pattern):
    path = tmp_path / "net.pt2"
    path.write_bytes(content)

    with pytest.raises(InputError, match=pattern) as caught:
        graph.load_program(path)
    assert "torch.export.save" in str(caught.value)


def test_a_truncated_archive(saved, tmp_path):
    path = tmp_path / "net.pt2"
    path.write_bytes(saved.read_bytes()[:-200])

    with pytest.raises(InputError, match="truncated"):
        graph.load_program(path)


def test_a_checkpoint_is_no_program(tmp_path):
    path = tmp_path / "net.pt2"
    torch.save(build().state_dict(), path)

    with pytest.raises(InputError, match="holds no exported program"):
        graph.load_program(path)


def test_a_compressed_archive_is_refused(tmp_path):
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/models/model.json", b"0" * 10**6)

    with pytest.raises(InputError, match=r"not as torch\.export\.save writes it"):
        graph.load_program(path)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"graph_module": 3}', b"{}"])
def test_a_damaged_program(saved, tmp_path, content):
    crafted = rewrite(saved, tmp_path / "net.pt2", {PROGRAM: lambda _: content})

    with pytest.raises(InputError) as caught:
        graph.load_program(crafted)
    assert str(caught.value).startswith(str(crafted))
    assert "\n" not in str(caught.value)


LEAVES = st.sampled_from([None, True, -1, 0, 3, 2**40, 1.5, "", "x", "torch", [], [0], {}])


def leaves(document, path=()):
    """The paths of everything in a document that holds nothing else."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, dict | list) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def damage(draw, content):
    document = json.loads(content)
    for _ in range(draw(st.integers(1, 2))):
        place = document
        *path, last = draw(st.sampled_from(sorted(leaves(document), key=str)))
        for key in path:
            place = place[key]
        place[last] = copy.deepcopy(draw(LEAVES))
    return json.dumps(document).encode()


def expect_a_clear_end(saved, tmp_path, draw):
    member = draw(st.sampled_from([PROGRAM, "data/weights/model_weights_config.json"]))
    crafted = rewrite(saved, tmp_path / "net.pt2", {member: lambda content: damage(draw, content)})
    with contextlib.suppress(InputError):
        graph.load_program(crafted)


ANYHOW = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=30, **ANYHOW)
@given(data=st.data())
def test_damaged_programs_end_clearly(saved, loaded, tmp_path, data):
    expect_a_clear_end(saved, tmp_path, data.draw)


@pytest.mark.long
@settings(max_examples=1000, **ANYHOW)
@given(data=st.data())
def test_a_thousand_damaged_programs_end_clearly(saved, loaded, tmp_path, data):
    expect_a_clear_end(saved, tmp_path, data.draw)


def test_a_missing_file_and_a_directory(tmp_path):
    with pytest.raises(InputError, match=r"net\.pt2: no such file"):
        graph.load_program(tmp_path / "net.pt2")
    with pytest.raises(InputError, match=r"is a directory; give the \.pt2 file in it"):
        graph.load_program(tmp_path)
