"""How a runner is called when nobody named it."""

from __future__ import annotations

import random
import re

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


def random_token(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(length))


def runner_id(hostname: str, rng: random.Random) -> str:
    """`<host>-<6 random characters>`, fit for a subject."""
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", hostname.split(".")[0]).strip("-")[:50] or "runner"
    return f"{host}-{random_token(rng, 6)}"
