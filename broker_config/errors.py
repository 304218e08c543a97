"""The error tree. Every error of TrafficBuster is a `TrafficBusterError`.

    TrafficBusterError
    ├── SpecError              a job spec (or another user document) is wrong; `problems` lists every place
    ├── SettingsError          a flag, environment variable or settings file is wrong
    ├── NameRefused            a name or id cannot be a subject token
    ├── MessageError           a message on the wire is malformed, oversized or of an unknown kind
    ├── BrokerError            the NATS side
    │   ├── BrokerUnavailable  nobody answers at the address, or not in time
    │   ├── BrokerRefused      the broker answered and said no (credentials, permissions)
    │   │   └── CredentialEnded    a runner's credential is revoked, or its time is over
    │   ├── StreamFull         a bounded stream or bucket cannot take more
    │   ├── Conflict           a compare-and-set lost the race
    │   └── Incompatible       what exists on the broker cannot become what is declared
    ├── ServerNotStarted       the embedded nats-server did not come up
    ├── JobError               a command that the job's state does not allow, or no such job
    │   ├── JobNotFound
    │   ├── IllegalTransition
    │   └── KillHolds          a kill covers it, and has to be lifted first
    ├── KillNotFound           there is no such kill
    ├── RegistrationRefused    the orchestrator refused a runner
    ├── BrokerIsOpen           runners need no invite, and none can be revoked
    ├── JoinRefused            a join token is not valid (any more), or the runner's name is taken
    ├── InviteNotFound         there is no such invite, or no longer
    ├── RunnerNotFound         no runner of that name has joined
    ├── ArtifactNotFound       nothing is stored under that name, or no longer
    ├── PoolNotFound           there is no pool of proxies of that name
    ├── PersonNotFound         there is no such user, project or token
    │   ├── UserNotFound
    │   ├── ProjectNotFound
    │   └── TokenNotFound
    ├── AccessRefused          a credential is missing, or does not suffice
    ├── EgressUnavailable      a session cannot have the proxies by which it has to leave
    ├── SecretUnavailable      a session cannot have the secrets that its job names
    ├── SecretNotFound         there is no secret of that name
    ├── TargetNotFound         the project has no such target
    ├── SealBroken             what was sealed cannot be opened
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

    @classmethod
    def of(cls, job: str) -> JobNotFound:
        """In the same words for a job that does not exist and for one that is not to be known of."""
        return cls(f"there is no job {job}; `tb jobs list` shows those that there are")


class IllegalTransition(JobError):
    """The job's state does not allow the command."""


class KillHolds(JobError):
    """A kill covers what was asked for; it has to be lifted first."""


class KillNotFound(TrafficBusterError):
    """There is no such kill, or no longer."""


class RegistrationRefused(TrafficBusterError):
    """The orchestrator refused to register the runner. `code` is one of `registration.RefusalCode`."""

    def __init__(self, code: str, detail: str, retry_after: float | None = None) -> None:
        self.code = code
        self.retry_after = retry_after
        super().__init__(f"the orchestrator refused this runner ({code}): {detail}")


class CredentialEnded(BrokerRefused):
    """The credential of a runner is revoked, or its time is over: it has to join anew."""


class BrokerIsOpen(TrafficBusterError):
    """The broker lets everybody in who reaches it: there are no credentials of runners."""

    def __init__(self) -> None:
        super().__init__(
            "the broker is open to everybody who reaches it, so runners need no invite and none can be "
            "revoked; start with `tb up --secure` (or --nats-host ADDR) to have credentials"
        )


class JoinRefused(TrafficBusterError):
    """A runner cannot join: its token is not valid (any more), or its name is another's."""


class InviteNotFound(TrafficBusterError):
    """There is no such invite, or no longer."""


class RunnerNotFound(TrafficBusterError):
    """No runner of that name has joined."""


class ArtifactNotFound(TrafficBusterError):
    """Nothing is stored under that name, or no longer."""

    @classmethod
    def of(cls, name: str) -> ArtifactNotFound:
        """In the same words for an artifact that does not exist and for one that is not to be known of."""
        return cls(f"there is no artifact {name}; it was not kept, or its time is over")


class PoolNotFound(TrafficBusterError):
    """There is no pool of proxies of that name."""


class PersonNotFound(TrafficBusterError):
    """There is no such user, project or token; or nobody who asks may know of it."""


class UserNotFound(PersonNotFound):
    """There is no user of that name."""

    @classmethod
    def of(cls, name: str) -> UserNotFound:
        return cls(f"there is no user {name[:100]!r}; `tb users list` shows those that there are")


class ProjectNotFound(PersonNotFound):
    """There is no project of that name."""

    @classmethod
    def of(cls, name: str) -> ProjectNotFound:
        """In the same words for a project that does not exist and for one that is not to be known of."""
        return cls(f"there is no project {name[:100]!r}; `tb projects list` shows those that there are")


class TokenNotFound(PersonNotFound):
    """There is no token of that id."""

    @classmethod
    def of(cls, id: str) -> TokenNotFound:
        """In the same words for a token that does not exist and for one that is not to be known of."""
        return cls(f"there is no token {id[:100]!r}; `tb tokens list` shows those that there are")


class AccessRefused(TrafficBusterError):
    """A credential is missing, no longer valid, or does not allow what was asked."""


class EgressUnavailable(TrafficBusterError):
    """A session cannot have the proxies by which its job wants it to leave. It must not go direct then."""


class SecretUnavailable(TrafficBusterError):
    """A session cannot have the secrets that its job names."""


class SecretNotFound(TrafficBusterError):
    """There is no secret of that name in the project."""


class TargetNotFound(TrafficBusterError):
    """The project has no target of that origin."""

    @classmethod
    def of(cls, project: str, target: str) -> TargetNotFound:
        return cls(f"project {project} has no target {target[:100]!r}; `tb targets list` shows them")


class SealBroken(TrafficBusterError):
    """What was sealed cannot be opened: with another key, or it was changed."""


class BrowserError(TrafficBusterError):
    """Base of errors of the browser side."""


class BrowserNotFound(BrowserError):
    """No usable browser on this machine."""


class BrowserNotStarted(BrowserError):
    """A browser was found but does not start."""
