"""`/jobs/<id>/artifacts` and `/artifacts/<name>`: what sessions left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker_config.api import ArtifactPage
from orchestrator.core.access import Access

from .cursor import seal, unseal
from .job_projects import of_artifact, of_job
from .typed_route import GuardedRoute, TypedRoute
from .web_state import web

#: By the ending of the file. Anything else is bytes: what a site has sent is never shown as a page of ours.
_TYPES: Mapping[str, str] = {
    "jpg": "image/jpeg",
    "har": "application/json",
    "log": "text/plain; charset=utf-8",
    "zip": "application/zip",
    "webm": "video/webm",
}
_OTHER = "application/octet-stream"


class ArtifactsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    session: Annotated[int, Meta(ge=1)] | None = None


async def list_artifacts(request: Request, *, id: str, query: ArtifactsQuery) -> ArtifactPage:
    """Artifacts of a job, by session.

    The content of each is at `/artifacts/<name>`.
    """
    state = web(request)
    scope = f"artifacts of {id}"
    page = await state.artifacts.page(
        id, cursor=unseal(scope, query.cursor), limit=query.limit, session=query.session
    )
    return msgspec.structs.replace(page, next=seal(scope, page.next))


async def get_artifact(request: Request) -> Response:
    view, content = await web(request).artifacts.get(request.path_params["name"])
    file = f"{view.session}.{view.attempt}-{view.file}"
    headers = {
        "Content-Length": str(view.bytes),
        "Content-Disposition": f'attachment; filename="{file}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    media = _TYPES.get(view.file.rpartition(".")[2], _OTHER)
    return StreamingResponse(content, headers=headers, media_type=media)


ROUTES = [
    TypedRoute(
        "GET",
        "/jobs/{id}/artifacts",
        list_artifacts,
        tag="artifacts",
        access=Access(scope="project"),
        of=of_job,
        problems=(404, 502, 503),
    ),
]
#: Not JSON, and so not described.
CONTENT = GuardedRoute(
    "/artifacts/{name:path}",
    get_artifact,
    methods=["GET"],
    access=Access(scope="project"),
    of=of_artifact,
)
