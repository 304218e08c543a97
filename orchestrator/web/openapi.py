"""The OpenAPI 3.1 document, made from the types of the endpoints themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.routing import BaseRoute, compile_path

from broker_config import codec
from broker_config.api import API_PREFIX, ClientMessage, Problem, ServerMessage

from .problems import MEDIA_TYPE
from .typed_route import Operation, TypedRoute

_REF = "#/components/schemas/{name}"
_SOCKET = """\
The WebSocket at `/ws` takes `ClientMessage` and sends `ServerMessage`, both JSON text. The first message on a
job is its snapshot; what follows has a greater `seq`. Programs send `Authorization: Bearer` at the handshake;
browsers get a ticket by `POST /socket-tickets` first, and offer `Sec-WebSocket-Protocol: tb.v1, ticket.<…>`.
Close codes: 1008 too many messages, 1009 message too large, 1012 the orchestrator restarts, 1011 no answer to
a ping, 4401 the login or token has ended, 4403 the right to what is followed has. A client that does not read
is cut off without one."""
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token: `tb tokens create`, `tb login`."},
    "login": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-tb",
        "description": "The login of a browser. Changes must come from a page of the server itself.",
    },
}


def document(routes: Iterable[BaseRoute], *, version: str) -> dict[str, Any]:
    """The document of all typed routes, whose paths stand under `API_PREFIX`; `/ws` messages are among the
    components, so that clients can be generated from it alone."""
    operations = [(r.path, r.operation) for r in routes if isinstance(r, TypedRoute)]
    types: list[Any] = [Problem, ClientMessage, ServerMessage]
    for _, op in operations:
        types += [t for t in (op.hints.get("body"), op.hints.get("query"), op.answer) if _is_struct(t)]
    schemas, components = msgspec.json.schema_components(
        types, schema_hook=codec.schema_hook, ref_template=_REF
    )
    refs = {id(t): schema for t, schema in zip(types, schemas, strict=True)}
    queries = {t.__name__ for _, op in operations if (t := op.hints.get("query"))}
    paths: dict[str, dict[str, Any]] = {}
    for path, op in operations:
        where = paths.setdefault(API_PREFIX + compile_path(path)[1], {})
        where[op.method.lower()] = _operation(op, refs, components)
    components = {name: s for name, s in components.items() if name not in queries}
    components |= {"ClientMessage": schemas[1], "ServerMessage": schemas[2]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "TrafficBuster", "version": version or "0", "description": _SOCKET},
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items())), "securitySchemes": _SCHEMES},
    }


def _operation(op: Operation, refs: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(op.handler) or op.handler.__name__).partition("\n")
    out: dict[str, Any] = {"operationId": op.handler.__name__, "tags": [op.tag], "summary": summary.strip()}
    if description.strip():
        out["description"] = description.strip()
    if parameters := list(_parameters(op, components)):
        out["parameters"] = parameters
    problems = set(op.problems) | {429, 500}
    if op.access.scope != "public":
        problems |= {401, 403}
        out["security"] = [{"bearer": []}, {"login": []}]
        out["x-access"] = _needs(op)
    if "body" in op.hints:
        out["requestBody"] = {"required": True, "content": _json(refs[id(op.hints["body"])])}
        problems |= {400, 413, 415, 422}
    if "query" in op.hints:
        problems.add(422)
    answer = refs.get(id(op.answer), {"type": "object"})
    content = _json(answer) | {m: {"schema": {"type": "string"}} for m in op.media}
    out["responses"] = {
        **{str(s): {"description": words, "content": content} for s, words in op.statuses.items()},
        **{
            str(s): {
                "description": HTTPStatus(s).phrase,
                "content": {MEDIA_TYPE: {"schema": refs[id(Problem)]}},
            }
            for s in sorted(problems)
        },
    }
    return out


def _needs(op: Operation) -> str:
    """In words, who may."""
    match op.access.scope:
        case "known":
            return "whoever is known"
        case "fleet":
            return f"{op.access.role} of the fleet"
        case _:
            return f"{op.access.role} in {'the' if op.owned else 'a'} project"


def _parameters(op: Operation, components: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for name in op.path_names:
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    if query := op.hints.get("query"):
        properties = components[query.__name__]["properties"]
        for field in msgspec.structs.fields(query):
            yield {
                "name": field.encode_name,
                "in": "query",
                "required": field.required,
                "schema": properties[field.encode_name],
            }
    for header, words in op.headers.items():
        schema = {"type": "string", "minLength": 1, "maxLength": 128}
        yield {"name": header, "in": "header", "required": False, "schema": schema, "description": words}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
