"""What a kill covers: by scope, and by what was known when something was let in."""

from __future__ import annotations

import msgspec
import pytest

from broker_config.errors import NameRefused
from broker_config.kill import Kill, kill_id
from broker_config.messages import Dispatch
from orchestrator.core.kill import Kills, refusal
from runner.core.killed import REMEMBERED, Killed

JOB = Kill(scope="job", job="j1", project="shop", by="ada", reason="wrong site", revision=5)
PROJECT = Kill(scope="project", project="shop", by="ada", revision=6)
FLEET = Kill(scope="fleet", revision=7)


def _dispatch(job: str = "j1", project: str = "shop", kills: int = 0) -> Dispatch:
    return Dispatch(
        job=job, session=1, platform="p", target="t", url="http://a.example/", project=project, kills=kills
    )


@pytest.mark.parametrize(
    ("kill", "job", "project", "covered"),
    [
        (JOB, "j1", "shop", True),
        (JOB, "j2", "shop", False),
        (PROJECT, "j2", "shop", True),
        (PROJECT, "j2", "default", False),
        (FLEET, "j2", "default", True),
    ],
)
def test_a_kill_covers_its_scope(kill: Kill, job: str, project: str, covered: bool) -> None:
    assert kill.covers(job, project, 0) is covered
    assert (Kills([kill]).of(job, project) is not None) is covered
    killed = Killed()
    killed.put([kill])
    assert (killed.of(_dispatch(job, project)) is not None) is covered


@pytest.mark.parametrize("kill", [JOB, PROJECT, FLEET])
def test_a_kill_does_not_cover_what_was_let_in_by_one_who_knew_of_it(kill: Kill) -> None:
    assert kill.covers("j1", "shop", kill.revision - 1)
    assert not kill.covers("j1", "shop", kill.revision)
    killed = Killed()
    killed.put([kill])
    assert killed.of(_dispatch(kills=kill.revision - 1)) == kill
    assert killed.of(_dispatch(kills=kill.revision)) is None


def test_a_later_kill_takes_the_place_of_an_earlier_one_and_never_the_other_way() -> None:
    later = msgspec.structs.replace(FLEET, revision=11)
    killed = Killed()
    killed.put([later, FLEET])
    assert killed.of(_dispatch(kills=10)) == later


def test_only_so_many_killed_jobs_are_remembered_and_wide_kills_always() -> None:
    killed = Killed()
    killed.put([PROJECT])
    killed.put([Kill(scope="job", job=f"k{n}", revision=n) for n in range(1, REMEMBERED + 2)])
    assert killed.of(_dispatch("k1", "default")) is None
    assert killed.of(_dispatch("k2", "default")) is not None
    assert killed.of(_dispatch("k1", "shop")) == PROJECT


def test_the_widest_comes_first() -> None:
    kills = Kills([JOB, FLEET, PROJECT])
    assert kills.all() == [FLEET, PROJECT, JOB]
    assert kills.of("j1", "shop") == FLEET
    assert kills.lift("fleet") == FLEET
    assert kills.of("j1", "shop") == PROJECT
    assert kills.lift("fleet") is None


def test_words() -> None:
    assert JOB.words == "killed by ada: wrong site"
    assert FLEET.words == "killed"
    assert refusal(JOB, "be retried") == (
        "nothing of job j1 can be retried: it was killed by ada: wrong site; lift that first: "
        "tb kill --lift --job j1"
    )
    assert "the project shop" in refusal(PROJECT, "be submitted")
    assert "--lift --fleet" in refusal(FLEET, "be submitted")


def test_ids_are_tokens() -> None:
    assert [k.id for k in (JOB, PROJECT, FLEET)] == ["job-j1", "project-shop", "fleet"]
    with pytest.raises(NameRefused):
        kill_id("project", "a.b")
