"""The credential that an orchestrator puts beside its data: who can read it owns the machine's account."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
from pathlib import Path

from broker_config.errors import Conflict, SettingsError
from broker_config.people import LOCAL_OWNER, ApiToken, token_key
from orchestrator.core.credential import ENTROPY, Credential

from .credential_store import CredentialStore

log = logging.getLogger(__name__)

FILE = "admin.token"


async def ensure_local_admin(store: CredentialStore, name: str, directory: Path, now: float) -> Path:
    """`admin.token` in `directory`, good for an admin: what is there is kept, unless it was revoked, or
    others could read it. `name` stands in the list of tokens. Raises `SettingsError`."""
    path = directory / FILE
    credential = _read(path)
    while True:
        if credential is None:
            credential = _write(path)
        key = token_key(credential.id)
        found, revision = await store.bucket.read(ApiToken, key)
        if found is not None and found.is_local and credential.fits(found.secret_hash):
            return path
        if revision:
            credential = None  # revoked, or not ours: never again
            continue
        token = ApiToken(
            id=credential.id,
            name=name,
            owner=LOCAL_OWNER,
            secret_hash=credential.hash,
            created_at=now,
            is_local=True,
        )
        # Lost to another orchestrator with the same file: look again.
        with contextlib.suppress(Conflict):
            await store.put_token(token, 0)
            return path


def _read(path: Path) -> Credential | None:
    try:
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        if os.name == "posix" and mode & 0o077:
            log.warning("%s could be read by others (mode %o); it is made anew", path, mode)
            return None
        if os.name == "posix" and found.st_uid != os.geteuid():
            # What is in it is good for an admin: nobody else may say what that is.
            log.warning("%s belongs to another user (uid %d); it is made anew", path, found.st_uid)
            return None
        return Credential.parse(path.read_text("ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"{path} cannot be read: {e}; remove it, or give another --data-dir") from None


def _write(path: Path) -> Credential:
    """In one step, so that nobody reads half a credential."""
    made = Credential.made_of(secrets.token_bytes(ENTROPY))
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(made.text + "\n")
        os.replace(beside, path)
    except OSError as e:
        raise SettingsError(f"the admin's credential cannot be kept in {path}: {e.strerror or e}") from None
    return made
