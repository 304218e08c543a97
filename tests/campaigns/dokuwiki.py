"""DokuWiki from Debian's packages, served by PHP's own web server on loopback.

Nothing of it is installed: the packages are downloaded and unpacked, and each wiki is a copy with data of
its own. Only PHP itself is installed where it is missing. What the wiki knows is in its files: `edits` reads
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.support.ports import free_ports

#: The wiki and what it cannot do without.
PACKAGES = (
    *("dokuwiki", "php-phpseclib", "php-random-compat", "libphp-simplepie", "php-geshi"),
    *("libjs-jquery", "libjs-jquery-ui", "libjs-jquery-cookie"),
)
PHP = ("php-cli", "php-xml")
INSTALL_LIMIT = 300.0
START_LIMIT = 15.0
#: Files of the package that name their neighbours by where Debian installs them.
_FIXED = ("inc/parserutils.php", "lib/exe/jquery.php", "lib/exe/js.php", "vendor/composer/*.php")
_PREPEND = """<?php
define('DOKU_MAIN_CONF', '{conf}/');
define('DOKU_CONF', '{conf}/');
"""
_LOCAL = """<?php
$conf['title'] = 'Harbour wiki';
$conf['savedir'] = '{data}';
$conf['useacl'] = 1;
$conf['superuser'] = '@admin';
$conf['disableactions'] = 'register';
$conf['updatecheck'] = 0;
"""
_ACL = "*\t@ALL\t1\n*\t@user\t8\n"


class CannotSetUp(Exception):
    """The wiki is not to be had on this machine; the message says why, and what to do."""


class User(NamedTuple):
    name: str
    password: str


class Edit(NamedTuple):
    """One line of a page's list of changes."""

    page: str
    user: str
    #: `C` created, `E` edited, `e` edited a little.
    kind: str
    summary: str
    #: What the page said from then on.
    text: str


class DokuWiki:
    def __init__(self, url: str, data: Path, version: str) -> None:
        self.url = url
        self.version = version
        self._data = data

    def text(self, page: str) -> str:
        """What a page says now."""
        return self._file("pages", page, ".txt").read_text()

    def edits(self, page: str) -> list[Edit]:
        """All changes of a page that a user has made, the first one first. `page` is as in `team:plan`."""
        changes = self._file("meta", page, ".changes")
        found = []
        for line in changes.read_text().splitlines() if changes.exists() else ():
            at, _, kind, _, user, summary, *_ = line.split("\t")
            if user:
                then = self._file("attic", page, f".{at}.txt.gz")
                found.append(Edit(page, user, kind, summary, gzip.decompress(then.read_bytes()).decode()))
        return found

    def pages(self, space: str) -> list[str]:
        """All pages of a name space that have ever been changed."""
        return [
            f"{space}:{f.name.removesuffix('.changes')}" for f in self._file("meta", space).glob("*.changes")
        ]

    def _file(self, kind: str, page: str, ending: str = "") -> Path:
        return self._data / kind / (page.replace(":", "/") + ending)


@asynccontextmanager
async def dokuwiki(
    directory: Path, users: Iterable[User], pages: dict[str, str], *, workers: int = 4
) -> AsyncIterator[DokuWiki]:
    """A wiki in `directory` with these users and pages, ended on the way out. Raises `CannotSetUp`."""
    php = await _php()
    unpacked = directory / "unpacked"
    await _unpack(unpacked)
    wiki = await asyncio.to_thread(_build, unpacked, directory, list(users), pages)
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (directory / "php.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(php, "-d", f"auto_prepend_file={directory / 'prepend.php'}", "-d", "opcache.enable_cli=1"),
            *("-d", "display_errors=0", "-S", f"127.0.0.1:{port}", "-t", str(wiki)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=wiki,
            env=os.environ | {"PHP_CLI_SERVER_WORKERS": str(workers)},
            start_new_session=True,  # its workers are processes of their own
        )
    try:
        await _answers(url, process, directory / "php.log")
        yield DokuWiki(url, directory / "data", (wiki / "VERSION").read_text().strip())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


async def _php() -> str:
    if not _has_php() and (trouble := await _apt("install", "-y", "-q", "--no-install-recommends", *PHP)):
        raise CannotSetUp(
            f"PHP is missing and could not be installed ({trouble}); install it: apt install {' '.join(PHP)}"
        )
    found = shutil.which("php")
    if found is None:
        raise CannotSetUp(f"PHP is not on the path; install it: apt install {' '.join(PHP)}")
    return found


def _has_php() -> bool:
    return shutil.which("php") is not None


async def _unpack(root: Path) -> None:
    downloads = root.parent / "packages"
    downloads.mkdir()
    trouble = await _apt("download", "-q", *PACKAGES, into=downloads)
    if trouble:
        # Lists that are old name packages that are no more.
        trouble = await _apt("update", "-q") or await _apt("download", "-q", *PACKAGES, into=downloads)
    if trouble:
        raise CannotSetUp(f"Debian's packages {', '.join(PACKAGES)} cannot be downloaded: {trouble}")
    for package in sorted(downloads.glob("*.deb")):
        if trouble := await _run("dpkg", "-x", str(package), str(root)):
            raise CannotSetUp(f"{package.name} cannot be unpacked: {trouble}")
    shutil.rmtree(downloads)


async def _apt(*arguments: str, into: Path | None = None) -> str:
    if shutil.which("apt-get") is None:
        return "there is no apt-get: this campaign needs Debian, or a system like it"
    return await _run("apt-get", *arguments, into=into)


async def _run(*command: str, into: Path | None = None) -> str:
    """Why it did not succeed; "" where it did."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=into,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
    )
    try:
        async with asyncio.timeout(INSTALL_LIMIT):
            _, errors = await process.communicate()
    except TimeoutError:
        return f"no end after {INSTALL_LIMIT:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = [line for line in errors.decode(errors="replace").splitlines() if line.startswith("E:")]
    return "" if process.returncode == 0 else "; ".join(told) or f"exit code {process.returncode}"


def _build(unpacked: Path, directory: Path, users: list[User], pages: dict[str, str]) -> Path:
    """A wiki of its own from the unpacked packages; where its pages are served from."""
    share, var = unpacked / "usr/share", unpacked / "var/lib/dokuwiki"
    wiki, conf, data = directory / "wiki", directory / "conf", directory / "data"
    links = shutil.ignore_patterns(".htaccess", "acl.auth.php", "users.auth.php")
    shutil.copytree(share / "dokuwiki", wiki, ignore=shutil.ignore_patterns(".htaccess", "plugins", "tpl"))
    shutil.copytree(var / "lib", wiki / "lib", dirs_exist_ok=True)
    shutil.copytree(unpacked / "etc/dokuwiki", conf, ignore=links)
    shutil.copytree(var / "data", data)
    for pattern in _FIXED:
        for file in wiki.glob(pattern):
            moved = file.read_text().replace("$vendorDir . '/usr/share", "'/usr/share")
            file.write_text(moved.replace("'/usr/share/", f"'{share}/"))
    (directory / "prepend.php").write_text(_PREPEND.format(conf=conf))
    (conf / "local.php").write_text(_LOCAL.format(data=data))
    (conf / "acl.auth.php").write_text(_ACL)
    (conf / "users.auth.php").write_text("".join(map(_line, users)))
    for page, text in pages.items():
        file = data / "pages" / (page.replace(":", "/") + ".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return wiki


def _line(user: User) -> str:
    digest = hashlib.sha1(user.password.encode(), usedforsecurity=False).hexdigest()
    return f"{user.name}:{digest}:{user.name.title()} Writer:{user.name}@wiki.test:user\n"


async def _answers(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    reason: object = "no answer"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_LIMIT), httpx.AsyncClient(trust_env=False) as http:
            while process.returncode is None:
                try:
                    answer = await http.get(f"{url}/doku.php?id=start")
                except httpx.HTTPError as e:
                    reason = e
                else:
                    if answer.status_code == 200 and "dokuwiki" in answer.text:
                        return
                    reason = f"status {answer.status_code}"
                await asyncio.sleep(0.1)
    told = log.read_text(errors="replace")[-2000:]
    raise CannotSetUp(f"the wiki does not start: {reason}\n{told}")
