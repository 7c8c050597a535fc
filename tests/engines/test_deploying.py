"""Networks as C libraries: built by each compiler, they compute what the engine native does."""

import ctypes
import dataclasses
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from engines.processors import CPU_FLAGS
from onnx import TensorProto, helper, numpy_helper

import mlcnn
from benchmarks.deployed import _SANITIZERS, custom_session, sanitized
from mlcnn.engines.native import deploying
from mlcnn.engines.native.deploying.operator import custom_network
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import from_proto

COMPILERS = [
    pytest.param(
        name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"no {name} here")
    )
    for name in ("gcc", "clang")
]
STRICT = ("-Wall", "-Wextra", "-Werror")


def branchy(batch: int | str = "N") -> onnx.ModelProto:
    """Two inputs, three branches, a sum and a concatenation, two outputs."""
    rng = np.random.default_rng(0)
    conv = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], **conv),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], **conv),
        helper.make_node("Add", ["c", "z"], ["d"]),
        helper.make_node("AveragePool", ["b"], ["e"], kernel_shape=[3, 3], **conv),
        helper.make_node("Concat", ["d", "e"], ["f"], axis=1),
        helper.make_node("Sigmoid", ["f"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["f"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("MatMul", ["h", "w3"], ["classes"]),
    ]
    weights = {"w1": (12, 3, 3, 3), "w2": (12, 12, 3, 3), "w3": (24, 5)}
    graph = helper.make_graph(
        nodes, "branchy",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 9, 7]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, 12, 9, 7]),
        ],
        [
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, [batch, 24, 9, 7]),
            helper.make_tensor_value_info("classes", TensorProto.FLOAT, [batch, 5]),
        ],
        [
            numpy_helper.from_array(rng.standard_normal(shape, np.float32), name)
            for name, shape in weights.items()
        ],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@dataclasses.dataclass
class Library:
    """A deployed network, built."""

    plan: deploying.Plan
    folder: Path
    name: str
    built: deploying.Built


def build(plan: deploying.Plan, place: Path, name: str, compiler: str) -> Library:
    folder = place / "c"
    deploying.write(plan, folder, name, name)
    built = deploying.build(
        folder, name, "native", into=place, compiler=(compiler,), flags=STRICT,
        sources=(f"{name}_onnxruntime.c",),
    )  # fmt: skip
    return Library(plan, folder, name, built)


@pytest.fixture(scope="module")
def planned() -> deploying.Plan:
    return deploying.plan(from_proto(branchy()), algorithm="direct", batch=2)


@pytest.fixture(scope="module")
def library(planned: deploying.Plan, tmp_path_factory: pytest.TempPathFactory) -> Library:
    compiler = "clang" if shutil.which("clang") else "gcc"
    return build(planned, tmp_path_factory.mktemp("branchy"), "branchy", compiler)


def outputs(plan: deploying.Plan, loaded: deploying.Loaded, seed: int) -> list[np.ndarray]:
    run, results = loaded.runner(deploying.handed(plan, deploying.drawn(plan.inputs, seed)))
    assert run() == 0
    return results


def expected(plan: deploying.Plan, seed: int) -> list[np.ndarray]:
    found = plan.session.run(deploying.drawn(plan.inputs, seed))
    return [found[buffer.name] for buffer in plan.outputs]


def assert_same_bits(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.view(np.int32), other.view(np.int32))


# -- what it computes


def test_a_branchy_network_is_what_native_computes_and_onnx_runtime(library: Library) -> None:
    plan = library.plan
    loaded = deploying.Loaded(library.built.path, library.name, plan.outputs)
    session = onnxruntime.InferenceSession(
        branchy().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for seed in range(3):
        found = outputs(plan, loaded, seed)
        assert_same_bits(found, expected(plan, seed))
        for one, other in zip(
            found, session.run(None, deploying.drawn(plan.inputs, seed)), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=2e-4)
    loaded.close()


@pytest.mark.parametrize("compiler", COMPILERS[:1])
def test_lenet5_is_what_native_computes(compiler: str, tmp_path: Path) -> None:
    plan = deploying.plan(mlcnn.load("lenet5"), algorithm="direct")
    lenet5 = build(plan, tmp_path, "lenet5", compiler)
    loaded = deploying.Loaded(lenet5.built.path, "lenet5", plan.outputs)
    assert_same_bits(outputs(plan, loaded, 0), expected(plan, 0))
    loaded.close()
    assert 50_000 < lenet5.built.code_bytes < 300_000
    assert lenet5.built.binary_bytes - lenet5.built.code_bytes == 64 + plan.constants.nbytes


@pytest.mark.long
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("network", ["lenet5", "resnet18-224", "googlenet", "vgg16"])
def test_networks_of_the_zoo_are_what_native_computes(
    network: str, compiler: str, tmp_path: Path
) -> None:
    plan = deploying.plan(mlcnn.load(network), algorithm="auto")
    built = build(plan, tmp_path, "net", compiler)
    loaded = deploying.Loaded(built.built.path, "net", plan.outputs)
    assert_same_bits(outputs(plan, loaded, 0), expected(plan, 0))
    loaded.close()


@pytest.mark.long
@pytest.mark.parametrize("network", ["lenet5", "resnet18-224"])
def test_sanitizers_find_nothing(network: str, tmp_path: Path) -> None:
    plan = deploying.plan(mlcnn.load(network), algorithm="auto")
    deploying.write(plan, tmp_path / "c", "net", network)
    told = sanitized("gcc", tmp_path / "c", "net", plan, tmp_path)
    assert told == dict.fromkeys(_SANITIZERS, "clean")


@pytest.mark.long  # compiles
def test_several_threads_compute_the_same(tmp_path: Path) -> None:
    plan = deploying.plan(from_proto(branchy()), algorithm="direct", batch=3, threads=2)
    deploying.write(plan, tmp_path / "c", "net", "net")
    checked = deploying.check(plan, tmp_path / "c", "net", march="native")
    assert checked.context_bytes == plan.context_bytes
    assert plan.context_bytes == plan.room_bytes * 2 + 4 * plan.program.memory.size + 127


@pytest.mark.long
@pytest.mark.skipif(shutil.which("cmake") is None, reason="no CMake here")
def test_cmake_builds_it_into_another_project(planned: deploying.Plan, tmp_path: Path) -> None:
    deploying.write(planned, tmp_path / "net", "branchy", "branchy")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nadd_subdirectory(net)\n"
        "add_executable(user user.c)\ntarget_link_libraries(user branchy)\n"
    )
    (tmp_path / "user.c").write_text(
        '#include "branchy.h"\nint main(void) { return branchy_context_bytes(1) == 0; }\n'
    )
    for call in (["-B", "build"], ["--build", "build"]):
        done = subprocess.run(
            [shutil.which("cmake"), *call],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([tmp_path / "build" / "user"], check=False).returncode == 0


# -- contexts


def test_threads_with_a_context_each_do_not_disturb_each_other(library: Library) -> None:
    plan, wrong = library.plan, list[int]()
    wanted = [expected(plan, seed) for seed in range(4)]

    def work(seed: int) -> None:
        loaded = deploying.Loaded(library.built.path, library.name, plan.outputs)
        for _ in range(50):
            for one, other in zip(outputs(plan, loaded, seed), wanted[seed], strict=True):
                if not np.array_equal(one.view(np.int32), other.view(np.int32)):
                    wrong.append(seed)
        loaded.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_context_lies_in_memory_of_the_callers_wherever_it_begins(library: Library) -> None:
    functions, plan = ctypes.CDLL(str(library.built.path)), library.plan
    functions.branchy_context_bytes.restype = ctypes.c_size_t
    size = functions.branchy_context_bytes(1)
    assert size == plan.context_bytes
    given = deploying.handed(plan, deploying.drawn(plan.inputs, 5))
    inputs = (ctypes.c_void_p * 2)(*(array.ctypes.data for array in given))
    for offset in (0, 1, 63):
        memory = np.full(size + 128, 255, np.uint8)
        results = [np.empty(buffer.shape, np.float32) for buffer in plan.outputs]
        made = (ctypes.c_void_p * 2)(*(array.ctypes.data for array in results))
        context = ctypes.c_void_p()
        assert not functions.branchy_open(
            ctypes.byref(context), ctypes.c_void_p(memory.ctypes.data + offset), 1
        )
        assert functions.branchy_run(context, inputs, made) == 0
        assert_same_bits(results, expected(plan, 5))
        functions.branchy_close(context)
        assert (memory[:offset] == 255).all()
        assert (memory[offset + size :] == 255).all()


def test_wrong_arguments_give_codes(library: Library) -> None:
    functions = ctypes.CDLL(str(library.built.path))
    functions.branchy_context_bytes.restype = ctypes.c_size_t
    header = (library.folder / "branchy.h").read_text()
    codes = re.findall(r"^  BRANCHY_([A-Z_]+)", header[header.index("enum {") :], re.MULTILINE)
    bad, threads = codes.index("BAD_ARGUMENT"), codes.index("NO_THREADS")
    context = ctypes.c_void_p()
    assert [functions.branchy_context_bytes(count) for count in (0, -1, 1025)] == [0, 0, 0]
    assert functions.branchy_open(None, None, 1) == bad
    assert functions.branchy_open(ctypes.byref(context), None, 0) == bad
    assert functions.branchy_open(ctypes.byref(context), None, 2) == threads
    assert functions.branchy_run(None, None, None) == bad
    assert functions.branchy_open(ctypes.byref(context), None, 1) == 0
    assert functions.branchy_run(context, (ctypes.c_void_p * 2)(), (ctypes.c_void_p * 2)()) == bad
    functions.branchy_close(context)
    functions.branchy_close(None)


def test_a_run_allocates_nothing(library: Library) -> None:
    """The kernels take memory through one macro, which gives the context's, and nowhere else."""
    found = {
        path.name
        for path in (library.folder / "kernels").glob("*.h")
        if re.search(r"\b(malloc|calloc|aligned_alloc|free)\(", path.read_text())
    }
    assert found == {"room.h"}
    assert "#define ROOM_BYTES" in (library.folder / "branchy.c").read_text()


def opened(library: Library, place: Path, *flags: str) -> int:
    """The code of ``open``, of a library that is compiled without most kernels, to be quick."""
    source = library.folder / "branchy.c"
    text, count = re.subn(r"#define KERNELS 0x\w+", "#define KERNELS 0x40ull", source.read_text())
    assert count == 1
    source.write_text(text)
    built = deploying.build(
        library.folder, library.name, "native", into=place, compiler=("gcc",), flags=flags
    )
    context = ctypes.c_void_p()
    return ctypes.CDLL(str(built.path)).branchy_open(ctypes.byref(context), None, 1)


def copied(library: Library, place: Path) -> Library:
    shutil.copytree(library.folder, place / "copy")
    return dataclasses.replace(library, folder=place / "copy")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")
def test_weights_of_another_network_are_refused(library: Library, tmp_path: Path) -> None:
    other = copied(library, tmp_path)
    weights = other.folder / "branchy_weights.bin"
    content = bytearray(weights.read_bytes())
    content[8] ^= 1  # of the stamp
    weights.write_bytes(content)
    assert opened(other, tmp_path) == 4


@pytest.mark.skipif(
    "avx2" not in CPU_FLAGS or "avx512f" in CPU_FLAGS or shutil.which("gcc") is None,
    reason="needs a processor with AVX2 and without AVX-512",
)
def test_a_processor_without_the_instructions_is_refused(library: Library, tmp_path: Path) -> None:
    assert opened(copied(library, tmp_path), tmp_path, "-mavx512f") == 3


@pytest.mark.skipif("avx" not in CPU_FLAGS, reason="the plan is for AVX")
def test_a_compiler_for_another_processor_is_refused(library: Library) -> None:
    with pytest.raises(
        UnsupportedError, match="branchy: planned for native: compile for a processor of this kind"
    ):
        deploying.build(library.folder, "branchy", "x86-64", into=library.folder.parent)


# -- ONNX Runtime


def session_of(library: Library) -> onnxruntime.InferenceSession:
    return custom_session(library.built.path, library.folder / "branchy_onnxruntime.onnx")


def test_onnx_runtime_runs_it_in_several_threads_at_once(library: Library) -> None:
    plan, session, wrong = library.plan, session_of(library), list[int]()
    assert [(i.name, i.shape) for i in session.get_inputs()] == [
        (buffer.name, list(buffer.shape)) for buffer in plan.inputs
    ]
    wanted = [expected(plan, seed) for seed in range(4)]
    assert_same_bits(session.run(None, deploying.drawn(plan.inputs, 0)), wanted[0])

    def work(seed: int) -> None:
        inputs = deploying.drawn(plan.inputs, seed)
        for _ in range(50):
            for one, other in zip(session.run(None, inputs), wanted[seed], strict=True):
                if not np.array_equal(one.view(np.int32), other.view(np.int32)):
                    wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


RUNTIME = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"), None)


@pytest.mark.skipif(
    RUNTIME is None or shutil.which("gcc") is None, reason="no gcc, or no library of its own"
)
def test_onnx_runtimes_c_api_runs_it(library: Library, tmp_path: Path) -> None:
    program = tmp_path / "program"
    source = Path(__file__).parent / "run_in_onnxruntime.c"
    for call in (
        ["gcc", *STRICT, str(source), "-o", str(program), "-ldl"],
        [str(program), str(RUNTIME), str(library.built.path),
         str(library.folder / "branchy_onnxruntime.onnx")],
    ):  # fmt: skip
        done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    counts = (np.arange(2 * c * 9 * 7) % m for c, m in ((3, 11), (12, 7)))
    x, z = (
        c.astype(np.float32) / np.float32(m) - np.float32(0.5)
        for c, m in zip(counts, (11, 7), strict=True)
    )
    inputs = {"x": x.reshape(2, 3, 9, 7), "z": z.reshape(2, 12, 9, 7)}
    wanted = library.plan.session.run(inputs)["classes"].ravel()
    assert [float.fromhex(line) for line in done.stdout.split()] == wanted.tolist()


def test_a_node_of_another_plan_is_refused(library: Library, tmp_path: Path) -> None:
    model = onnx.load(library.folder / "branchy_onnxruntime.onnx")
    (attribute,) = (a for a in model.graph.node[0].attribute if a.name == "plan")
    attribute.s = b"0123456789abcdef"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(
        Exception, match=f"branchy: this library is of plan {library.plan.stamp}, and the node of "
    ):
        custom_session(library.built.path, tmp_path / "other.onnx")


def test_networks_have_domains_of_their_own(planned: deploying.Plan) -> None:
    """ONNX Runtime refuses a domain that two libraries of a session bring."""
    domains = {node.domain for name in "ab" for node in custom_network(planned, name).graph.node}
    assert domains == {"mlcnn.native.a", "mlcnn.native.b"}


def test_an_input_of_another_size_is_refused(library: Library) -> None:
    inputs = deploying.drawn(library.plan.inputs)
    with pytest.raises(Exception, match="Got invalid dimensions for input: x"):
        session_of(library).run(None, {**inputs, "x": inputs["x"][:1]})


def test_other_types_are_cast_around_the_operator(planned: deploying.Plan) -> None:
    """Native takes and gives floats; the network says what it took and gave before."""
    flags = deploying.Buffer("mask", (1, 1, 9, 7), np.dtype(np.bool_), flags=True)
    whole = deploying.Buffer("n", (2, 3), np.dtype(np.int64))
    plan = dataclasses.replace(planned, inputs=(whole, flags), outputs=(whole, planned.outputs[0]))
    plan = dataclasses.replace(
        plan, outputs=(dataclasses.replace(whole, name="m"), planned.outputs[0])
    )
    model = custom_network(plan, "net")
    assert [node.op_type for node in model.graph.node] == ["Cast", "net", "Cast"]
    onnx.checker.check_model(model)
    types = [i.type.tensor_type.elem_type for i in (*model.graph.input, *model.graph.output)]
    assert types == [TensorProto.INT64, TensorProto.BOOL, TensorProto.INT64, TensorProto.FLOAT]


# -- folders, names and what is refused


def test_a_folder_is_replaced_only_as_it_was_written(
    planned: deploying.Plan, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "out"
    deploying.write(planned, folder, "one", "one")
    deploying.write(planned, folder, "two", "two")
    assert sorted(path.name for path in folder.glob("*.h")) == ["two.h"]
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    (folder / "main.c").write_text("/* mine */")
    with pytest.raises(InputError, match=r"out: holds main\.c, which is not as `mlcnn deploy` wr"):
        deploying.write(planned, folder, "three", "three")
    assert (folder / "main.c").read_text() == "/* mine */"


@pytest.mark.parametrize("foreign", ["notes.txt", "build/net.o"])
def test_a_folder_of_somebody_elses_is_refused(
    foreign: str, planned: deploying.Plan, tmp_path: Path
) -> None:
    (tmp_path / "out" / foreign).parent.mkdir(parents=True)
    (tmp_path / "out" / foreign).write_text("mine")
    message = re.escape(f"holds {foreign}, which is not as `mlcnn deploy` wrote it; give a new or")
    with pytest.raises(InputError, match=message):
        deploying.write(planned, tmp_path / "out", "net", "net")
    assert (tmp_path / "out" / foreign).read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_nothing(
    error: BaseException, planned: deploying.Plan, tmp_path: Path
) -> None:
    def interrupt(_: Path) -> None:
        raise error

    kind = InputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(kind):
        deploying.write(planned, tmp_path / "deep" / "out", "net", "net", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_when_a_write_is_interrupted(
    planned: deploying.Plan, tmp_path: Path
) -> None:
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    deploying.write(planned, tmp_path / "out", "one", "one")
    with pytest.raises(KeyboardInterrupt):
        deploying.write(planned, tmp_path / "out", "two", "two", interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "one.h").exists()


def test_a_file_in_place_of_the_folder_is_refused(planned: deploying.Plan, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(InputError, match=r"a file stands where|is a file, and a folder is"):
            deploying.write(planned, folder, "net", "net")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "made"),
    [("resnet18-224", "resnet18_224"), ("2nd", "net_2nd"), ("int", "net_int"), ("é", "network")],
)
def test_names_become_names_in_c(given: str, made: str) -> None:
    assert deploying.name_in_c(given) == made
    with pytest.raises(InputError, match=f"--name {given}: a name in C is required"):
        deploying.check_name(given)


def test_titles_end_no_comment(planned: deploying.Plan, tmp_path: Path) -> None:
    deploying.write(planned, tmp_path / "out", "net", "a*/ int main\n#error b")
    header = (tmp_path / "out" / "net.h").read_text()
    assert header.startswith("/* a* / int main #error b, as a C library")


def test_a_missing_kernel_is_named() -> None:
    model = branchy()
    model.graph.node[6].op_type = "Sign"
    with pytest.raises(UnsupportedError, match=r"Sign.*use engine 'onnxruntime'"):
        deploying.plan(from_proto(model))


def test_a_batch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="batch must be 1 or more, got 0"):
        deploying.plan(from_proto(branchy()), batch=0)
    with pytest.raises(InputError, match="batch 2: the network's input x: float32"):
        deploying.plan(from_proto(branchy(1)), batch=2)
