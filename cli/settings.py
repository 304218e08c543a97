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

Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The field `data_dir` is the flag `--data-dir`, the variable `TB_DATA_DIR`, the key `data_dir`.

    A list is a flag that may be repeated (`browsers`: `--browser`), and in its variable separated by commas.
    """

    #: Orchestrator that client commands talk to.
    server: str = "http://127.0.0.1:8700"
    #: Address of the broker, or several separated by commas.
    nats: str = "nats://127.0.0.1:4222"
    #: Where `tb up` keeps jobs and results, and a runner its unsent results. Empty: the platform's place.
    data_dir: str = ""
    #: Address that the orchestrator serves on.
    host: str = "127.0.0.1"
    #: Port that the orchestrator serves on; 0 takes a free one.
    port: Port = 8700
    #: Port of the embedded broker; 0 takes a free one.
    nats_port: Port = 4222
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
    #: How much is logged: debug, info, warning, error.
    log_level: str = "info"


FIELDS = {f.name: f for f in msgspec.structs.fields(Settings)}
_LISTS = frozenset({"browsers", "labels", "allowed_origins"})
_CHOICES: dict[str, tuple[Any, ...]] = {
    "log_level": ("debug", "info", "warning", "error"),
    "replicas": (1, 3),
    "cluster": (1, 3),
}


def default_file() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("trafficbuster")) / "config.toml"


def default_data_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("trafficbuster"))


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
            raise SettingsError(f"{source}: {value!r} is not allowed: {str(e).lower()}") from None
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
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"settings file {path} cannot be read: {e}") from None
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(f"settings file {path} is not TOML: {e}") from None
    for key in document:
        if key not in FIELDS:
            near = difflib.get_close_matches(key, FIELDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(FIELDS)}"
            raise SettingsError(f"settings file {path}: there is no setting {key!r}; {hint}")
    return {k: (v, f"settings file {path}: {k}") for k, v in document.items()}


def labels_of(settings: Settings) -> dict[str, str]:
    """`["zone=eu"]` as `{"zone": "eu"}`; `SettingsError` for a label without `=`."""
    out = {}
    for text in settings.labels:
        key, sep, value = text.partition("=")
        if not sep or not key:
            raise SettingsError(f"label {text!r} is not allowed; write key=value")
        out[key] = value
    return out
