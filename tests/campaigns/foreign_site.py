"""A site that nobody here wrote: people log in to a wiki and edit pages, and the wiki's files must agree.

    uv run python -m tests.campaigns.foreign_site [--sessions 24] [--wrong 3] [--vus 4] [--json FILE]

DokuWiki as Debian packages it, `tb up` with Chromium, and a declarative journey that logs in, opens a page,
edits it and logs out; each session is another person with a page of his own, from a CSV file. Some have a
wrong password: the wiki answers 403, so they must fail at that step and leave no edit. Afterwards every
session that is ok must be in its page's list of changes exactly once, with its own words; no page may have
changed otherwise; and the stored job must agree with its records.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from runner.browser import installer
from tests.acceptance.machine import Machine, offered
from tests.campaigns.dokuwiki import CannotSetUp, DokuWiki, User, dokuwiki
from tests.support.job_records import job_records
from tests.support.ports import free_ports
from tests.support.waiting import eventually

SPACE = "plans"
#: Seconds for one session, with all others beside it, on a busy machine.
PATIENCE = 20.0
LOG_IN = "log in"
JOURNEY: dict[str, Any] = {
    "timeout": "15s",
    "steps": [
        {"click": {"role": "link", "name": "Log In"}},
        {"fill": {"label": "Username", "value": "${who.name}"}},
        {"fill": {"label": "Password", "value": "${who.password}"}},
        {"click": {"role": "button", "name": "Log In"}, "name": LOG_IN},
        {"expect": {"css": "li.user", "text": "${who.name}"}, "name": "see who is logged in"},
        {"goto": "/doku.php?id=${who.page}", "name": "open the page"},
        {"click": {"css": "li.edit a"}, "name": "edit"},
        {"fill": {"css": "#wiki__text", "value": "${who.text}"}},
        {"fill": {"label": "Edit summary", "value": "${who.summary}"}},
        {"click": {"role": "button", "name": "Save", "exact": True}, "name": "save"},
        {"expect": {"css": "#dokuwiki__content", "text": "${who.text}"}, "name": "see it saved"},
        {"click": {"role": "link", "name": "Log Out"}, "name": "log out"},
        {"expect": {"role": "link", "name": "Log In"}},
    ],
}


class Person(NamedTuple):
    """A row of data. `right` is whether the password is."""

    user: User
    right: bool
    page: str
    text: str
    summary: str

    @classmethod
    def number(cls, n: int, *, right: bool) -> Person:
        user = User(f"person{n:03}", f"secret-{n * 7919}")
        return cls(user, right, f"{SPACE}:plan{n:03}", f"Plan {n}: paint the boat, twice.", f"edit no {n}")

    @property
    def row(self) -> dict[str, str]:
        password = self.user.password if self.right else "not this one"
        name, _ = self.user
        return {
            "name": name,
            "password": password,
            "page": self.page,
            "text": self.text,
            "summary": self.summary,
        }


def people(sessions: int, wrong: int) -> list[Person]:
    """Those with a wrong password are spread among the others."""
    every = sessions // wrong if wrong else sessions + 1
    return [Person.number(n, right=n % every != every - 1 or n >= every * wrong) for n in range(sessions)]


async def campaign(sessions: int, wrong: int, vus: int) -> dict[str, Any]:
    everyone = people(sessions, wrong)
    await installer.ensure(["chromium"], print)
    with tempfile.TemporaryDirectory(prefix="foreign-site-") as name:
        directory = Path(name)
        machine = Machine(directory / "machine", directory / "bytecode")
        try:
            site = directory / "site"
            site.mkdir()
            began = {p.page: f"====== {p.page} ======\n\nNothing yet.\n" for p in everyone}
            async with dokuwiki(site, [p.user for p in everyone], began) as wiki:
                records, steps, seconds = await _job(machine, wiki, everyone, vus, directory)
                wrongs = judge(wiki, everyone, records)
                version = wiki.version
            await machine.empty(10)
        finally:
            machine.clear()
    ok = [r for r in records if r["status"] == "ok"]
    return {
        "site": f"DokuWiki {version}",
        "sessions": sessions,
        "wrong_passwords": sessions - sum(p.right for p in everyone),
        "ok": len(ok),
        "failed": len(records) - len(ok),
        "seconds": round(seconds, 1),
        "session_ms": _spread([r["duration_ms"] for r in ok]),
        "steps_ms": _steps([r for r in steps if r["status"] == "ok"]),
        "wrong": wrongs,
    }


async def _job(
    machine: Machine, wiki: DokuWiki, everyone: list[Person], vus: int, directory: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
    """Run it by the command line, as a user would: the sessions as listed, their records (which have the
    steps too), and how long it took."""
    with (directory / "people.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(everyone[0].row))
        table.writeheader()
        table.writerows(p.row for p in everyone)
    document = {
        "name": "edit a wiki",
        "targets": [{"name": "wiki", "url": f"{wiki.url}/doku.php?id=start"}],
        "sessions": len(everyone),
        "load": {"executor": "shared-sessions", "vus": vus},
        "journey": JOURNEY,
        "data": {"name": "who", "file": "people.csv", "mode": "unique"},
        "retries": 0,
    }
    spec = directory / "wiki.yaml"
    spec.write_text(yaml.safe_dump(document, sort_keys=False))
    web, nats = free_ports(2)
    server = f"http://127.0.0.1:{web}"
    up = (
        "up",
        "--data-dir",
        str(directory / "data"),
        "--browser",
        "chromium",
        "--slots",
        str(vus),
        "--anonymous",
        "admin",
    )
    async with machine.running(*up, "--port", str(web), "--nats-port", str(nats)) as running:
        await running.said("TrafficBuster serves", 30)
        await eventually(lambda: offered(server), 60, what="a runner is online", interval=0.1)
        tb = ("--server", server)
        patience = 60 + PATIENCE * len(everyone)
        began = time.monotonic()
        done = await machine.tb(*tb, "jobs", "submit", str(spec), "--watch", "--json", within=patience)
        seconds = time.monotonic() - began
        if done.code not in (0, 1):
            raise SystemExit(f"the job did not run (exit code {done.code}):\n{done.err}")
        job = done.row["job"]
        many = ("--limit", str(len(everyone) + 1))
        records = (await machine.tb(*tb, "sessions", "list", job, *many, "--json")).rows
        steps, _ = await job_records(f"nats://127.0.0.1:{nats}", job)
        audit = await machine.tb(*tb, "jobs", "audit", job)
        if audit.code:
            raise SystemExit(f"the stored job does not agree with its records:\n{audit.out}")
        running.interrupt()
        if code := await running.ended(60):
            raise SystemExit(f"tb up ended with exit code {code}:\n{running.words}")
    return records, steps, seconds


def judge(wiki: DokuWiki, everyone: list[Person], records: list[dict[str, Any]]) -> list[str]:
    """What does not agree with the wiki's own files."""
    wrong = []
    by_session = {r["session"]: r for r in records}
    if sorted(by_session) != list(range(1, len(everyone) + 1)) or len(records) != len(everyone):
        wrong.append(f"not one record for each session: {sorted(r['session'] for r in records)}")
    for session, person in enumerate(everyone, 1):
        record = by_session.get(session, {})
        edits = wiki.edits(person.page)
        mine = [e for e in edits if (e.user, e.kind, e.summary) == (person.user.name, "E", person.summary)]
        error = (record.get("error") or {}).get("detail", "")
        if len(mine) != len(edits):
            wrong.append(f"{person.page} was changed by others too: {edits}")
        if person.right and record.get("status") != "ok":
            wrong.append(f"session {session} is {record.get('status')}: {error}")
        if not person.right and (record.get("status") != "failed" or f'"{LOG_IN}"' not in error):
            wrong.append(f"session {session} had a wrong password, and is {record.get('status')}: {error}")
        if record.get("status") == "ok":
            if len(mine) != 1:
                wrong.append(f"session {session} is ok, and its edit is there {len(mine)} times")
            elif (mine[0].text.strip(), wiki.text(person.page).strip()) != (person.text, person.text):
                wrong.append(f"{person.page} does not say what session {session} wrote: {mine[0].text!r}")
        elif not person.right and edits:
            wrong.append(f"session {session} could not log in, and {person.page} was edited")
    strange = set(wiki.pages(SPACE)) - {p.page for p in everyone}
    if strange:
        wrong.append(f"pages that no session had: {sorted(strange)}")
    return wrong


def _steps(records: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    times: dict[str, list[float]] = {}
    for record in records:
        for step in record.get("steps", []):
            times.setdefault(step["name"], []).append(step["ms"])
    return {name: _spread(values) for name, values in times.items()}


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 1),
    }


def table(result: dict[str, Any]) -> str:
    rows = [
        f"{result['site']}: {result['sessions']} sessions in {result['seconds']} s",
        f"  ok      {result['ok']:4}   each edit in the wiki's files exactly once",
        f"  failed  {result['failed']:4}   those with a wrong password; no edit of theirs",
        f"  {'':44}{'p50 ms':>10}{'p95 ms':>10}",
    ]
    for name, spread in {"a whole session": result["session_ms"], **result["steps_ms"]}.items():
        rows.append(f"  {name:44}{spread.get('p50', 0):10.1f}{spread.get('p95', 0):10.1f}")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--wrong", type=int, default=3, help="so many of them have a wrong password")
    parser.add_argument("--vus", type=int, default=4)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not 0 <= args.wrong <= args.sessions:
        parser.error("--wrong is more than --sessions")
    try:
        result = asyncio.run(campaign(args.sessions, args.wrong, args.vus))
    except CannotSetUp as e:
        sys.exit(f"the site cannot be set up: {e}")
    if not result["wrong"]:
        print(table(result))
    for line in result["wrong"]:
        print("WRONG", line)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2, ensure_ascii=False))
    if result["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
