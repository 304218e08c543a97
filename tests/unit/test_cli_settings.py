"""Settings: the order of their sources, errors in words, and a list in the docs that is true."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from typer.main import get_command

from broker_config.errors import SettingsError
from cli import settings, tb, tb_runner
from cli.settings import FIELDS, Settings, flag_of, labels_of, load, opening_of

ROOT = Path(__file__).parents[2]


def in_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    file = in_file(tmp_path, 'port = 1\nslots = 1\nhost = "file"\nlabels = ["from=file"]\n')
    environ = {"TB_SLOTS": "2", "TB_HOST": "environment", "TB_LABELS": "a=1, b=2", "TB_GRACE": ""}
    got = load({"host": "flag", "slots": None, "labels": []}, environ, file)
    assert (got.port, got.slots, got.host, got.labels) == (1, 2, "flag", ["a=1", "b=2"])
    assert got.grace == Settings().grace


def test_the_file_may_be_named_by_the_environment_and_must_then_exist(tmp_path: Path) -> None:
    file = in_file(tmp_path, "port = 7\n")
    assert load({}, {"TB_CONFIG": str(file)}).port == 7
    with pytest.raises(SettingsError, match=r"gone\.toml does not exist"):
        load({}, {"TB_CONFIG": str(tmp_path / "gone.toml")})


def test_the_platforms_own_file_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "default_file", lambda: tmp_path / "none.toml")
    assert load({}, {}) == Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "there is no setting 'prot'; did you mean port?"),
        ("zzz = 1", "there is no setting 'zzz'; allowed: server, "),
        ("port = 'many'", "port: 'many' is not allowed"),
        ("port = 70000", "port: 70000 is not allowed"),
        ("port = [", "is not TOML"),
        ("labels = 'a=b'", "labels: 'a=b' is not allowed"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    file = in_file(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        load({}, {}, file)
    assert words in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TB_PORT", "-1"),
        ("TB_PORT", "8700x"),
        ("TB_SLOTS", "1001"),
        ("TB_GRACE", "-1"),
        ("TB_GRACE", "nan"),
        ("TB_LOG_LEVEL", "loud"),
        ("TB_REPLICAS", "2"),
        ("TB_CLUSTER", "2"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: '?{re.escape(value)}'? is not allowed"):
        load({}, {name: value}, in_file(tmp_path, ""))


def test_a_bad_flag_is_named_as_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--nats-port: 70000 is not allowed"):
        load({"nats_port": 70000}, {}, in_file(tmp_path, ""))
    assert flag_of("labels") == "--label"


def test_labels() -> None:
    assert labels_of(Settings(labels=["zone=eu", "url=a=b"])) == {"zone": "eu", "url": "a=b"}
    with pytest.raises(SettingsError, match="key=value"):
        labels_of(Settings(labels=["zone"]))


def commands_with_flags() -> dict[str, set[str]]:
    """Each flag with the commands that have it; `tb` and `tb-runner start` as they are written."""
    out: dict[str, set[str]] = {}

    def walk(command: object, path: str) -> None:
        for parameter in getattr(command, "params", []):
            for flag in parameter.opts:
                out.setdefault(flag, set()).add(path)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}")

    walk(get_command(tb.app), "tb")
    walk(get_command(tb_runner.app), "tb-runner")
    return out


#: Their flags of these names are their own, not settings.
OTHERS = {"tb jobs submit", "tb jobs plan", "tb demo-shop"}


def test_the_documented_list_is_what_the_code_has() -> None:
    source = Path(settings.__file__).read_text()
    words = dict(reversed(m) for m in re.findall(r"    #: (.+)\n    (\w+):", source))
    flags = commands_with_flags()
    default = Settings()
    expected = []
    for name in FIELDS:
        value = getattr(default, name)
        shown = "none" if value == [] else "empty" if value == "" else f"`{value}`"
        flag = flag_of(name)
        commands = ", ".join(f"`{c}`" for c in sorted(flags.get(flag, set()) - OTHERS))
        expected.append(
            f"| `{name}` | {f'`{flag}`' if commands else '–'} | `TB_{name.upper()}` | {shown} "
            f"| {commands or '–'} | {words[name]} |"
        )
    page = (ROOT / "docs" / "settings.md").read_text()
    listed = [line for line in page.splitlines() if re.match(r"\| `[a-z_]+` \| (`--|–)", line)]
    assert listed == expected, "\n".join(expected)


def test_bounds_of_rate_reach_the_orchestrator() -> None:
    kinds = ("api", "submit", "socket", "login")
    found = opening_of(load({}, {f"TB_{kind.upper()}_LIMIT": "0" for kind in kinds}))
    assert [found[f"{kind}_limit"] for kind in kinds] == [0, 0, 0, 0]
    with pytest.raises(SettingsError, match="TB_API_LIMIT"):
        load({}, {"TB_API_LIMIT": "-1"})


def test_every_field_is_explained_and_msgspec_can_read_it() -> None:
    assert msgspec.convert(msgspec.to_builtins(Settings()), Settings) == Settings()
