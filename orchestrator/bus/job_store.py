"""Jobs in the bucket `jobs`: the document of each under `<id>`, its fold's checkpoint beside it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from broker_config import codec
from broker_config.api import JobPage, JobRow
from broker_config.egress import without_credentials
from broker_config.errors import (
    Conflict,
    JobNotFound,
    MessageError,
    NameRefused,
    SpecError,
    StreamFull,
)
from broker_config.grant import SignedGrant
from broker_config.job import Checkpoint, Job, checkpoint_key, job_key, read_checkpoint, write_checkpoint
from broker_config.job_spec import JobSpec
from broker_config.kill import Kill
from broker_config.messages import JobCommand, JobControl
from broker_config.people import DEFAULT_PROJECT, Quotas
from broker_config.proxy import Proxy
from broker_config.seal import Seal
from broker_config.streams import JOBS, PROGRESS
from broker_config.subjects import job_control, token
from orchestrator.core import admission, job_machine, quota
from orchestrator.core.job_machine import Command

from .jet import Jet
from .job_slots import JobSlots
from .kill_switch import KillSwitch
from .proxy_store import ProxyStore
from .secret_store import SecretStore
from .target_guard import TargetGuard

STREAM = f"KV_{JOBS.name}"
_ATTEMPTS = 20
#: Room that must be left in a stream before a job is taken on, bytes a session.
_BYTES_PER_RECORD = 1_200
#: Of the disk's free space so much is left to the jobs that run already, bytes.
_SPARE_BYTES = 50_000_000


def subject(key: str) -> str:
    return f"$KV.{JOBS.name}.{key}"


async def _unbounded(project: str) -> Quotas:
    return Quotas()


class JobStore:
    """Reads and writes jobs; every write is a compare-and-set. `seal` seals their secrets; `allowed_origins`
    and `store_dir` as in the settings. `targets` says where jobs may go; else `allowed_origins` does."""

    def __init__(
        self,
        jet: Jet,
        *,
        seal: Seal,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        new_seed: Callable[[], int],
        allowed_origins: Collection[str] = (),
        store_dir: str = "",
        kills: KillSwitch | None = None,
        quotas: Callable[[str], Awaitable[Quotas]] = _unbounded,
        targets: TargetGuard | None = None,
    ) -> None:
        self._jet = jet
        self._seal = seal
        self.proxies = ProxyStore(jet, seal, clock=clock)
        self.secrets = SecretStore(jet, seal, clock=clock)
        self._allowed_origins = allowed_origins
        self._store_dir = store_dir
        self._kills = kills
        self._quotas = quotas
        self._targets = targets
        self._slots = JobSlots(jet, clock=clock)
        self._clock = clock
        self._new_id = new_id
        self._new_seed = new_seed

    async def submit(
        self,
        spec: JobSpec,
        *,
        source: str,
        idempotency_key: str | None,
        retry_of: str | None = None,
        project: str = DEFAULT_PROJECT,
        submitted_by: str = "",
    ) -> tuple[Job, bool]:
        """Store a job; `(job, True)`, or `(the earlier job, False)` where the key was used before.

        Proxies of its own are kept apart; the stored spec names them without credentials.

        Raises `SpecError` if it may not go there, or not leave so, `Conflict` if the key was used for another
        spec, `StreamFull` if its records would not fit.
        """
        seen = await self._let_in(project, "be submitted", retry_of)
        proxies = await self._admitted(spec, retry_of, project)
        id = self._new_id()
        if idempotency_key is not None:
            id = await self._claim(idempotency_key, project, spec, id)
        await self._slots.take(project, id, await self._quotas(project))
        if proxies:
            # First: a session must find them.
            await self.proxies.keep(id, proxies)
            spec = msgspec.structs.replace(spec, egress=without_credentials(spec.egress))
        if spec.seed is None:
            spec = msgspec.structs.replace(spec, seed=self._new_seed())
        job = Job(
            id=id,
            spec=spec,
            state="queued",
            submitted_at=self._clock(),
            source=source,
            idempotency_key=idempotency_key,
            retry_of=retry_of,
            after_seq=await self._jet.last_seq(PROGRESS.name),
            project=project,
            submitted_by=submitted_by,
            kills=seen,
        )
        try:
            await self._jet.publish(subject(job_key(id)), codec.encode(job), expected_last=0)
        except Conflict:
            return await self.get(id), False
        return job, True

    async def check(self, spec: JobSpec, project: str = DEFAULT_PROJECT) -> None:
        """Raise what `submit` would, but `Conflict`; nothing is stored."""
        await self._admitted(spec, None, project, ask=False)

    async def _admitted(
        self, spec: JobSpec, retry_of: str | None, project: str, *, ask: bool = True
    ) -> list[Proxy]:
        """Proxies of the job's own, once all that may refuse it has been asked."""
        if self._targets is None and (refused := admission.problems(spec, self._allowed_origins)):
            raise SpecError(refused)
        if over := quota.problems(spec, await self._quotas(project), running=0):
            raise SpecError(over)
        await self.secrets.check(spec, project)
        proxies = await self.proxies.brought(spec, retry_of)
        await self._check_room(spec.total_sessions)
        if self._targets is not None:
            # Last: sites are asked for it.
            await self._targets.admit(spec, project, ask=ask)
        return proxies

    async def _claim(self, key: str, project: str, spec: JobSpec, id: str) -> str:
        """Bind the project's key to a job id for good; the id that it is bound to."""
        # No name of a project has a line break in it.
        whole = key if project == DEFAULT_PROJECT else f"{project}\n{key}"
        digest = hashlib.sha256(whole.encode()).hexdigest()
        at = subject(f"key.{digest}")
        # Nobody without the key may try passwords of its proxies on the mark.
        told = codec.encode(spec)
        mark = self._seal.mark(told) if spec.egress.proxies else hashlib.sha256(told).hexdigest()
        try:
            await self._jet.publish(at, codec.encode({"job": id, "spec": mark}), expected_last=0)
        except Conflict:
            entry = await self._jet.get(STREAM, at)
            bound = codec.decode(entry.value, dict) if entry else {}
            if bound.get("spec") != mark:
                raise Conflict(
                    f"the idempotency key {key!r} was used for another spec (job {bound.get('job')}); "
                    "use a new key for a new job"
                ) from None
            return str(bound["job"])
        return id

    async def _check_room(self, sessions: int) -> None:
        info = await self._jet.api(f"STREAM.INFO.{PROGRESS.name}")
        limit = info["config"].get("max_bytes", -1)
        used = info["state"]["bytes"]
        if limit > 0 and used + sessions * _BYTES_PER_RECORD > limit:
            raise StreamFull(
                f"the records of {sessions} sessions would not fit into the stream {PROGRESS.name} "
                f"({used} of {limit} bytes used); raise its max_bytes or wait until old records expire"
            )
        if self._store_dir:
            free = shutil.disk_usage(self._store_dir).free
            if sessions * _BYTES_PER_RECORD + _SPARE_BYTES > free:
                raise StreamFull(
                    f"the records of {sessions} sessions would not fit on the disk of {self._store_dir} "
                    f"({free // 1_000_000} MB free, of which {_SPARE_BYTES // 1_000_000} are spared for what "
                    "runs); free some"
                )

    async def get(self, job: str) -> Job:
        """Raises `JobNotFound`."""
        return (await self.read(job))[0]

    async def read(self, job: str) -> tuple[Job, int]:
        """The document and its revision. Raises `JobNotFound`."""
        try:
            token(job, "job id")
        except NameRefused as e:
            raise JobNotFound(f"there is no job {job!r}: {e}") from None
        entry = await self._jet.get(STREAM, subject(job_key(job)))
        if entry is None or entry.deleted:
            raise JobNotFound.of(job)
        return codec.decode(entry.value, Job), entry.revision

    async def write(self, job: Job, revision: int) -> int:
        """Replace the document of that revision; the new revision. Raises `Conflict`."""
        ack = await self._jet.publish(subject(job_key(job.id)), codec.encode(job), expected_last=revision)
        return ack.seq

    async def command(self, job: str, command: Command, reason: str = "") -> Job:
        """Carry out a user's order. Raises `JobNotFound`, `IllegalTransition`, and `KillHolds` for a resume.

        Runners hear of a cancel at once; the conductor sees the changed document.
        """
        for _ in range(_ATTEMPTS):
            doc, revision = await self.read(job)
            if command == "resume":
                await self._let_in(doc.project, "be resumed", job)
            changed = job_machine.command(doc, command, reason)
            if changed is not doc:
                try:
                    await self.write(changed, revision)
                except Conflict:
                    continue
            await self.announce(job, command, reason)
            return changed
        raise Conflict(f"job {job} changes too fast to {command} it; try again")

    async def announce(
        self, job: str, command: JobCommand, reason: str = "", kill: Kill | None = None
    ) -> None:
        """Tell the runners that hold sessions of the job."""
        message = JobControl(job=job, command=command, reason=reason, kill=kill)
        await self._jet.nc.publish(job_control(job), codec.encode(message))

    async def renew(self, job: str, grants: Sequence[SignedGrant]) -> None:
        """Tell the runners new grants of a job."""
        message = JobControl(job=job, command="renew", grants=list(grants))
        await self._jet.nc.publish(job_control(job), codec.encode(message))

    async def _let_in(self, project: str, doing: str, job: str | None = None) -> int:
        """Up to which revision kills are known; raises `KillHolds` if one of them covers it."""
        if self._kills is None:
            return 0
        return await self._kills.let_in(project, doing, *([job] if job else []))

    async def checkpoint(self, job: str) -> Checkpoint | None:
        """The fold's last checkpoint; None where there is none that can be read (it is then made anew)."""
        return (await self.read_checkpoint(job))[0]

    async def read_checkpoint(self, job: str) -> tuple[Checkpoint | None, int]:
        """The fold's last checkpoint and its revision."""
        entry = await self._jet.get(STREAM, subject(checkpoint_key(job)))
        if entry is None:
            return None, 0
        try:
            found = None if entry.deleted else read_checkpoint(entry.value)
        except MessageError:
            found = None
        return found, entry.revision

    async def write_checkpoint(self, checkpoint: Checkpoint, revision: int) -> int:
        """Replace the checkpoint of that revision; the new revision. Raises `Conflict`: a conductor that was
        replaced must not overwrite what its successor wrote."""
        at = subject(checkpoint_key(checkpoint.job))
        return (await self._jet.publish(at, write_checkpoint(checkpoint), expected_last=revision)).seq

    async def page(
        self,
        *,
        cursor: str | None,
        limit: int,
        state: str | None,
        projects: Collection[str] | None = None,
    ) -> JobPage:
        """Newest first; only of `projects`, unless that is None. `cursor` is the id that the page before
        ended with."""
        if projects is not None and not projects:
            return JobPage(items=[])
        prefix = subject("")
        ids = sorted(
            (s.removeprefix(prefix) for s in await self._jet.subjects(STREAM, subject("*"))), reverse=True
        )
        if cursor is not None:
            ids = [i for i in ids if i < cursor]
        rows: list[JobRow] = []
        while ids and len(rows) < limit:
            part, ids = ids[: limit - len(rows)], ids[limit - len(rows) :]
            found = await asyncio.gather(*(self._row(i) for i in part))
            rows += [
                r
                for r in found
                if r is not None and state in (None, r.state) and (projects is None or r.project in projects)
            ]
        return JobPage(items=rows, next=rows[-1].id if ids and rows else None)

    async def _row(self, id: str) -> JobRow | None:
        entry = await self._jet.get(STREAM, subject(job_key(id)))
        if entry is None or entry.deleted:
            return None
        job = codec.decode(entry.value, Job)
        counts = job.counts
        if job.state != "finished":
            checkpoint = await self.checkpoint(id)
            if checkpoint and checkpoint.progress:
                counts = checkpoint.progress.counts
        return JobRow(
            id=job.id,
            name=job.spec.name,
            state=job.state,
            submitted_at=job.submitted_at,
            planned=counts.planned or job.spec.planned_sessions,
            ended=counts.ended,
            ok=counts.ok,
            failed=counts.failed,
            verdict=job.verdict,
            reason=job.reason,
            waiting_for=job.waiting_for,
            project=job.project,
            submitted_by=job.submitted_by,
        )
