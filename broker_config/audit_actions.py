"""What is noted in the audit log, as data: each action by its name, with what it means.

A name is a noun and what was done to it. Routes that change something name one of these.
"""

from __future__ import annotations

from collections.abc import Mapping

ACTIONS: Mapping[str, str] = {
    "job.submit": "a job was submitted",
    "job.plan": "it was asked what a job would run",
    "job.cancel": "a job was cancelled",
    "job.pause": "a job was paused",
    "job.resume": "a paused job was resumed",
    "job.retry": "failed and lost sessions of a job were submitted again",
    "proxies.replace": "a pool of proxies was made, or replaced",
    "proxies.add": "proxies were added to a pool",
    "proxies.switch": "proxies of a pool were enabled or disabled",
    "proxies.test": "proxies of a pool were tested",
    "proxies.remove": "a pool of proxies was removed",
    "secret.put": "a secret was stored",
    "secret.remove": "a secret was removed",
    "target.add": "an origin was named as a target",
    "target.verify": "the proof of a target was asked for",
    "target.grant": "an administrator allowed what needs no proof, or a private address",
    "target.remove": "a target was removed",
    "target.ceiling": "ceilings of a target were changed",
    "user.add": "a user was made",
    "user.change": "role or state of a user was changed",
    "user.password": "a password was set",
    "user.remove": "a user was removed",
    "project.add": "a project was made",
    "project.change": "quotas of a project were changed",
    "project.member": "somebody was made a member of a project, or taken out",
    "project.remove": "a project was removed",
    "token.issue": "an API token was issued",
    "token.revoke": "an API token was revoked",
    "login": "somebody logged in, or tried to",
    "logout": "somebody logged out",
    "login.revoke": "logins of somebody were ended",
    "socket.ticket": "a ticket for a WebSocket was issued",
    "socket.open": "a WebSocket was asked for",
    "socket.cut": "a WebSocket was closed because its credential had ended",
    "runner.invite": "a join token for runners was issued",
    "runner.uninvite": "a join token was withdrawn",
    "runner.join": "a runner exchanged a join token for a credential",
    "runner.renew": "a runner renewed its credential",
    "runner.register": "a runner was refused when it registered",
    "runner.revoke": "the credential of a runner was revoked",
    "runner.control": "a runner was told to pause, resume, drain or restart",
    "kill": "all traffic of a job, a project or the fleet was stopped",
    "kill.lift": "a kill was lifted",
    "request": "a request was refused before its route was looked at: too many, or from a foreign page",
    "read": "something was asked for without the right to see it",
    "audit.left_out": "entries could not be kept: how many, and why",
}
