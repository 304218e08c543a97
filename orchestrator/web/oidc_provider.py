"""An OpenID provider as we see it: the address to send a browser to, and what comes back for a code."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from broker_config.errors import SettingsError, TrafficBusterError
from orchestrator.core.oidc_claims import OidcSettings
from orchestrator.core.served_names import is_loopback

# joserfc and httpx are imported where they are used: most orchestrators have no provider.
if TYPE_CHECKING:
    from joserfc.jwk import KeySet

#: Signatures with a public key only; `none`, and those with a secret that both know, are refused.
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
#: Clocks may differ by so much, s.
LEEWAY = 60
#: Largest answer that is read, bytes; seconds for each.
_MAX_ANSWER = 1 << 20
_TIMEOUT = 10.0
#: Seconds between two looks at the provider's keys because of an unknown one.
_KEYS_EVERY = 30.0

T = TypeVar("T")


class OidcFailed(TrafficBusterError):
    """The provider did not answer as it should, or what it says does not hold."""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to log in; it goes to the browser sealed, and comes back with the provider's answer."""

    state: str
    nonce: str
    verifier: str
    redirect: str
    at: float


class _Discovered(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Tokens(msgspec.Struct, frozen=True, kw_only=True):
    id_token: str


class OidcProvider:
    """Raises `SettingsError` for settings that cannot be used. What it asks of the provider raises
    `OidcFailed`."""

    def __init__(self, settings: OidcSettings, *, monotonic: Callable[[], float]) -> None:
        self.settings = settings
        _check_address(settings.issuer, SettingsError)
        if settings.role_claim and not settings.roles:
            raise SettingsError(
                f"the claim {settings.role_claim!r} gives no role: name some by oidc_roles, as value=role"
            )
        self._secret = _secret(settings.secret_file)
        self._monotonic = monotonic
        self._discovered: _Discovered | None = None
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._lock = asyncio.Lock()

    async def begin(self, redirect: str, now: float) -> tuple[str, Flow]:
        """The address to send the browser to, and what must be known when it is back at `redirect`."""
        found = await self._discover()
        flow = Flow(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            redirect=redirect,
            at=now,
        )
        challenge = urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).rstrip(b"=")
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect,
            "scope": "openid profile email",
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        at = found.authorization_endpoint
        return f"{at}{'&' if urlsplit(at).query else '?'}{urlencode(query)}", flow

    async def finish(self, flow: Flow, code: str, now: float) -> dict[str, Any]:
        """The claims of the one who has logged in there, for the code that the browser has brought."""
        found = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": flow.redirect,
            "client_id": self.settings.client_id,
            "code_verifier": flow.verifier,
        }
        if self._secret:
            form["client_secret"] = self._secret
        tokens = _read(await _ask("POST", found.token_endpoint, data=form), _Tokens)
        return await self._checked(tokens.id_token, flow.nonce, now)

    async def _checked(self, token: str, nonce: str, now: float) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        claims = await self._verified(token)
        registry = jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=LEEWAY,
            iss={"essential": True, "value": self.settings.issuer},
            aud={"essential": True, "value": self.settings.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            registry.validate(claims)
        except JoseError as e:
            raise OidcFailed(f"the provider's word does not hold: {e}") from None
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims.get("azp", self.settings.client_id) != self.settings.client_id or len(audiences) > 1:
            raise OidcFailed("the provider's word is for another program than this one")
        return claims

    async def _verified(self, token: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError

        for again in (False, True):
            keys = await self._key_set(again=again)
            try:
                return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)
            except InvalidKeyIdError:
                continue  # it may have new keys
            except (JoseError, ValueError, KeyError, TypeError) as e:
                raise OidcFailed(f"the signature of the provider's word is not good: {e}") from None
        raise OidcFailed("the provider's word is signed with a key that it does not name as its own")

    async def _key_set(self, *, again: bool) -> KeySet:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        found = await self._discover()
        async with self._lock:
            is_old = self._monotonic() > self._keys_at + _KEYS_EVERY
            if self._keys is None or (again and is_old):
                raw = await _ask("GET", found.jwks_uri)
                try:
                    self._keys = KeySet.import_key_set(msgspec.json.decode(raw))
                except (JoseError, msgspec.MsgspecError, ValueError, KeyError, TypeError) as e:
                    raise OidcFailed(f"the provider's keys cannot be read: {e}") from None
                self._keys_at = self._monotonic()
            return self._keys

    async def _discover(self) -> _Discovered:
        async with self._lock:
            if self._discovered is None:
                at = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
                found = _read(await _ask("GET", at), _Discovered)
                if found.issuer != self.settings.issuer:
                    raise OidcFailed(
                        f"{at} says that it is {found.issuer!r}, not {self.settings.issuer!r}; write "
                        "oidc_issuer as it says"
                    )
                for address in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                    _check_address(address, OidcFailed)
                self._discovered = found
            return self._discovered


async def _ask(method: str, url: str, **options: Any) -> bytes:
    import httpx

    data = bytearray()
    try:
        async with (
            asyncio.timeout(_TIMEOUT),
            httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as http,
            http.stream(method, url, headers={"Accept": "application/json"}, **options) as response,
        ):
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _MAX_ANSWER:
                    raise OidcFailed(f"{url} answers more than {_MAX_ANSWER} bytes")
            if response.status_code != 200:
                raise OidcFailed(f"{url} answered {response.status_code}")
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as e:
        raise OidcFailed(f"{url} does not answer: {e or type(e).__name__}") from None
    return bytes(data)


def _read(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as e:
        raise OidcFailed(f"the provider's answer cannot be used: {e}") from None


def _check_address(url: str, error: type[TrafficBusterError]) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or (parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host))):
        raise error(f"{url!r} is no address of an OpenID provider; it must begin with https://")


def _secret(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"the secret of the OpenID client cannot be read from {file}: {e}") from None
