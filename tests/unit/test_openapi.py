from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from broker_config import codec
from broker_config.api import API_PREFIX
from broker_config.duration_range import DurationRange
from orchestrator.web import (
    artifacts,
    health,
    jobs,
    login,
    people,
    plans,
    projects,
    proxies,
    reports,
    runners,
    sessions,
    tokens,
)
from orchestrator.web.openapi import document

ROUTES = [
    *jobs.ROUTES,
    *plans.ROUTES,
    *reports.ROUTES,
    *sessions.ROUTES,
    *artifacts.ROUTES,
    *runners.ROUTES,
    *proxies.ROUTES,
    *people.ROUTES,
    *tokens.ROUTES,
    *projects.ROUTES,
    *login.ROUTES,
    *health.ROUTES,
]

#: The contract.
EXPECTED = {
    ("post", "/jobs"),
    ("post", "/jobs/plan"),
    ("get", "/jobs"),
    ("get", "/jobs/{id}"),
    ("get", "/jobs/{id}/detail"),
    ("get", "/jobs/{id}/report"),
    ("post", "/jobs/{id}/cancel"),
    ("post", "/jobs/{id}/retry"),
    ("get", "/jobs/{id}/audit"),
    ("post", "/jobs/{id}/pause"),
    ("post", "/jobs/{id}/resume"),
    ("get", "/jobs/{id}/sessions"),
    ("get", "/jobs/{id}/artifacts"),
    ("get", "/runners"),
    ("get", "/runners/{id}"),
    ("get", "/runners/available-platforms"),
    ("get", "/proxies"),
    ("get", "/proxies/{name}"),
    ("put", "/proxies/{name}"),
    ("patch", "/proxies/{name}"),
    ("delete", "/proxies/{name}"),
    ("post", "/proxies/{name}/lines"),
    ("post", "/proxies/{name}/test"),
    ("get", "/me"),
    ("get", "/users"),
    ("post", "/users"),
    ("get", "/users/{name}"),
    ("patch", "/users/{name}"),
    ("delete", "/users/{name}"),
    ("post", "/users/{name}/password"),
    ("get", "/tokens"),
    ("post", "/tokens"),
    ("delete", "/tokens/{id}"),
    ("get", "/projects"),
    ("post", "/projects"),
    ("get", "/projects/{name}"),
    ("patch", "/projects/{name}"),
    ("delete", "/projects/{name}"),
    ("put", "/projects/{name}/members/{user}"),
    ("delete", "/projects/{name}/members/{user}"),
    ("post", "/login"),
    ("post", "/logout"),
    ("get", "/job-schema"),
    ("get", "/health"),
    ("get", "/ready"),
}


@pytest.fixture(scope="module")
def doc() -> dict[str, Any]:
    # As clients get it.
    return json.loads(codec.encode(document(ROUTES, version="1.2.3")))


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for item in node.values():
            yield from walk(item)
    elif isinstance(node, list):
        for item in node:
            yield from walk(item)


def operations(doc: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_it_is_openapi_3_1_and_has_every_route(doc):
    assert doc["openapi"].startswith("3.1.")
    assert doc["info"]["title"]
    assert doc["info"]["version"] == "1.2.3"
    assert {(m, p.removeprefix(API_PREFIX)) for m, p, _ in operations(doc)} == EXPECTED
    assert all(p.startswith(API_PREFIX) for p in doc["paths"])


def test_every_reference_resolves(doc):
    targets = [n["$ref"] for n in walk(doc) if isinstance(n.get("$ref"), str)]
    targets += [t for n in walk(doc) for t in n.get("discriminator", {}).get("mapping", {}).values()]
    assert len(targets) > 30
    for target in targets:
        node: Any = doc
        assert target.startswith("#/")
        for part in target[2:].split("/"):
            node = node[part]
        assert isinstance(node, dict)


def test_operations_are_told_apart_and_explained(doc):
    ids = [o["operationId"] for *_, o in operations(doc)]
    assert len(set(ids)) == len(ids)
    for *_, operation in operations(doc):
        assert operation["summary"].endswith(".")
        assert operation["tags"]


def test_path_parameters_are_those_of_the_path(doc):
    for _, path, operation in operations(doc):
        declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))


def test_every_operation_has_a_success_and_its_problems(doc):
    for method, path, operation in operations(doc):
        answers = operation["responses"]
        assert any(s.startswith("2") for s in answers)
        if path.endswith("/ready"):
            continue
        for status, answer in answers.items():
            assert answer["description"]
            media = "application/json" if status.startswith("2") else "application/problem+json"
            others = ["text/html", "application/xml", "text/csv"] if path.endswith("/report") else []
            expected = [media, *(others if status.startswith("2") else [])]
            assert list(answer["content"]) == expected, (method, path, status)


def test_submit_documents_what_it_answers_and_reads(doc):
    submit = doc["paths"][f"{API_PREFIX}/jobs"]["post"]
    assert set(submit["responses"]) >= {"200", "201", "400", "409", "413", "415", "422", "503", "507"}
    body = submit["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/JobSpec"}
    assert {(p["name"], p["in"]) for p in submit["parameters"]} == {
        ("source", "query"),
        ("project", "query"),
        ("Idempotency-Key", "header"),
    }


def test_limits_of_parameters_are_there(doc):
    parameters = doc["paths"][f"{API_PREFIX}/jobs"]["get"]["parameters"]
    limit = next(p for p in parameters if p["name"] == "limit")
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}
    assert limit["required"] is False


def test_our_own_types_and_the_socket_messages_have_schemas(doc):
    schemas = doc["components"]["schemas"]
    dwell = schemas["Behaviour"]["properties"]["dwell"]
    description = codec.schema_hook(DurationRange)["description"]
    assert description in [option.get("description") for option in dwell["anyOf"]]
    assert set(schemas["ServerMessage"]["discriminator"]["mapping"]) == {
        "snapshot",
        "progress",
        "log",
        "fleet",
        "problem",
    }
    assert set(schemas["ClientMessage"]["discriminator"]["mapping"]) == {"subscribe", "unsubscribe"}
    # Queries are parameters, not bodies.
    assert not [name for name in schemas if name.endswith("Query")]


def test_required_lists_name_properties(doc):
    for schema in doc["components"]["schemas"].values():
        if schema.get("type") == "object" and "properties" in schema:
            assert set(schema.get("required", [])) <= set(schema["properties"])
    assert msgspec.json.encode(doc)
