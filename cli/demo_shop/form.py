"""Reads what a visitor sent by a form."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

_MOST_BYTES = 16_384


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a urlencoded form, trimmed; of equal names the last one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, "The form is too long.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise HTTPException(400, "The form cannot be read.") from None
    return {name: value.strip() for name, value in pairs}
