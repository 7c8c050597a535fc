"""Files with lines, tags and templates; none of them can run code or read what it should not."""

import pytest

from mlcnn.codesign.timeloop.document import read_document
from mlcnn.errors import InputError, UnsupportedError


@pytest.fixture
def file(tmp_path):
    def make(text, name="file.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return make


def test_values_have_their_lines(file):
    node = read_document(file("a:\n  word-bits: 8\n  list:\n  - x\n  - !Component\n    name: y\n"))
    table = node.table()["a"].table()
    assert (table["word_bits"].whole(), table["word_bits"].line) == (8, 2)
    first, second = table["list"].items()
    assert (first.text(), first.line, first.place) == ("x", 4, "a.list[0]")
    assert (second.tag, second.line, second.table()["name"].line) == ("!Component", 5, 6)


def test_merged_keys_are_there(file):
    node = read_document(file("base: &b {x: 1}\nown:\n  <<: *b\n  y: 2\n"))
    own = node.table()["own"].table()
    assert {key: one.whole() for key, one in own.items()} == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", ":1: not valid YAML, expected ',' or ']', but got '<stream end>'"),
        ("a: 1\na: 2\n", ':2: not valid YAML, found duplicate key "a" with value "2" '
         '(original value: "1")'),
        ("a:\n- !Componnent\n  name: x\n", ":2: unknown tag '!Componnent'; did you mean "
         "'!Component'?"),
        ("a: !!python/object/apply:os.system ['id']\n", ":1: unknown tag "
         "'tag:yaml.org,2002:python/object/apply:os.system'; known: !Component, !Container, "
         "!Hierarchical, !Nothing, !Parallel, !Pipelined"),
    ],
)  # fmt: skip
def test_malformed_files_are_told(file, text, message):
    path = file(text)
    with pytest.raises(InputError) as told:
        read_document(path)
    assert str(told.value).startswith(f"Timeloop file {path}{message}")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read \("):
        read_document(tmp_path / "none.yaml")


def test_aliases_that_multiply_are_told(file):
    text = "a0: &a0 [x]\n"
    for number in range(1, 9):
        parts = ", ".join([f"*a{number - 1}"] * 9)
        text += f"a{number}: &a{number} [{parts}]\n"
    path = file(text)
    with pytest.raises(InputError) as told:
        read_document(path)
    assert str(told.value) == f"Timeloop file {path}: it has more than 500000 values"


def test_templates_are_filled_in(file):
    file(
        "nodes:\n- !Component\n  name: x\n  deep: {word: 'a\"b', big: 1.0e-9}\n", "parts/arch.yaml"
    )
    file("list: [1, 2]\n", "parts/b.yaml")
    file("text: here\n", "text.txt")
    node = read_document(file("""\
{{add_to_path('parts')}}
{% set name = given|default('none') %}
nodes: {{include('parts/arch.yaml', 'nodes')}}
all: {{include_all('parts/b*.yaml', 'list')}}
{{include_text('text.txt')}}
name: {{name}}
{% if path_exists('nothing.yaml') %}
more: 1
{% elif path_exists('text.txt') %}
less: {{ 'a' ~ 1 }}
{% endif %}
"""))  # fmt: skip
    table = node.table()
    (item,) = table["nodes"].items()
    deep = item.table()["deep"].table()
    assert (item.tag, deep["word"].text(), deep["big"].number()) == ("!Component", 'a"b', 1e-9)
    assert [one.whole() for one in table["all"].items()] == [1, 2]
    texts = [table[key].text() for key in ("text", "name", "less")]
    assert (texts, "more" in table) == (["here", "none", "a1"], False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {{include('../x.yaml', 'a')}}", ": '../x.yaml' is outside the folder {folder}; files "
         "are included from inside it"),
        ("a: {{include_text('/etc/hostname')}}", ": '/etc/hostname' is outside the folder {folder};"
         " files are included from inside it"),
        ("a: {{include('x.yaml')}}", ": there is no file 'x.yaml' in {folder}"),
        ("b: 1\na: {{incude('x.yaml')}}", ":2: unknown function 'incude' of a template; did you "
         "mean 'include'?"),
        ("a: {{ x }", ":1: no valid template, unexpected '}'"),
        ("a: {{ cwd()|upper }}", ":1: 'upper' of a template is not read; default, defined, "
         "undefined are"),
    ],
)  # fmt: skip
def test_wrong_templates_are_told(file, text, message):
    path = file(text)
    with pytest.raises((InputError, UnsupportedError)) as told:
        read_document(path)
    wanted = f"Timeloop file {path}{message}".replace("{folder}", str(path.parent))
    assert str(told.value) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(9) %}{% endfor %}",
        "{{ ''.__class__ }}",
        "{{ cwd['x'] }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'x' * 999999999 }}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
    ],
)
def test_templates_that_could_run_are_refused(file, text):
    with pytest.raises(UnsupportedError, match="templates with .* are not read; they may have"):
        read_document(file(text))


def test_files_that_include_each_other_are_told(file):
    file("a: {{include('two.yaml', 'a')}}", "one.yaml")
    with pytest.raises(InputError, match="files include each other more than 8 times"):
        read_document(file("a: {{include('one.yaml', 'a')}}", "two.yaml"))


def test_a_link_out_of_the_folder_is_told(file, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    file("a: 1", "outside.yaml")
    (inner / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    path = inner / "file.yaml"
    path.write_text("a: {{include('link.yaml', 'a')}}")
    with pytest.raises(InputError, match=r"'link\.yaml' is outside the folder"):
        read_document(path)


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        ("a: x", lambda a: a.items(), ":1: a: it must be a list, got 'x'"),
        ("a: x", lambda a: a.table(), ":1: a: it must be a table of keys, got 'x'"),
        ("a:", lambda a: a.text(), ":1: a: it must be text, got nothing"),
        ("a: 2", lambda a: a.truth(), ":1: a: it must be true or false, got int"),
        ("a: true", lambda a: a.number(), ":1: a: it must be a number, got bool"),
        ("a: 1.5", lambda a: a.whole(), ":1: a: it must be a whole number of at least 1, got 1.5"),
        ("a: 0", lambda a: a.whole(), ":1: a: it must be a whole number of at least 1, got 0"),
        ("a: b", lambda a: a.number(), ":1: a: unknown name 'b' in 'b'"),
        ("a: 0.5", lambda a: a.version(("0.3", "0.4")),
         ":1: a: version 0.5 is not read; known: 0.3, 0.4"),
        ("a: {nam: 1}", lambda a: a.table(("name", "class")),
         ":1: unknown key 'a.nam'; did you mean 'name'?"),
    ],
)  # fmt: skip
def test_values_of_another_kind_are_told(file, text, read, message):
    path = file(text)
    with pytest.raises(InputError) as told:
        read(read_document(path).table()["a"])
    assert str(told.value) == f"Timeloop file {path}{message}"
