"""A small OpenID provider on loopback: authorization code with PKCE, and lies if it is told to tell some."""

from __future__ import annotations

import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from orchestrator.web.server import WebServer

CLIENT, SECRET = "trafficbuster", "the client's secret"


class Provider:
    """`claims` are those of who is at the browser, over what a good token has; a claim of None is left out.
    `key` signs, and `algorithm` says how."""

    def __init__(self) -> None:
        self.url = ""
        self.claims: dict[str, Any] = {"sub": "1234", "preferred_username": "mallory"}
        self._own = RSAKey.generate_key(2048, {"kid": "one"})
        self.tell_the_truth()
        self._codes: dict[str, dict[str, str]] = {}

    def tell_the_truth(self) -> None:
        self.key: RSAKey | ECKey | OctKey = self._own
        self.algorithm = "RS256"
        self.published: list[RSAKey | ECKey | OctKey] = [self._own]
        self.refusal = ""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/keys", self._keys),
            ]
        )

    async def _configuration(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            }
        )

    async def _authorize(self, request: Request) -> Response:
        """Whoever comes is logged in already."""
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        back = {"state": asked["state"]}
        if self.refusal:
            back["error"] = self.refusal
        else:
            back["code"] = secrets.token_urlsafe(16)
            self._codes[back["code"]] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 303)

    async def _token(self, request: Request) -> Response:
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        asked = self._codes.pop(form["code"], None)
        challenge = urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        is_good = (
            asked is not None
            and form["client_secret"] == SECRET
            and form["redirect_uri"] == asked["redirect_uri"]
            and challenge.decode() == asked["code_challenge"]
        )
        if not is_good or asked is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
        }
        header = {"alg": self.algorithm, "kid": self.key.kid}
        token = jwt.encode(
            header,
            {k: v for k, v in claims.items() if v is not None},
            self.key,
            algorithms=[self.algorithm],
        )
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})

    async def _keys(self, request: Request) -> Response:
        keys = [k.as_dict(private=isinstance(k, OctKey)) for k in self.published]
        return JSONResponse({"keys": keys})


@asynccontextmanager
async def oidc_provider() -> AsyncIterator[Provider]:
    provider = Provider()
    async with WebServer(provider.app(), stop_within=1.0) as server:
        provider.url = server.url
        yield provider
