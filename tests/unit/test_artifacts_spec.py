from __future__ import annotations

from typing import Any

import pytest

from broker_config.artifacts import ArtifactName
from broker_config.errors import SpecError
from broker_config.job_spec import read_spec
from broker_config.object_store import meta_subject, name_of


def spec(**artifacts: Any) -> dict[str, Any]:
    return {"targets": [{"url": "http://localhost/"}], "sessions": 1, "artifacts": artifacts}


@pytest.mark.parametrize(
    ("artifacts", "where", "words"),
    [
        ({"when": "always"}, "artifacts.keep", "name what to keep: screenshot, har, console, trace, video"),
        ({"keep": ["har", "har"]}, "artifacts.keep", "twice"),
        ({"keep": ["har"], "ttl": "31d"}, "artifacts.ttl", "use 1m to 30d"),
        ({"keep": ["har"], "ttl": 0}, "artifacts.ttl", "use 1m to 30d"),
        ({"keep": ["movie"]}, "artifacts.keep[0]", "movie"),
        ({"keep": ["har"], "sample": 2}, "artifacts.sample", "1"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(artifacts: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(SpecError) as e:
        read_spec(spec(**artifacts))
    (problem,) = e.value.problems
    assert problem.where == where
    assert words in problem.what


def test_nothing_is_kept_by_default() -> None:
    assert read_spec({k: v for k, v in spec().items() if k != "artifacts"}).artifacts.keep == []
    assert read_spec(spec(keep=["har"], when="sample", sample=0.5, ttl="2h")).artifacts.ttl == 7200


def test_names_in_the_store() -> None:
    name = ArtifactName("job-1", 17, 2, "failure.jpg")
    assert str(name) == "job-1/17.2/failure.jpg"
    assert ArtifactName.parse(str(name)) == name
    assert name_of(meta_subject("artifacts", str(name))) == str(name)
    assert ArtifactName("j", 2, 1, "a") < ArtifactName("j", 10, 1, "a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job/1.1",
        "job/1/a",
        "job/1.1/../a",
        "job/1.1/.a",
        "job/1.1/a b",
        "a.b/1.1/c",
        "job/1.1/a/b",
        "j/x.1/a",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="not the name of an artifact"):
        ArtifactName.parse(text)


def test_what_is_no_subject_of_an_object() -> None:
    assert name_of("$O.artifacts.M.###") is None
    assert name_of("$O.artifacts.M._w==") is None
