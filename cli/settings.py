"""Settings of all commands: from flags, from `TB_…` in the environment, from a TOML file, in that order.

`docs/settings.md` lists them; a test holds that list against this class.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from broker_config.errors import SettingsError
from broker_config.expectation import in_words

Count = Annotated[int, Meta(ge=0)]
Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The field `data_dir` is the flag `--data-dir`, the variable `TB_DATA_DIR`, the key `data_dir`.

    A list is a flag that may be repeated (`browsers`: `--browser`), and in its variable separated by commas.
    """

    #: Orchestrator that client commands talk to.
    server: str = "http://127.0.0.1:8700"
    #: Address of the broker, or several separated by commas.
    nats: str = "nats://127.0.0.1:4222"
    #: Where jobs, `admin.token` and a runner's unsent results are kept. Empty: the platform's place.
    data_dir: str = ""
    #: Address that the orchestrator serves on.
    host: str = "127.0.0.1"
    #: Port that the orchestrator serves on; 0 takes a free one.
    port: Port = 8700
    #: Port of the broker; `tb up` takes a free one for 0.
    nats_port: Port = 4222
    #: Address of the embedded broker. Reached from elsewhere it wants TLS, and a credential of everybody.
    nats_host: str = "127.0.0.1"
    #: The broker lets nobody in without a credential: runners join by invite.
    secure: bool = False
    #: PEM file of the certificates by which the broker is known, where the system's are not enough.
    nats_ca: str = ""
    #: Addresses of the broker that runners are told when they join, where they are not those of `nats`.
    runner_brokers: list[str] = []
    #: Nodes of the embedded broker: 1, or 3 for a cluster on this machine, for trial.
    cluster: int = 1
    #: Name of this orchestrator or runner; made up when empty.
    name: str = ""
    #: Sessions that a runner has at once; 0 takes what cores and memory bear.
    slots: Annotated[int, Meta(ge=0, le=1000)] = 0
    #: Only sessions of this pool.
    pool: str = ""
    #: A runner runs scripts of users, with the rights of its process.
    allow_scripts: bool = False
    #: Browsers that a runner offers, such as chromium or firefox=/path; empty: all that are found.
    browsers: list[str] = []
    #: Words about a runner, as `key=value`.
    labels: list[str] = []
    #: Seconds that running sessions may take when a runner is told to end.
    grace: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    #: Copies of each stream: 1, or 3 on a cluster.
    replicas: int = 1
    #: Origins that jobs may go to beside loopback; `*` allows all.
    allowed_origins: list[str] = []
    #: Whom to ask about the traffic, such as https://example.com/traffic or mailto:traffic@example.com.
    contact: str = ""
    #: What those may do who bring no credential: viewer; on loopback operator or admin too; empty is nothing.
    anonymous: str = ""
    #: Origins by which browsers reach the orchestrator, such as https://tb.example.
    public_origins: list[str] = []
    #: PEM file of the certificate by which the orchestrator serves https, and a broker TLS.
    tls_cert: str = ""
    #: PEM file of its key, which only its owner can read.
    tls_key: str = ""
    #: Requests to the API that each may make a minute; 0 is no bound.
    api_limit: Count = 6000
    #: Jobs that each may submit a minute; 0 is no bound.
    submit_limit: Count = 240
    #: WebSockets that may be opened a minute from one address; 0 is no bound.
    socket_limit: Count = 600
    #: Attempts to log in a minute, by name and by address, before one has to wait; 0 is no bound.
    login_limit: Count = 5
    #: Other machines are served, and joined at, without TLS.
    insecure: bool = False
    #: Address of an OpenID provider by which browsers may log in, as it stands in its tokens.
    oidc_issuer: str = ""
    #: What that provider calls this server.
    oidc_client_id: str = ""
    #: File of the secret that the provider has given this server.
    oidc_secret_file: str = ""
    #: The claim that names a user who comes for the first time.
    oidc_name_claim: str = "preferred_username"
    #: The claim that says who has which role; empty: admins say it here.
    oidc_role_claim: str = ""
    #: Roles by value of that claim, as `value=role`; who has none of them is not let in.
    oidc_roles: list[str] = []
    #: PEM file of the authorities that client commands trust, where the system's are not those of `server`.
    ca_file: str = ""
    #: Directory of the keys that sign sessions and seal secrets. `tb up` has its own in the data directory.
    keys: str = ""
    #: How much is logged: debug, info, warning, error.
    log_level: str = "info"


FIELDS = {f.name: f for f in msgspec.structs.fields(Settings)}
_LISTS = frozenset(
    {"browsers", "labels", "allowed_origins", "public_origins", "oidc_roles", "runner_brokers"}
)
_CHOICES: dict[str, tuple[Any, ...]] = {
    "log_level": ("debug", "info", "warning", "error"),
    "anonymous": ("", "viewer", "operator", "admin"),
    "replicas": (1, 3),
    "cluster": (1, 3),
}


def default_file() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("trafficbuster")) / "config.toml"


def default_data_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("trafficbuster"))


def data_dir_of(settings: Settings) -> Path:
    return Path(settings.data_dir) if settings.data_dir else default_data_dir()


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ, file: Path | None = None
) -> Settings:
    """The settings in force. Flags that are None or an empty list, and empty variables, were not given.

    Raises `SettingsError`, in words.

    `file` must exist where it is named (also by `TB_CONFIG`); the platform's own may be missing.
    """
    named = file or (Path(environ["TB_CONFIG"]) if environ.get("TB_CONFIG") else None)
    values: dict[str, Any] = {}
    _merge(values, _read(named or default_file(), must=named is not None))
    for name in FIELDS:
        variable = f"TB_{name.upper()}"
        if text := environ.get(variable):
            split = [p.strip() for p in text.split(",") if p.strip()] if name in _LISTS else text
            _merge(values, {name: (split, variable)})
    _merge(values, {k: (v, flag_of(k)) for k, v in flags.items() if v is not None and v != []})
    return msgspec.convert(values, Settings)


def flag_of(name: str) -> str:
    """`--data-dir` for `data_dir`, `--label` for `labels`."""
    return "--" + (name.removesuffix("s") if name in _LISTS else name).replace("_", "-")


def _merge(values: dict[str, Any], new: Mapping[str, tuple[Any, str]]) -> None:
    """Check each value at its source, so that the message can name it."""
    for name, (value, source) in new.items():
        kind = FIELDS[name].type
        try:
            values[name] = msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as e:
            raise SettingsError(f"{source}: {value!r} is not allowed: {in_words(str(e))}") from None
        choices = _CHOICES.get(name)
        if choices and values[name] not in choices:
            allowed = ", ".join(map(str, choices))
            raise SettingsError(f"{source}: {value!r} is not allowed; use one of {allowed}")


def _read(path: Path, *, must: bool) -> dict[str, tuple[Any, str]]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if must:
            raise SettingsError(f"settings file {path} does not exist") from None
        return {}
    except OSError as e:
        raise SettingsError(f"settings file {path} cannot be read: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"settings file {path} is not UTF-8 text; it has to be TOML") from None
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(f"settings file {path} is not TOML: {e}") from None
    for key in document:
        if key not in FIELDS:
            near = difflib.get_close_matches(key, FIELDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(FIELDS)}"
            raise SettingsError(f"settings file {path}: there is no setting {key!r}; {hint}")
    return {k: (v, f"settings file {path}: {k}") for k, v in document.items()}


def opening_of(settings: Settings) -> dict[str, Any]:
    """To whom the orchestrator is open, as fields of its own settings."""
    return {
        "host": settings.host,
        "port": settings.port,
        "anonymous": settings.anonymous or None,
        "public_origins": settings.public_origins,
        "tls_cert": settings.tls_cert,
        "tls_key": settings.tls_key,
        "insecure": settings.insecure,
        "api_limit": settings.api_limit,
        "submit_limit": settings.submit_limit,
        "socket_limit": settings.socket_limit,
        "login_limit": settings.login_limit,
        "contact": settings.contact,
    }


def labels_of(settings: Settings) -> dict[str, str]:
    """`["zone=eu"]` as `{"zone": "eu"}`; `SettingsError` for a label without `=`."""
    out = {}
    for text in settings.labels:
        key, sep, value = text.partition("=")
        if not sep or not key:
            raise SettingsError(f"label {text!r} is not allowed; write key=value")
        out[key] = value
    return out
