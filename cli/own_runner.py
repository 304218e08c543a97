"""The credential of the runner that `tb up` starts beside a broker that wants one."""

from __future__ import annotations

import asyncio
import base64
import random
import socket
import time
from pathlib import Path

import msgspec

from broker_config.duration import Duration
from broker_config.enrolment import InviteOrder, RunnerJoin, joined
from broker_config.errors import JoinRefused
from broker_config.runner_credential import RunnerCredential
from orchestrator.service import Orchestrator
from runner.core import names

from .settings import Settings


async def join(orchestrator: Orchestrator, settings: Settings, data_dir: Path) -> str | None:
    """Put a credential into `data_dir`, or renew it there. Returns why there is none, in words."""
    found = await asyncio.to_thread(RunnerCredential.load, data_dir)
    name = settings.name or names.runner_id(socket.gethostname(), random.SystemRandom())
    credential = found or RunnerCredential.new(name)
    order = InviteOrder(ttl=Duration(60), pool=settings.pool or None, scripts=settings.allow_scripts)
    made = await orchestrator.enrolment.invite(order, "tb up")
    proof = credential.sign(joined(made.token, credential.runner))
    wish = RunnerJoin(
        token=made.token,
        runner=credential.runner,
        key=credential.key,
        signature=base64.b64encode(proof).decode(),
    )
    try:
        grant = await orchestrator.enrolment.join(wish, "127.0.0.1")
    except JoinRefused as e:
        return f"this machine runs no sessions: {e} (its runner keeps its credential in {data_dir})"
    # On this machine the broker is known by its certificate, whatever name that is made out to.
    credential = msgspec.structs.replace(credential.granted(grant, now=time.time()), check_name=False)
    await asyncio.to_thread(credential.save, data_dir)
    return None
