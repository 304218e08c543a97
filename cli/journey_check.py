"""`tb journeys check`: one session of a job, a journey or a script, here and now, step by step."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from broker_config.artifacts import Artifacts
from broker_config.errors import Problem, SpecError
from broker_config.grant import Grant, SignedGrant
from broker_config.job_spec import JobSpec, read_spec
from broker_config.messages import Dispatch
from broker_config.origin import Origin
from broker_config.platform import this_system
from broker_config.script import read_source
from broker_config.side_file import side_file
from orchestrator.core import admission
from orchestrator.core.plan import Plan
from runner.browser.executor import BrowserExecutor
from runner.browser.found import parse_wanted
from runner.core.outcome import Outcome

from . import spec_file
from .check_secrets import with_secrets
from .exit_codes import ExitCode
from .job_document import with_files
from .output import err, json_line, out
from .settings import Settings


async def check(
    settings: Settings,
    file: str,
    *,
    url: str | None = None,
    session: int = 1,
    pictures: Path = Path(),
    secrets: Path | None = None,
    json: bool = False,
) -> ExitCode:
    """Run that session in a browser of this machine: code 0 if it ended ok, 1 if not, 4 where that was not
    the site's or the journey's doing. `pictures` is the folder for what it looked like, `secrets` a JSON file
    with the values of those that it names.

    Raises `SpecError` for what cannot be run, and `BrowserError`.
    """
    spec = _read(file, url)
    if problems := admission.problems(spec, settings.allowed_origins):
        raise SpecError(problems, file)
    dispatch = with_secrets(_dispatch(spec, file, session), secrets)
    wanted = _wanted(dispatch, settings.browsers)
    here = f"{this_system()}-{parse_wanted(wanted).browser}"
    if here != dispatch.platform:
        _remark(f"asked for {dispatch.platform}; checked with {here}")
    dispatch = msgspec.structs.replace(dispatch, platform=here)
    executor = BrowserExecutor([wanted], say=_remark)
    began = time.monotonic()

    def say(event: str, text: str) -> None:
        mark = " " if event == "step" else "·"
        err().print(f"{time.monotonic() - began:7.2f} s {mark} {text}", markup=False, soft_wrap=True)

    try:
        await executor.start()
        began = time.monotonic()
        outcome = await executor.run(dispatch, say)
        saved = _save(outcome, pictures, Path(file).stem if file != "-" else "journey")
    finally:
        await executor.close()
    return _tell(outcome, saved, json=json)


def _read(file: str, url: str | None) -> JobSpec:
    if Path(file).suffix == ".py":
        source = read_source(side_file(file, Path(), "FILE", beside=""))
        if "sync_playwright" in source:
            hint = f"tb journeys import {file} makes a journey of it"
            raise SpecError([Problem("", f"it is a program of its own; {hint}")], file)
        document: dict[str, Any] = {"script": {"file": Path(file).name, "source": source}}
    else:
        document = spec_file.read(file)
        if "steps" in document:
            document = {"journey": document}
        document = with_files(document, file)
    if url is not None:
        document["targets"] = [{"url": url}]
    if not document.get("targets"):
        raise SpecError([Problem("", "it names no page; say which by --url")], file)
    if "sessions" not in document and "load" not in document and not _counted(document["targets"]):
        document["sessions"] = 1
    return read_spec(document, file)


def _counted(targets: Any) -> bool:
    return isinstance(targets, list) and all(isinstance(t, dict) and "sessions" in t for t in targets)


def _dispatch(spec: JobSpec, file: str, session: int) -> Dispatch:
    plan = Plan("check", spec)
    if not 1 <= session <= plan.size:
        raise SpecError([Problem("--session", f"there is no session {session} of {plan.size}")], file)
    dispatch = plan.dispatch(session)
    if dispatch.egress is not None and not dispatch.egress.is_direct:
        raise SpecError(
            [
                Problem(
                    "egress",
                    "its sessions leave by proxies, which only runners have, and a check never goes "
                    "directly instead; submit it with one session",
                )
            ],
            file,
        )
    keep = Artifacts(keep=["screenshot"], when="always", mask=spec.artifacts.mask)
    return msgspec.structs.replace(dispatch, start_at=None, artifacts=keep, grant=_own_grant(dispatch))


def _own_grant(dispatch: Dispatch) -> SignedGrant:
    """Who checks on their own machine has allowed its origins beforehand, wherever they lead."""
    origins = [Origin.of(url) for url in (dispatch.url, *dispatch.origins)]
    grant = Grant(
        job=dispatch.job,
        project=dispatch.project,
        origins=[str(o) for o in origins],
        private_hosts=[o.host for o in origins],
        third_party=dispatch.third_party,
        expires_at=time.time() + 2 * 86_400,
    )
    return SignedGrant.plain(grant)


def _wanted(dispatch: Dispatch, given: Sequence[str]) -> str:
    """The browser to take: the session's own, by the path that is given for it, or else the first given."""
    own = dispatch.platform.partition("-")[2]
    return next((g for g in given if parse_wanted(g).browser == own), given[0] if given else own)


def _save(outcome: Outcome, folder: Path, stem: str) -> list[Path]:
    """Pictures that its steps took, and that of its failure, as files of the user's own."""
    saved = []
    for artifact in outcome.artifacts:
        if artifact.name != "end.jpg":
            folder.mkdir(parents=True, exist_ok=True)
            saved.append(Path(shutil.copyfile(artifact.path, folder / f"{stem}-{artifact.name}")))
    for parent in {a.path.parent for a in outcome.artifacts}:
        shutil.rmtree(parent, ignore_errors=True)
    return saved


def _tell(outcome: Outcome, saved: list[Path], *, json: bool) -> ExitCode:
    error = outcome.error
    if json:
        json_line(
            {
                "status": outcome.status,
                "duration_ms": outcome.duration_ms,
                "error": error,
                "steps": outcome.steps,
                "measures": outcome.measures,
                "pages": outcome.pages,
                "refused": outcome.refused,
                "pictures": [str(p) for p in saved],
            }
        )
    else:
        missed = sum(not s.ok for s in outcome.steps)
        steps = f", {len(outcome.steps)} steps" if outcome.steps else ""
        steps += f" ({missed} of them failed)" if missed else ""
        said = f"ok in {outcome.duration_ms / 1000:.1f} s{steps}"
        if error is not None:
            said = f"failed after {outcome.duration_ms / 1000:.1f} s{steps}: {error.kind}: {error.detail}"
        out().print(said, markup=False, soft_wrap=True)
        for origin, times in outcome.refused.items():
            out().print(f"refused: {origin} ({times})", markup=False, soft_wrap=True)
        for path in saved:
            out().print(f"picture: {path}", markup=False, soft_wrap=True)
    if error is None:
        return ExitCode.PASSED
    return ExitCode.INFRASTRUCTURE if error.infrastructure else ExitCode.THRESHOLD_FAILED


def _remark(text: str) -> None:
    err().print(text, markup=False, soft_wrap=True)
