"""Job specs from files and flags."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from broker_config.errors import SpecError
from broker_config.job_spec import read_spec
from cli.spec_file import merged, read

SAME = {
    "job.yaml": "targets:\n  - url: http://127.0.0.1/\nsessions: 3\n",
    "job.json": '{"targets": [{"url": "http://127.0.0.1/"}], "sessions": 3}',
    "job.toml": 'sessions = 3\n[[targets]]\nurl = "http://127.0.0.1/"\n',
}


@pytest.mark.parametrize("name", SAME)
def test_all_kinds_say_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SAME[name])
    assert read(str(tmp_path / name)) == {"targets": [{"url": "http://127.0.0.1/"}], "sessions": 3}


@pytest.mark.parametrize("name", ["job.yaml", "job.json"])
def test_standard_input_takes_yaml_and_json(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SAME[name]))
    assert read("-")["sessions"] == 3


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("job.yaml", "targets:\n  - url: [\n", "line 3, column 1"),
        ("job.yaml", "a: !!python/object/apply:os.getcwd []", "line 1, column 4"),
        ("job.yaml", "", "it is empty; a job is an object"),
        ("job.json", "\n", "it is empty; a job is an object"),
        ("job.toml", "", "it is empty; a job is an object"),
        ("job.yaml", "- 1\n", "it holds no job"),
        ("job.json", '{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("job.toml", "a = \n", "line 1, column 5"),
        ("job.xml", "<job/>", ".xml is no known kind"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_place(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SpecError) as error:
        read(str(path))
    assert words in str(error.value)
    assert str(error.value).startswith(str(path))


def test_a_missing_or_binary_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read(str(tmp_path / "none.yaml"))
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        read(str(tmp_path / "b.yaml"))


def test_flags_alone_make_a_whole_job() -> None:
    flags = {
        "url": ["http://127.0.0.1/a", "http://127.0.0.1/b"],
        "sessions": 10,
        "vus": 2,
        "platform": ["linux-firefox"],
        "name": "n",
        "dwell": "1s-3s",
        "threshold": ["error_rate < 1%"],
        "priority": 0,
        "seed": 0,
        "pool": "p",
    }
    spec = read_spec(merged({}, flags))
    assert [t.url for t in spec.targets] == flags["url"]
    assert (spec.sessions, spec.load.vus, spec.platforms, spec.name) == (10, 2, ["linux-firefox"], "n")
    assert (spec.thresholds, spec.priority, spec.seed, spec.pool) == (["error_rate < 1%"], 0, 0, "p")
    assert str(spec.behaviour.resolved().dwell) == "1s-3s"


def test_flags_win_over_the_file_and_leave_it_as_it_is() -> None:
    document = {"sessions": 1, "thresholds": ["error_rate < 1%"], "load": {"max_duration": "5m"}}
    got = merged(document, {"sessions": 2, "vus": 3, "threshold": ["load.p95 < 2s"], "url": None})
    assert got["sessions"] == 2
    assert got["thresholds"] == ["error_rate < 1%", "load.p95 < 2s"]
    assert got["load"] == {"max_duration": "5m", "vus": 3}
    assert document == {"sessions": 1, "thresholds": ["error_rate < 1%"], "load": {"max_duration": "5m"}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("job.json", "[" * 100_000),
        ("job.json", '{"sessions": ' + "9" * 5_000 + "}"),
        ("job.json", "\ufeff{}"),
        ("job.toml", "a = " + "[" * 5_000),
        ("job.toml", "sessions = " + "9" * 5_000),
        ("job.yaml", "[" * 5_000),
        ("job.yaml", "sessions: " + "9" * 5_000),
        ("job.yaml", "? [a]\n: {b: c}"),
    ],
)
def test_odd_documents_are_refused_in_words(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(SpecError):
        read(str(tmp_path / name))


def test_a_name_that_no_file_can_have_is_refused_in_words() -> None:
    with pytest.raises(SpecError, match="cannot be the name of a file"):
        read("job\0.yaml")


@pytest.mark.parametrize(
    ("document", "flags", "where"),
    [
        ({"load": [1]}, {"vus": 2}, "load"),
        ({"thresholds": 5}, {"threshold": ["error_rate < 1%"]}, "thresholds"),
        ({"behaviour": "reader"}, {"dwell": "2s"}, "behaviour"),
    ],
)
def test_flags_on_a_part_of_another_shape(document: dict, flags: dict, where: str) -> None:
    with pytest.raises(SpecError, match=f"{where}: .* is not a"):
        merged(document, flags)
