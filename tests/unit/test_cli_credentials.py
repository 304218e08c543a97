"""Which credential is shown to which server, and to which none is."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from broker_config.errors import SettingsError
from cli import credentials, kept_logins, running_servers
from cli.credentials import find, origin
from cli.kept_logins import KeptLogin

SERVER = "http://127.0.0.1:8765"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(running_servers, "state_dir", lambda: tmp_path / "state")
    monkeypatch.setattr(kept_logins, "default_file", lambda: tmp_path / "config" / "config.toml")
    return tmp_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin.token").write_text("the admin's\n")
    return tmp_path / "data"


def shown(server: str, **more: object) -> str:
    return find(server, environ={}, **more).secret  # type: ignore[arg-type]


def login(name: str = "ada", life: float = 60.0) -> KeptLogin:
    return KeptLogin(name=name, secret=f"{name}'s", expires_at=time.time() + life)


def test_what_the_call_names_goes_first(tmp_path: Path) -> None:
    kept_logins.keep(SERVER, login())
    flag, variable = tmp_path / "flag", tmp_path / "variable"
    flag.write_text("by flag\n".replace(" ", "-"))
    variable.write_text("by-variable")
    environ = {"TB_TOKEN_FILE": str(variable), "TB_TOKEN": "plain"}
    assert find(SERVER, token_file=str(flag), environ=environ).secret == "by-flag"
    assert find(SERVER, environ=environ).secret == "by-variable"
    assert find(SERVER, environ={"TB_TOKEN": "plain"}).secret == "plain"
    assert find(SERVER, environ={"TB_TOKEN": " "}).secret == "ada's"
    assert "plain" not in repr(find(SERVER, environ={"TB_TOKEN": "plain"}))


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "\N{SNOWMAN}"])
def test_a_token_file_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(SettingsError, match="does not hold a token"):
        find(SERVER, token_file=str(tmp_path / "token"), environ={})
    with pytest.raises(SettingsError, match="cannot be read"):
        find(SERVER, token_file=str(tmp_path / "none"), environ={})


@pytest.mark.parametrize(
    "other",
    [
        "http://127.0.0.1:8766",
        "https://127.0.0.1:8765",
        "http://127.0.0.2:8765",
        "http://127.0.0.1.example:8765",
        "http://127.0.0.1:8765@evil.example",
        "http://evil.example:8765",
        "ftp://127.0.0.1:8765",
        "nonsense",
    ],
)
def test_a_login_is_for_one_server(other: str) -> None:
    kept_logins.keep(SERVER, login())
    assert shown(SERVER) == shown(SERVER + "/") == "ada's"
    assert shown(other) == ""


def test_logins_are_kept_for_their_owner_alone_and_until_they_expire(home: Path) -> None:
    kept_logins.keep(SERVER, login())
    kept_logins.keep("https://tb.example:443", login("bob"))
    assert stat.S_IMODE(kept_logins.path().stat().st_mode) == 0o600
    assert shown("https://tb.example") == "bob's"
    kept_logins.keep(SERVER, login("old", life=-1))
    assert shown(SERVER) == ""
    kept_logins.forget("https://tb.example:443")
    assert shown("https://tb.example") == ""
    kept_logins.path().write_text("not json")
    with pytest.raises(SettingsError, match="log in again"):
        shown(SERVER)


def test_the_machines_own_goes_to_the_process_that_put_it_there(data: Path) -> None:
    assert shown(SERVER, data_dirs=[data]) == ""
    with running_servers.noted(SERVER, "127.0.0.1", data):
        assert shown(SERVER) == "the admin's"
        # A name may lead to another address of this machine: asked is where it listens.
        assert find("http://localhost:8765", environ={}) == credentials.Found(
            SERVER, "the admin's", f"the token in {data / 'admin.token'}"
        )
        for other in ("http://[::1]:8765", "http://127.0.0.2:8765", "http://10.0.0.1:8765", SERVER + "6"):
            assert shown(other) == "", other
        # It goes after a login.
        kept_logins.keep(SERVER, login())
        assert shown(SERVER) == "ada's"
        kept_logins.forget(SERVER)
        # From another home it is found by the data directory.
        (running_servers.state_dir() / "servers" / "8765.json").unlink()
        assert shown(SERVER) == ""
        assert shown(SERVER, data_dirs=[data]) == "the admin's"
    assert shown(SERVER, data_dirs=[data]) == ""


def test_a_process_that_is_gone_leaves_nothing_to_take(data: Path, home: Path) -> None:
    with running_servers.noted(SERVER, "0.0.0.0", data):
        file = home / "state" / "servers" / "8765.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        left = msgspec.json.decode(file.read_bytes(), type=running_servers.RunningServer)
    assert not file.exists()
    # Killed, it leaves its note; its number may be somebody else's now.
    for change in ({"pid": _free_pid()}, {"pid": os.getpid(), "started": left.started - 60}):
        file.write_bytes(msgspec.json.encode(msgspec.structs.replace(left, **change)))
        assert shown(SERVER) == ""
    file.write_bytes(msgspec.json.encode(left))
    assert shown(SERVER) == "the admin's"
    file.write_text("{")
    assert shown(SERVER) == ""


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("https://TB.example", "https://tb.example:443"),
        ("http://tb.example/x", "http://tb.example:80"),
        ("http://[::1]:1/", "http://[::1]:1"),
    ],
)
def test_origins(server: str, expected: str) -> None:
    assert origin(server) == expected


def _free_pid() -> int:
    return next(n for n in range(2, 1 << 22) if not psutil.pid_exists(n))
