from __future__ import annotations

from pathlib import Path

import pytest

from broker_config.data_file import read_rows, with_rows
from broker_config.errors import SpecError
from tests.support.workbook import workbook

ROWS = [{"email": "ada@shop.test", "age": "36"}, {"email": 'bob; the "second"', "age": ""}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "users.CSV"
    lines = ["email,age", "ada@shop.test,36", "", '"bob; the ""second""",']
    file.write_text("\ufeff" + "\r\n".join(lines).replace(",", delimiter), "utf-8")
    assert read_rows(file) == ROWS


def test_xlsx(tmp_path: Path) -> None:
    file = tmp_path / "users.xlsx"
    file.write_bytes(workbook([["email", "age"], ["ada@shop.test", 36], [None, None], ["bob", 1.5]], first=3))
    assert read_rows(file) == [{"email": "ada@shop.test", "age": 36}, {"email": "bob", "age": 1.5}]
    file.write_bytes(workbook([["email", "age"], ["a", 1, "more"]], first=3))
    with pytest.raises(SpecError, match="line 3: names of columns are empty"):
        read_rows(file)


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    file.write_text('[{"email": "a", "age": 36, "vip": true, "note": null}]')
    assert read_rows(file) == [{"email": "a", "age": 36, "vip": True, "note": None}]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"x,y\n1,2\n3\n", "line 3: has 1 values for 2 columns"),
        ("a.csv", b"x,x\n1,2\n", "line 1: names of columns are empty or stand there twice"),
        ("a.csv", b"x,y\n", "it holds no rows"),
        ("a.csv", b'x\n"1\n', "line 2: unexpected end of data"),
        ("a.csv", b"\xff\xfe", "it is not UTF-8 text"),
        ("a.json", b"[{]", "line 1, column 3: "),
        ("a.json", b"{}", "it is not a list of objects"),
        ("a.json", b"[1]", "row 1: it is not an object"),
        ("a.json", b'[{"a": []}]', "row 1: 'a' is not a single value"),
        ("a.txt", b"", ".txt is no known kind; use .csv, .json or .xlsx"),
        ("a.xlsx", b"no workbook", ""),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_where(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError) as e:
        read_rows(tmp_path / name)
    assert str(e.value).startswith(f"{tmp_path / name}: {words}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read_rows(tmp_path / "a.csv")


def test_a_document_gets_the_rows_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text("a\n1\n")
    document = {"name": "x", "data": {"file": "u.csv", "mode": "unique"}}
    assert with_rows(document, tmp_path) == {"name": "x", "data": {"mode": "unique", "rows": [{"a": "1"}]}}
    assert document["data"] == {"file": "u.csv", "mode": "unique"}
    assert with_rows({"name": "x"}, tmp_path) == {"name": "x"}
    with pytest.raises(SpecError, match="has both file and rows"):
        with_rows({"data": {"file": "u.csv", "rows": [{}]}}, tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.csv", "there is no such file; a relative path is looked for beside the job spec"),
        ("", "it is a folder; name a file in it"),
        ("a\0.csv", "cannot be the name of a file"),
    ],
)
def test_a_missing_file_is_told_with_its_field_and_where_it_was_looked_for(
    tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(SpecError) as e:
        with_rows({"data": {"name": "user", "file": name}}, tmp_path)
    text = str(e.value)
    assert text.startswith(f"data.file: {name!r} cannot be")
    assert words in text
    assert "name of a file" in text or str(tmp_path / name) in text
