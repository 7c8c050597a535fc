"""Users' YAML files: what is read, and where every mistake stands."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, PositiveInt
from ruamel.yaml import YAML

from mlcnn.accelerators import Document
from mlcnn.accelerators.border import read_description, read_yaml
from mlcnn.errors import InputError


class Inner(Document):
    lanes: PositiveInt
    adders: PositiveInt = 1


class Outer(Document):
    name: str = Field(min_length=1)
    unit: Inner
    spare: Inner | None = None
    words_: int = Field(default=0, alias="words")


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "own.yaml"
        path.write_text(text)
        return path

    return write


def _message(path, model=Outer):
    with pytest.raises(InputError) as caught:
        read_yaml(path, model, "thing")
    return str(caught.value)


def test_values_and_defaults(file):
    found = read_yaml(file("name: a\nunit: {lanes: 3}\nwords: 7\n"), Outer, "thing")
    assert (found.name, found.unit.lanes, found.unit.adders, found.words_) == ("a", 3, 1, 7)
    assert found.spare is None


def test_a_description_has_values_and_lines(file):
    path = file("# a comment\nname: a\n\nunit:\n  lanes: 3\nlist: [1, {x: 2}]\n")
    found = read_description(path, "thing")
    assert found.values == {"name": "a", "unit": {"lanes": 3}, "list": [1, {"x": 2}]}
    assert type(found.values["unit"]) is dict
    assert found.where == f"thing {path}"
    assert found.line(("name",)) == 2
    assert found.line(("unit", "lanes")) == 5
    # Of a key that is missing, the one around it; of nothing, the first line.
    assert found.line(("unit", "adders")) == 4
    assert found.line(("other",)) == 1
    assert found.line(()) == 1


def test_a_key_can_be_left_out(file):
    found = read_description(file("name: a\ntype: b\n"), "thing").without("type")
    assert found.values == {"name": "a"}
    assert found.line(("name",)) == 1
    assert found.without("missing").values == {"name": "a"}


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("name: a\nunits: {lanes: 1}\n", 2, "unknown key 'units'; did you mean 'unit'?"),
        ("name: a\nunit: {lanes: 1, addders: 2}\n", 2, "did you mean 'adders'?"),
        ("name: a\nunit:\n  lanes: 1\nspare:\n  lans: 2\n", 5, "unknown key 'spare.lans'; did you"),
        ("name: a\nunit: {lanes: 1}\nzzzzz: 2\n", 3, "known keys: name, unit, spare, words"),
        ("name: a\nunit: {lanes: 1}\nword: 2\n", 3, "did you mean 'words'?"),
        ("unit: {lanes: 1}\n", 1, "key 'name' is missing"),
        ("name: a\nunit:\n  adders: 1\n", 2, "key 'unit.lanes' is missing"),
        ("name: ''\nunit: {lanes: 1}\n", 1, "name is '': string should have at least 1 character"),
        ("name: a\nunit: {lanes: '1'}\n", 2, "unit.lanes is '1': input should be a valid integer"),
        ("name: a\nunit: 3\n", 2, "unit is 3: input should be a valid dictionary"),
    ],
)
def test_mistakes_have_a_line(file, text, line, told):
    path = file(text)
    message = _message(path)
    assert message.startswith(f"thing {path}:{line}: ")
    assert told in message


def test_an_unknown_key_explains_a_missing_one(file):
    assert "unknown key 'unit.lane'" in _message(file("name: a\nunit: {lane: 1}\n"))


@pytest.mark.parametrize("text", ["- 1\n", "3\n", "text\n", ""])
def test_what_is_no_table(file, text):
    path = file(text)
    assert _message(path).startswith(
        f"thing {path}: it must be a table of keys, one of name, unit, spare, words_ a line, and "
    )
    with pytest.raises(InputError, match=r"a table of keys, one a line, and it is "):
        read_description(path, "thing")


def test_a_large_file_is_not_read(file):
    assert "larger than 1000000 bytes" in _message(file(f"name: {'a' * 1_000_001}\n"))


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_bytes(b"name: \xff\xfe\n")
    assert "cannot be read" in _message(path)
    assert "cannot be read" in _message(tmp_path)


def test_keys_that_come_by_a_merge_have_no_line(file):
    text = "base: &base {lanes: 2}\nunit:\n  <<: *base\n  adders: 3\n"
    found = read_description(file(text), "thing")
    assert found.values["unit"] == {"lanes": 2, "adders": 3}
    assert found.line(("unit", "adders")) == 4
    assert found.line(("unit", "lanes")) == 2


KEYS = st.text("abcdef", min_size=1, max_size=4)
TREES = st.recursive(
    st.one_of(st.integers(-5, 5), st.booleans(), st.text("xyz", max_size=3)),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=8,
)


@given(tree=st.dictionaries(KEYS, TREES, min_size=1, max_size=4))
def test_any_table_comes_back_with_the_line_of_each_key(tree, tmp_path_factory):
    path: Path = tmp_path_factory.mktemp("tables") / "own.yaml"
    with path.open("w") as stream:
        YAML().dump(tree, stream)
    found = read_description(path, "thing")
    assert found.values == tree
    lines = path.read_text().splitlines()
    for place in _places(tree):
        assert lines[found.line(place) - 1].strip().startswith((place[-1], f"'{place[-1]}'"))


def _places(tree, above=()):
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _places(value, (*above, key))
