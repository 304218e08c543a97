"""Targets in bulk where a job is submitted: from files, and from a site that is asked as little as can be."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from broker_config.errors import SpecError
from cli import job_document, targets
from cli.targets import with_targets
from orchestrator.web.server import WebServer

A, B = "http://127.0.0.1/a", "http://127.0.0.1/b"


def sitemap(*urls: str) -> bytes:
    return f"<urlset>{''.join(f'<url><loc>{u}</loc></url>' for u in urls)}</urlset>".encode()


def index(*urls: str) -> bytes:
    inner = "".join(f"\n<sitemap><loc>{u}</loc></sitemap>" for u in urls)
    return f"<sitemapindex>{inner}</sitemapindex>".encode()


class Site:
    """Answers with `files`, sends on by `onward`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.onward: dict[str, str] = {}
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.url = ""

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        self.agents.add(request.headers["user-agent"])
        if path in self.onward:
            return RedirectResponse(self.onward[path])
        return Response(self.files.get(path, b""), 200 if path in self.files else 404)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = Starlette(routes=[Route("/{path:path}", site.answer)])
    async with WebServer(app, host="127.0.0.1", port=0) as server:
        site.url = server.url
        yield site


async def resolved(
    folder: Path, named: str | None = None, *, skip_bad: bool = False, **document: Any
) -> tuple[list[str], list[str]]:
    """URLs of the targets, and what was said."""
    said: list[str] = []
    out = await with_targets(document, folder, named=named, skip_bad=skip_bad, say=said.append)
    return [t["url"] for t in out["targets"]], said


async def refused(folder: Path, named: str | None = None, **document: Any) -> str:
    with pytest.raises(SpecError) as e:
        await resolved(folder, named, **document)
    return str(e.value)


async def test_a_file_beside_the_spec(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(f"{A}\n{B}\n")
    document = {"name": "x", "targets_file": "urls.txt"}
    out = await with_targets(document, tmp_path, named=None, skip_bad=False, say=print)
    assert out == {"name": "x", "targets": [{"url": A}, {"url": B}]}
    assert document == {"name": "x", "targets_file": "urls.txt"}
    assert await with_targets({"name": "x"}, tmp_path, named=None, skip_bad=False, say=print) == {"name": "x"}


async def test_the_flag_goes_before_the_spec(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text(B)
    urls, _ = await resolved(Path("nowhere"), str(tmp_path / "b.txt"), targets=[{"url": A}], targets_file="x")
    assert urls == [B]


async def test_bad_lines_are_refused_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(f"{A}\nftp://x/\n{A}\n")
    text = await refused(tmp_path, targets_file="urls.txt")
    assert text.startswith("urls.txt: line 2: 'ftp://x/' is not")
    assert f"line 3: {A} stands in line 1 too" in text
    assert "--skip-bad-targets" in text
    urls, said = await resolved(tmp_path, targets_file="urls.txt", skip_bad=True)
    assert urls == [A]
    assert said[0] == "urls.txt: 2 lines are left out"
    assert len(said) == 3


async def test_what_names_no_targets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("# none\n")
    assert await refused(tmp_path, targets_file="urls.txt") == "urls.txt: it holds no targets"
    text = await refused(tmp_path, targets_file="none.txt")
    place = tmp_path / "none.txt"
    assert text.startswith(f"targets_file: 'none.txt' cannot be read, looked for at {place}: there")
    assert (await refused(tmp_path, str(place))).startswith(f"--targets: '{place}' cannot be read")
    assert "5 is not the name of a file" in await refused(tmp_path, targets_file=5)


async def test_an_index_reads_the_sitemaps_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sitemap.xml").write_bytes(
        index("https://shop.example/maps/1.xml.gz", "https://shop.example/2.xml")
    )
    (tmp_path / "1.xml.gz").write_bytes(gzip.compress(sitemap(A, B)))
    text = await refused(tmp_path, targets_file="sitemap.xml")
    assert "line 3: https://shop.example/2.xml is not beside it" in text
    (tmp_path / "2.xml").write_bytes(sitemap(f"{A}/2"))
    assert (await resolved(tmp_path, targets_file="sitemap.xml"))[0] == [A, B, f"{A}/2"]


async def test_an_index_leads_to_no_other_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(A)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "sitemap.xml").write_bytes(index("../secret.txt"))
    assert "is not beside it" in await refused(tmp_path / "in", targets_file="sitemap.xml")


async def test_a_url_of_loopback(tmp_path: Path, site: Site) -> None:
    site.files["/urls"] = A.encode()
    assert (await resolved(tmp_path, targets_file=f"{site.url}/urls"))[0] == [A]
    (agent,) = site.agents
    assert agent.startswith("TrafficBuster/")


async def test_a_spec_cannot_make_tb_ask_a_foreign_site(tmp_path: Path) -> None:
    text = await refused(tmp_path, targets_file="https://shop.example/sitemap.xml")
    assert "name it yourself with --targets" in text


async def test_an_index_on_the_web_is_followed_on_its_own_origin_only(tmp_path: Path, site: Site) -> None:
    other = site.url.replace("127.0.0.1", "localhost")
    site.files |= {"/map.xml": index("1.xml", f"{site.url}/2.xml", f"{other}/3.xml")}
    site.files |= {"/1.xml": sitemap(A), "/2.xml": sitemap(B), "/3.xml": sitemap(f"{A}/3")}
    assert "line 4: " in await refused(tmp_path, f"{site.url}/map.xml")
    urls, said = await resolved(tmp_path, f"{site.url}/map.xml", skip_bad=True)
    assert urls == [A, B]
    assert f"{other}/3.xml is of another origin and is not asked" in said[1]
    assert "/3.xml" not in site.asked


async def test_an_index_in_an_index_is_not_followed(tmp_path: Path, site: Site) -> None:
    site.files |= {"/map.xml": index("1.xml"), "/1.xml": index("2.xml"), "/2.xml": sitemap(A)}
    assert "an index in an index is not read" in await refused(tmp_path, f"{site.url}/map.xml")
    assert "/2.xml" not in site.asked


async def test_redirects_stay_on_the_origin(tmp_path: Path, site: Site) -> None:
    site.files["/urls.txt"] = A.encode()
    site.onward |= {"/old": "/urls.txt", "/away": f"{site.url.replace('127.0.0.1', 'localhost')}/urls.txt"}
    site.onward |= {"/round": "/round"}
    assert (await resolved(tmp_path, f"{site.url}/old"))[0] == [A]
    site.asked.clear()
    assert "it leads to another origin" in await refused(tmp_path, f"{site.url}/away")
    assert site.asked == ["/away"]
    assert "leads on more than 5 times" in await refused(tmp_path, f"{site.url}/round")


async def test_what_is_fetched_is_bounded(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "MAX_BYTES", 1000)
    site.files["/urls.txt"] = A.encode() + b"\n" * 1000
    assert "is larger than" in await refused(tmp_path, f"{site.url}/urls.txt")
    monkeypatch.setattr(targets, "MAX_SITEMAPS", 2)
    site.files["/map.xml"] = index("1.xml", "2.xml", "3.xml")
    assert "at most 2 are read" in await refused(tmp_path, f"{site.url}/map.xml")


async def test_a_site_that_does_not_answer(tmp_path: Path, site: Site) -> None:
    assert "the site answers 404" in await refused(tmp_path, f"{site.url}/none.txt")
    assert "it cannot be fetched" in await refused(tmp_path, "http://127.0.0.1:9/urls.txt")
    text = await refused(tmp_path, "ftp://127.0.0.1/urls.txt")
    assert "is not an absolute http:// or https:// URL" in text


async def test_the_whole_document(tmp_path: Path) -> None:
    (tmp_path / "urls.csv").write_text(f"url,sessions\n{A},2\n")
    (tmp_path / "job.yaml").write_text("targets_file: urls.csv\n")
    file = str(tmp_path / "job.yaml")
    assert (await job_document.read(file, {}))["targets"] == [{"url": A, "sessions": 2}]
    for flags, words in (
        ({"url": [A], "targets": "x.txt"}, "--url and --targets both say where to go"),
        ({}, "there is no job"),
    ):
        with pytest.raises(SpecError, match=words):
            await job_document.read(None, flags)
    (tmp_path / "job.yaml").write_text(f"targets_file: urls.csv\ntargets: [{{url: '{A}'}}]\nsessions: 1\n")
    with pytest.raises(SpecError, match=r"job.yaml: targets_file: stands beside targets"):
        await job_document.read(file, {})
