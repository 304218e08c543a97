"""`tb login`, `tb users`, `tb tokens`, `tb projects`, and which credential a command shows to whom."""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path

from tests.support.ports import free_ports

from .machine import Machine, Result

PASSWORD = "correct horse battery"


async def test_people_of_a_machine(machine: Machine, tmp_path: Path) -> None:
    web, nats = free_ports(2)
    server, data = f"http://127.0.0.1:{web}", tmp_path / "data"
    file, secret_file = tmp_path / "password", tmp_path / "token"
    file.write_text(PASSWORD + "\n")

    async def tb(*arguments: str, code: int = 0, stdin: str = "", **environ: str) -> Result:
        done = await machine.tb("--server", server, *arguments, stdin=stdin, **environ)
        assert done.code == code, done.err + done.out
        assert "Traceback" not in done.err
        assert PASSWORD not in done.out + done.err
        return done

    ports = ("--port", str(web), "--nats-port", str(nats))
    async with machine.running("up", "--data-dir", str(data), *ports, "--no-runner") as up:
        await up.said("TrafficBuster serves")
        # The machine's own user needs nothing; another server of the machine does not get the credential.
        assert (await tb("jobs", "list")).code == 0
        assert stat.S_IMODE((data / "admin.token").stat().st_mode) == 0o600
        local = await machine.tb("--server", f"http://localhost:{web}", "jobs", "list")
        assert local.code == 0, local.err

        made = await tb("users", "add", "alice", "--role", "operator", "--password-file", str(file))
        assert "user alice is made: operator, operator in default" in made.err
        await tb("users", "add", "robot", "--project", "default=viewer")
        assert (await tb("users", "add", "alice", code=2)).err.startswith("tb: there is a user alice")
        listed = {u["name"]: u for u in (await tb("users", "list", "--json")).rows}
        assert listed["alice"]["projects"] == {"default": "operator"}
        assert listed["robot"]["login"] == []
        assert "alice" in (await tb("users", "list")).out

        await tb("projects", "add", "shop", "--jobs", "2", "--no-egress")
        await tb("projects", "member", "shop", "alice", "--role", "operator")
        changed = await tb("projects", "set", "shop", "--vus", "3", "--jobs", "none")
        assert "3 sessions at once, no proxies" in changed.err
        members = (await tb("projects", "list", "shop", "--json")).rows
        assert members == [{"user": "alice", "role": "operator"}]

        # Logged in, the kept login goes before the machine's own credential.
        wrong = await tb("login", "--user", "alice", "--password-file", "-", stdin="wrong password", code=2)
        assert "do not fit" in wrong.err
        await tb("login", "--user", "alice", "--password-file", str(file))
        kept = machine.root / "config" / "trafficbuster" / "logins.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert list(json.loads(kept.read_text())) == [server]
        assert "takes the role admin" in (await tb("users", "list", code=2)).err
        assert {p["name"] for p in (await tb("projects", "list", "--json")).rows} == {"default", "shop"}
        job = ("--url", "http://127.0.0.1:1/", "--sessions", "1", "--json")
        submitted = await tb("jobs", "submit", *job, "--project", "shop")
        assert submitted.row["job"]["submitted_by"] == "alice"
        over = await tb("jobs", "submit", *job, "--project", "shop", "--vus", "4", code=2)
        assert "this project's quota is 3" in over.err
        shown = (await tb("jobs", "list", "--project", "shop", "--json")).rows
        assert [r["id"] for r in shown] == [submitted.row["job"]["id"]]
        assert (await tb("jobs", "list", "--project", "default", "--json")).rows == []

        # A token of hers, less than she may; its secret is in a file.
        await tb(
            "tokens", "create", "ci", "--role", "viewer", "--project", "shop", "--expires", "1h",
            "--output", str(secret_file),
        )  # fmt: skip
        assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
        secret = secret_file.read_text().strip()
        (token,) = (await tb("tokens", "list", "--json")).rows
        assert (token["name"], token["role"], token["projects"]) == ("ci", "viewer", ["shop"])
        refused = await tb(
            "--token-file", str(secret_file), "jobs", "submit", *job, "--project", "shop", code=2
        )
        assert "operator" in refused.err
        assert secret not in refused.err
        assert len((await tb("jobs", "list", "--json", TB_TOKEN=secret)).rows) == 1
        assert len((await tb("jobs", "list", "--json", TB_TOKEN_FILE=str(secret_file))).rows) == 1
        await tb("tokens", "revoke", token["id"])
        gone = await tb("jobs", "list", TB_TOKEN=secret, code=2)
        assert "the token in TB_TOKEN" in gone.err
        assert secret not in gone.err

        # Her own password: all that she had ends, the kept login too.
        new = tmp_path / "new"
        new.write_text(PASSWORD + " 2")
        passwords = ("--password-file", str(new), "--current-file", str(file))
        await tb("users", "password", "alice", *passwords)
        ended = await tb("jobs", "list", code=2)
        assert "the login as alice" in ended.err
        await tb("logout")
        assert json.loads(kept.read_text()) == {}
        assert (await tb("users", "disable", "alice")).code == 0
        await tb("login", "--user", "alice", "--password-file", str(new), code=2)
        await tb("users", "remove", "alice")
        assert [u["name"] for u in (await tb("users", "list", "--json")).rows] == ["robot"]
        up.signal(signal.SIGTERM)
        assert await up.ended(15) == 0
    # Nobody is there any more: a program that takes the port next gets nothing.
    assert not list((machine.root / "state" / "trafficbuster" / "servers").glob("*.json"))
    await machine.empty()
