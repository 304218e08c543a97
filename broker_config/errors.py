"""The error tree. Every error of TrafficBuster is a `TrafficBusterError`.

    TrafficBusterError
    ├── SpecError              a job spec (or another user document) is wrong; `problems` lists every place
    ├── SettingsError          a flag, environment variable or settings file is wrong
    ├── NameRefused            a name or id cannot be a subject token
    ├── MessageError           a message on the wire is malformed, oversized or of an unknown kind
    ├── BrokerError            the NATS side
    │   ├── BrokerUnavailable  nobody answers at the address, or not in time
    │   ├── BrokerRefused      the broker answered and said no (credentials, permissions)
    │   ├── StreamFull         a bounded stream or bucket cannot take more
    │   ├── Conflict           a compare-and-set lost the race
    │   └── Incompatible       what exists on the broker cannot become what is declared
    ├── ServerNotStarted       the embedded nats-server did not come up
    ├── JobError               a command that the job's state does not allow, or no such job
    │   ├── JobNotFound
    │   └── IllegalTransition
    ├── RegistrationRefused    the orchestrator refused a runner
    ├── ArtifactNotFound       nothing is stored under that name, or no longer
    ├── PoolNotFound           there is no pool of proxies of that name
    ├── EgressUnavailable      a session cannot have the proxies by which it has to leave
    └── BrowserError           the browser side
        ├── BrowserNotFound    no usable browser on this machine
        └── BrowserNotStarted  found, but it does not start

Each message says what was wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class TrafficBusterError(Exception):
    """Base of all errors that TrafficBuster raises on purpose."""


class Problem(NamedTuple):
    """One thing that is wrong in a document: where (`targets[0].url`) and what, with what is allowed."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class SpecError(TrafficBusterError):
    """A user document is wrong. `problems` names every place at once."""

    def __init__(self, problems: Sequence[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        text = "; ".join(map(str, self.problems))
        super().__init__(f"{source}: {text}" if source else text)


class SettingsError(TrafficBusterError):
    """A flag, an environment variable or the settings file holds a value that cannot be used."""


class NameRefused(TrafficBusterError):
    """A name or id cannot become a token of a subject."""


class MessageError(TrafficBusterError):
    """A message on the wire cannot be read."""


class BrokerError(TrafficBusterError):
    """Base of errors of the NATS side."""


class BrokerUnavailable(BrokerError):
    """Nobody answers at the broker's address, or not in time."""


class BrokerRefused(BrokerError):
    """The broker answered and said no."""


class StreamFull(BrokerError):
    """A bounded stream or bucket cannot take more."""


class Conflict(BrokerError):
    """A compare-and-set lost the race; read again and decide again."""


class Incompatible(BrokerError):
    """What exists on the broker cannot be changed into what is declared."""


class ServerNotStarted(TrafficBusterError):
    """The embedded nats-server did not come up."""


class JobError(TrafficBusterError):
    """A command on a job that cannot be carried out."""


class JobNotFound(JobError):
    """There is no job of that id."""


class IllegalTransition(JobError):
    """The job's state does not allow the command."""


class RegistrationRefused(TrafficBusterError):
    """The orchestrator refused to register the runner. `code` is one of `registration.RefusalCode`."""

    def __init__(self, code: str, detail: str, retry_after: float | None = None) -> None:
        self.code = code
        self.retry_after = retry_after
        super().__init__(f"the orchestrator refused this runner ({code}): {detail}")


class ArtifactNotFound(TrafficBusterError):
    """Nothing is stored under that name, or no longer."""


class PoolNotFound(TrafficBusterError):
    """There is no pool of proxies of that name."""


class EgressUnavailable(TrafficBusterError):
    """A session cannot have the proxies by which its job wants it to leave. It must not go direct then."""


class BrowserError(TrafficBusterError):
    """Base of errors of the browser side."""


class BrowserNotFound(BrowserError):
    """No usable browser on this machine."""


class BrowserNotStarted(BrowserError):
    """A browser was found but does not start."""
