"""Serializers by suffix: ``nbpipe.io``."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nbpipe.io import serializer, serializer_pickle, unserializer, unserializer_pickle


def shout(obj: str, product: object) -> None:
    Path(str(product)).write_text(obj.upper())


def refuse(obj: object, product: object) -> None:
    raise AssertionError(f"nothing should have come here, but {product} did")


def refuse_reading(product: object) -> None:
    raise AssertionError(f"nothing should have come here, but {product} did")


@pytest.mark.parametrize("fallback", [True, "pickle", "joblib", "cloudpickle"])
def test_what_no_suffix_claims_goes_to_the_fallback(tmp_path: Path, fallback: bool | str) -> None:
    product = tmp_path / "model"
    serializer(fallback=fallback)(refuse)({"a": [1, 2]}, product)
    assert unserializer(fallback=fallback)(refuse_reading)(product) == {"a": [1, 2]}


def test_without_a_fallback_the_function_itself_does_it(tmp_path: Path) -> None:
    write = serializer({".txt": refuse})(shout)
    write("quiet", tmp_path / "a.md")
    assert (tmp_path / "a.md").read_text() == "QUIET"


def test_a_function_of_the_mapping_goes_before_all_others(tmp_path: Path) -> None:
    serializer({".md": shout}, fallback=True, defaults=[".txt"])(refuse)("x", tmp_path / "a.md")
    assert (tmp_path / "a.md").read_text() == "X"


@pytest.mark.parametrize(("name", "obj"), [("a.txt", "text"), ("a.json", {"x": [1, None]})])
def test_the_defaults_write_and_read_their_formats(tmp_path: Path, name: str, obj: object) -> None:
    product = tmp_path / name
    serializer(defaults=[".txt", ".json"])(refuse)(obj, product)
    assert unserializer(defaults=[".txt", ".json"])(refuse_reading)(product) == obj


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_defaults_for_data_frames_need_nothing_else(tmp_path: Path, suffix: str) -> None:
    pandas = pytest.importorskip("pandas", reason="data frames are pandas's")
    frame, product = pandas.DataFrame({"x": [1, 2], "y": ["a", "b"]}), tmp_path / f"a{suffix}"
    serializer(defaults=[suffix])(refuse)(frame, product)
    back = unserializer(defaults=[suffix])(refuse_reading)(product)
    assert back[["x", "y"]].to_dict("list") == {"x": [1, 2], "y": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "obj", "what"),
    [
        ("a.txt", 1, "a .txt product is text, not of type int"),
        ("a.json", object(), "cannot be written as JSON"),
        ("a.csv", [1], "should be a data frame, but is of type list"),
    ],
)
def test_an_object_that_does_not_fit_its_format_is_an_error(
    tmp_path: Path, name: str, obj: object, what: str
) -> None:
    with pytest.raises(TypeError, match=what):
        serializer(defaults=[".txt", ".json", ".csv"])(refuse)(obj, tmp_path / name)


def test_several_products_are_a_mapping_with_their_names(tmp_path: Path) -> None:
    product = {"one": str(tmp_path / "one"), "two": str(tmp_path / "two")}
    serializer_pickle({"one": 1, "two": 2}, product)
    assert pickle.loads((tmp_path / "two").read_bytes()) == 2
    assert unserializer_pickle(product) == {"one": 1, "two": 2}


@pytest.mark.parametrize(
    ("obj", "what"),
    [(3, "return a mapping of them, no int"), ({"one": 1}, "but returned 'one'")],
)
def test_several_products_need_a_value_each(tmp_path: Path, obj: object, what: str) -> None:
    with pytest.raises((TypeError, ValueError), match=what):
        serializer_pickle(obj, {"one": tmp_path / "1", "two": tmp_path / "2"})


def test_unpacking_makes_a_folder_of_files_and_leaves_nothing_old_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    serializer(fallback=True, defaults=[".txt"], unpack=True)(refuse)(
        {"a.txt": "a", "b": 2}, folder
    )
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b"]
    read = unserializer(fallback=True, defaults=[".txt"], unpack=True)(refuse_reading)
    assert read(folder) == {"a.txt": "a", "b": 2}


def test_unpacking_takes_what_is_no_mapping_as_one_file(tmp_path: Path) -> None:
    serializer(fallback=True, unpack=True)(refuse)([1], tmp_path / "one")
    assert unserializer(fallback=True, unpack=True)(refuse_reading)(tmp_path / "one") == [1]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"fallback": "jobli"}, "fallback is True, 'joblib' or 'cloudpickle', not 'jobli'"),
        ({"defaults": [".jsn"]}, "did you mean '.json'"),
        ({"defaults": ".json"}, "should be a list"),
        ({"extension_mapping": {"json": shout}}, "begins with a dot"),
        ({"extension_mapping": [shout]}, "a mapping of suffixes is expected"),
        ({"extension_mapping": {".json": shout}, "defaults": [".json"]}, "in 'defaults'"),
    ],
)
def test_a_wrong_option_is_told_where_the_function_is_made(
    options: dict[str, object], what: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=what):
        serializer(**options)(shout)


def test_a_function_with_other_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match=r"refuse_reading\(\) should take \(obj, product\)"):
        serializer()(refuse_reading)
    with pytest.raises(TypeError, match=r"shout\(\) should take \(product\)"):
        unserializer()(shout)
