"""Settings of a runner."""

from __future__ import annotations

from pathlib import Path

import msgspec

from broker_config.runner_credential import RunnerCredential


class RunnerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes."""

    #: Where results wait that could not be published; several runners may share it.
    data_dir: Path
    #: Address of the broker, or several separated by commas.
    nats: str = "nats://127.0.0.1:4222"
    #: NATS credentials file.
    credentials: Path | None = None
    #: The runner's own credential, kept in `data_dir`: it says its id, its pool and what it may offer, and
    #: where the broker is, unless `nats` is set to something else than the usual address.
    credential: RunnerCredential | None = None
    #: The runner's id, 1 to 64 characters of A-Z a-z 0-9 _ -; made up from the host's name when empty.
    name: str = ""
    #: Sessions at once; 0 takes as many as cores and memory bear.
    slots: int = 0
    #: Free words about the runner, shown in lists.
    labels: dict[str, str] = {}
    #: Take only the sessions of this pool.
    pool: str | None = None
    #: Run scripts of users: their code has the rights of this process.
    allow_scripts: bool = False
    #: Browsers to offer (chromium, firefox …); empty offers all that are found.
    browsers: list[str] = []
    #: How long running sessions may go on after the runner was told to end.
    grace_s: float = 60.0
    #: How long the broker is waited for at the start.
    connect_timeout_s: float = 5.0
    #: How long results are still tried to be published at the end.
    flush_s: float = 5.0
    #: CPU use of the machine (0 to 1) from which on sessions are marked as measured on a saturated machine.
    saturation_busy: float = 0.97
    #: Start no new session while the machine is saturated: where the number of slots is the runner's choice,
    #: not where the operator has fixed it.
    adaptive: bool = True
    #: Bounds of the results that wait on disk; at them no new session starts.
    spool_max_records: int = 2_000
    spool_max_bytes: int = 16 << 20
    #: Prefix of JetStream's API: another one behind an account import or a leaf node.
    js_prefix: str = "$JS.API"
