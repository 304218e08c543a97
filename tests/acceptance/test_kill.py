"""`tb kill`: all traffic of a job, a project or the fleet stops within 2 s, as the site itself sees it.

Real orchestrators and a real runner as processes, whose sessions keep requests, slow answers, streams,
downloads, uploads, WebSockets and tunnels going through the real gate, and try again what is cut.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import TrafficBusterError
from cli import kills
from cli.client import Client
from tests.support.kill_scene import KillScene, kill_scene, orchestrator

WITHIN = 2.0


async def _aborted(scene: KillScene, job: str, sessions: int, reason: str) -> None:
    done = await scene.other.finished(job)
    counts = done["counts"]
    assert (done["verdict"], done["reason"], done["ended_by"]) == ("aborted", reason, "kill")
    assert (counts["planned"], counts["cancelled"]) == (sessions, sessions), counts
    audit = (await scene.other.http.get(f"/jobs/{job}/audit")).json()
    assert audit["agrees"], audit["findings"]


async def _make_project(scene: KillScene, name: str) -> None:
    (await scene.other.http.post("/projects", json={"name": name})).raise_for_status()


async def test_what_is_killed_is_silent_at_the_site(own_broker: EmbeddedServer, tmp_path: Path) -> None:
    async with kill_scene(own_broker.url, tmp_path, stubborn=1.5) as scene:
        await _make_project(scene, "shop")
        await _a_job_is_killed_and_others_go_on(scene)
        await _a_project_is_killed_and_takes_no_new_work_until_that_is_lifted(scene)
        await _the_fleet_is_killed_even_where_the_conductor_dies_with_the_command(scene)


async def _a_job_is_killed_and_others_go_on(scene: KillScene) -> None:
    job = await scene.other.submit(scene.site.url("a"), 2)
    await scene.other.submit(scene.site.url("b"), 1)
    await scene.busy("a", 2)
    await scene.busy("b", 1)
    began = await scene.other.kill(job=job, reason="wrong site")
    # Longer than its sessions go on trying.
    last = await scene.silent("a", quiet=2.0)
    assert last - began < WITHIN
    assert scene.site.last["b"] > last + 1.5
    await _aborted(scene, job, 2, "killed by anonymous: wrong site")


async def _a_project_is_killed_and_takes_no_new_work_until_that_is_lifted(scene: KillScene) -> None:
    job = await scene.other.submit(scene.site.url("c"), 3, project="shop")
    await scene.busy("c", 3)
    began = await scene.other.kill(project="shop")
    assert await scene.silent("c", quiet=2.0) - began < WITHIN
    assert scene.site.last["b"] > scene.site.last["c"] + 1.5
    await _aborted(scene, job, 3, "killed by anonymous")
    refused = await scene.conducts.http.post(
        "/jobs",
        json={"targets": [{"url": scene.site.url("d")}], "sessions": 1},
        params={"project": "shop"},
    )
    assert refused.status_code == 409
    assert "tb kill --lift --project shop" in refused.json()["detail"]
    assert (await scene.other.http.get("/kills")).json()["items"][0]["id"] == "project-shop"
    assert (await scene.other.http.delete("/kills/project-shop")).status_code == 200


async def _the_fleet_is_killed_even_where_the_conductor_dies_with_the_command(scene: KillScene) -> None:
    jobs = [
        await scene.conducts.submit(scene.site.url("d"), 2, project="shop"),
        await scene.other.submit(scene.site.url("e"), 2),
    ]
    for name in ("d", "e"):
        await scene.busy(name, 2)
    assert await scene.other.conductor() == scene.conducts.name
    began = await scene.conducts.kill(fleet=True, reason="fire")
    scene.conducts.process.kill()
    for name in ("b", "d", "e"):
        assert await scene.silent(name, quiet=2.0) - began < WITHIN
    for job in jobs:
        await _aborted(scene, job, 2, "killed by anonymous: fire")
    refused = await scene.other.http.post(
        "/jobs", json={"targets": [{"url": scene.site.url("f")}], "sessions": 1}
    )
    assert refused.status_code == 409
    assert "the fleet" in refused.json()["detail"]
    assert "tb kill --lift --fleet" in refused.json()["detail"]
    assert (await scene.other.http.delete("/kills/fleet")).status_code == 200
    await scene.other.submit(scene.site.url("f"), 1)
    await scene.busy("f", 1)


async def test_the_command_line(
    own_broker: EmbeddedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with orchestrator(own_broker.url, tmp_path, "one") as one:
        server = str(one.http.base_url).split("/api")[0]

        def client() -> Client:
            return Client(server)

        await kills.show_list(client(), json=False)
        assert capsys.readouterr() == ("", "nothing is killed\n")
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.tb", "--server", server),
            *("kill", "--fleet", "--reason", "a drill [bold]"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await child.communicate()
        assert (child.returncode, said) == (0, b"the fleet is killed; tb kill --lift --fleet lifts that\n")
        await kills.show_list(client(), json=False)
        listed = capsys.readouterr().out
        assert "the fleet" in listed
        assert "a drill [bold]" in listed
        await kills.lift(client(), job="", project="", json=True)
        assert json.loads(capsys.readouterr().out)["id"] == "fleet"
        with pytest.raises(TrafficBusterError, match="there is no kill 'fleet'; `tb kill --list`"):
            await kills.lift(client(), job="", project="", json=False)
        for job, project, words in (("j1", "", "there is no job j1"), ("", "nobody", "there is no project")):
            with pytest.raises(TrafficBusterError, match=words):
                await kills.kill(client(), job=job, project=project, fleet=False, reason="", json=False)
        for order in ({}, {"job": "j", "fleet": True}, {"job": "j", "project": "p"}):
            answer = await one.http.post("/kills", json=order)
            assert (answer.status_code, "one of them" in answer.text) == (422, True)
