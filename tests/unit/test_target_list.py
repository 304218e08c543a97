"""Targets in bulk: what files hold, and what is wrong with their lines."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from broker_config import target_list
from broker_config.errors import SpecError
from broker_config.job_spec import MAX_TARGETS
from broker_config.target_list import Row, TargetList, checked, parse
from tests.support.workbook import workbook

A, B = "http://127.0.0.1/a", "http://127.0.0.1/b"
NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def read(data: bytes | str, name: str = "urls.txt") -> TargetList:
    data = data.encode() if isinstance(data, str) else data
    return checked([(name, parse(data, name).entries)])


def rows(data: bytes | str, name: str = "urls.txt") -> list[Row]:
    found = read(data, name)
    assert found.bad == []
    return found.rows


def bad(data: bytes | str, name: str = "urls.txt") -> list[str]:
    return [str(problem) for problem in read(data, name).bad]


def refused(data: bytes | str, name: str = "urls.txt") -> str:
    with pytest.raises(SpecError) as e:
        read(data, name)
    return str(e.value)


def test_txt() -> None:
    text = f"\ufeff# pages\r\n\n  {A}  \r\n{B}#top # a remark\n"
    assert rows(text) == [{"url": A}, {"url": f"{B}#top"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(delimiter: str) -> None:
    text = f"URL,name,sessions,share\n{A},home,3,\n\n{B},,,2.5\n"
    assert rows(text.replace(",", delimiter), "urls.csv") == [
        {"url": A, "name": "home", "sessions": 3},
        {"url": B, "share": 2.5},
    ]


def test_xlsx_and_the_numbers_of_its_rows() -> None:
    table = [["url", "sessions", "name"], [A, 3, "home"], [None, None, None], [B, None, 7], ["ftp://x/"]]
    found = read(workbook(table, first=4), "urls.xlsx")
    assert found.rows == [{"url": A, "sessions": 3, "name": "home"}, {"url": B, "name": "7"}]
    assert [p.where for p in found.bad] == ["line 8"]


def test_a_sitemap_and_its_pictures() -> None:
    text = f"""<?xml version="1.0"?>
<urlset {NAMESPACE} xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
<url><loc> {A}?x=1&amp;y=2 </loc><priority>0.5</priority>
<image:image><image:loc>{B}</image:loc></image:image></url>
<url><loc><![CDATA[{B}]]></loc></url>
</urlset>"""
    assert rows(text, "sitemap.xml") == [{"url": f"{A}?x=1&y=2"}, {"url": B}]


def test_an_index_names_other_sitemaps() -> None:
    text = f"<sitemapindex {NAMESPACE}>\n<sitemap><loc>{A}.xml</loc></sitemap></sitemapindex>"
    found = parse(text.encode(), "sitemap.xml")
    assert found.entries == []
    assert [(e.line, e.row["url"]) for e in found.sitemaps] == [(2, f"{A}.xml")]


@pytest.mark.parametrize(
    "name", ["urls.txt.gz", "urls.txt", "http://127.0.0.1/urls", "http://127.0.0.1/u.txt?x"]
)
def test_packed_and_from_the_web(name: str) -> None:
    assert rows(gzip.compress(A.encode()), name) == [{"url": A}]


def test_the_content_tells_what_has_no_ending() -> None:
    assert rows(f"\n<urlset><url><loc>{A}</loc></url></urlset>", "http://127.0.0.1/map") == [{"url": A}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{A}\nftp://x/\n", "line 2: 'ftp://x/' is not an absolute http:// or https:// URL"),
        (f"{A} {B}\n", "line 1: '"),
        ("http://u:p@127.0.0.1/\n", "line 1: a user name or password in a URL is not allowed"),
        (f"http://127.0.0.1/{'x' * 2100}\n", "line 1: url: "),
        (f"{A}\n\n{A}\n", f"line 3: {A} stands in line 1 too"),
        (
            "http://Shop.localhost\n\nhttp://shop.localhost:80/\n",
            "line 3: http://shop.localhost:80/ stands in",
        ),
    ],
)
def test_bad_lines_of_txt(text: str, words: str) -> None:
    (problem,) = bad(text)
    assert problem.startswith(words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",x,,", "there is no url"),
        (f"{A},x,many,", "sessions 'many' is not a number"),
        (f"{A},x,-1,", "sessions: "),
        (f"{A},x,,0", "share: "),
        (f"{A},x,,nan", "share: "),
        (f"{A},{'x' * 65},,", "name: "),
        (f"{A},x,1,1,more", "has 5 values for 4 columns"),
        (f"{A},home,,", "the name 'home' stands in line 2 too"),
    ],
)
def test_bad_lines_of_csv(row: str, words: str) -> None:
    (problem,) = bad(f"url,name,sessions,share\n{B},home,,\n{row}\n", "urls.csv")
    assert problem.startswith(f"line 3: {words}")


def test_with_several_files_the_problem_names_the_file() -> None:
    files = [(name, parse(A.encode(), name).entries) for name in ("1.txt", "2.txt")]
    (problem,) = checked(files).bad
    assert str(problem) == f"2.txt, line 1: {A} stands in 1.txt, line 1 too"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        ("x", "urls.pdf", ".pdf is no known kind"),
        ("x", "urls", "no ending is no known kind"),
        (b"\xff\xfe", "urls.txt", "it is not UTF-8 text"),
        ("adress\nx\n", "urls.csv", "line 1: there is no column 'adress'"),
        ("name\nx\n", "urls.csv", "line 1: there is no column url"),
        ("url,url\nx,y\n", "urls.csv", "line 1: a column stands there twice"),
        ('url\n"x\n', "urls.csv", "line 2: unexpected end of data"),
        (b"no workbook", "urls.xlsx", "it is not a readable workbook"),
        ("<urlset>\n<url>", "map.xml", "line 2: no element found"),
        ("<html><body/></html>", "map.xml", "line 1: <html> begins no sitemap"),
        (gzip.compress(b"x" * 100, mtime=0)[:-12], "urls.txt.gz", "it cannot be unpacked"),
    ],
)
def test_a_file_that_cannot_be_used(data: bytes | str, name: str, words: str) -> None:
    assert refused(data, name).startswith(f"{name}: {words}")


def test_nothing_is_expanded() -> None:
    entity = '<!ENTITY a "aaaaaaaaaa">'
    text = f"<!DOCTYPE urlset [{entity}]>\n<urlset><url><loc>{A}&a;</loc></url></urlset>"
    assert "a document type is not allowed" in refused(text, "map.xml")
    assert "a document type is not allowed" in refused(text.replace(f"[{entity}]", 'SYSTEM "x"'), "map.xml")


def test_what_is_packed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_list, "MAX_BYTES", 1000)
    assert "is larger than" in refused(gzip.compress(b"x" * 1001))
    assert rows(gzip.compress(A.encode() + b" " * 900)) == [{"url": A}]


def test_a_workbook_that_would_fill_the_memory_is_refused() -> None:
    data = io.BytesIO(workbook([["url"], [A]]))
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("x", "w") as part:
        for _ in range(130):
            part.write(bytes(1 << 20))
    assert "unpacked" in refused(data.getvalue(), "urls.xlsx")


def test_too_many_targets() -> None:
    text = "".join(f"{A}/{n}\n" for n in range(MAX_TARGETS + 1))
    assert refused(text) == f"urls.txt: {MAX_TARGETS + 1} targets; at most {MAX_TARGETS} are allowed"
