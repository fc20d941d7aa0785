"""`/openapi.json`: what can be asked of this server and what it answers, for programs.

Routes come from the app, bodies from `app.bodies`, and the rest from `app.openapi_table`; of those
below /v1 from `app.openai_api`.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from quart import Blueprint, Quart, Response

from . import __version__, openapi_table
from .authority.door import COOKIE
from .http_errors import RETRY_AFTER, json_response
from .idempotency import HEADER, KEY_LENGTH
from .openai_api import operations as openai_api
from .openapi_table import REFERENCE, Operation, Schema, Shape

__all__ = ["OPERATIONS", "document", "routes", "routes_of"]

OPERATIONS = openapi_table.OPERATIONS | openai_api.OPERATIONS
COMPONENTS = openapi_table.COMPONENTS | openai_api.COMPONENTS

DESCRIPTION = """Chat sessions that survive crashes, and the turns that run in them.

Every error is `{"error": text}`, but below `/v1`, which is as OpenAI has it. A request that changes
something is refused with 403 if it comes from another site's page. Every POST may carry an
`Idempotency-Key`: the same request gets the first answer again, for a day. Where there is a GET
there is a HEAD. Fields that are not named here are ignored where they come in, and there may be
more of them where they go out.

What events a stream has, and the data of each, is in `x-events`: an `event:` line and one `data:`
line of JSON; those of a turn have an `id:` too, to come back with. Comments keep a stream alive.
"""

STATUSES = {
    202: "It waits for its turn",
    206: "A part of it",
    302: "It is elsewhere",
    303: "You are let in, and go on there",
    304: "It is as you have it",
    308: "It is at the path without doubled slashes",
    400: "The request makes no sense",
    401: "It is not known who asks",
    403: "It may not be changed, or not from another site's page",
    404: "There is no such thing",
    409: "It is busy with something that excludes this, or is no longer what you saw",
    413: "The body is too large",
    416: "There is no such part of it",
    422: "The Idempotency-Key was used for another request",
    429: "Too much waits already, or was asked for",
    500: "It is damaged on disk, or the server is at fault",
    503: "Not now; try again",
    507: "The disk is full, and nothing was changed",
}
WAYS_IN = {
    "token": {"type": "http", "scheme": "bearer"},
    "login": {"type": "apiKey", "in": "cookie", "name": COOKIE},
}
OF_ANY = frozenset({200, 401, 429, 500})
OF_ANY_POST = frozenset({400, 403, 413, 503})
BODILESS = (302, 303, 304, 308)
VARIABLE = re.compile(r"<(?:[^<>]*:)?(\w+)>")


def routes(app: Quart) -> Blueprint:
    page = Blueprint("openapi", __name__)

    @page.get("/openapi.json")
    async def openapi() -> Response:
        return json_response(document(app))

    return page


def routes_of(app: Quart) -> Iterator[str]:
    """As the table names them: "GET /session/{name}"."""
    for rule in app.url_map.iter_rules():
        path = VARIABLE.sub(r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield f"{method} {path}"


def document(app: Quart) -> dict[str, Any]:
    """A route that the table does not know is in it too, with nothing told of it."""
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(routes_of(app)):
        method, path = route.split()
        told = OPERATIONS.get(route, Operation("Not described"))
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, told)
    bodies = [told.body for told in OPERATIONS.values() if told.body is not None]
    _, structs = msgspec.json.schema_components(bodies, ref_template=REFERENCE)
    ours = {name: _schema(shape) for name, shape in COMPONENTS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Greenroom", "version": __version__, "description": DESCRIPTION},
        "paths": paths,
        "components": {"schemas": {**structs, **ours}, "securitySchemes": WAYS_IN},
        # The first: where there are no users.
        "security": [{}, *({way: []} for way in WAYS_IN)],
    }


def _operation(method: str, path: str, told: Operation) -> dict[str, Any]:
    statuses = OF_ANY | {*told.also, *told.refuses}
    keyed = method == "POST" and told.keyed
    if method == "POST":
        statuses |= OF_ANY_POST
    if keyed:
        statuses |= {422}
    operation: dict[str, Any] = {
        "summary": told.summary,
        "operationId": re.sub(r"\W", "_", f"{method.lower()}{path}"),
        "parameters": [*_in_path(path, told), *_in_query(told)],
        "responses": {str(status): _response(told, status) for status in sorted(statuses)},
    }
    if keyed:
        operation["parameters"].append(_KEY)
    if method == "POST" and told.body is not None:
        content = {"application/json": {"schema": _body(told)}}
        operation["requestBody"] = {"required": bool(told.needs), "content": content}
    return operation


def _in_path(path: str, told: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        schema = told.variables.get(name, {"type": "string", "minLength": 1})
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(told: Operation) -> Iterator[dict[str, Any]]:
    for name, schema in told.query.items():
        yield {"name": name, "in": "query", "required": name in told.needs, "schema": schema}


_KEY = {
    "name": HEADER,
    "in": "header",
    "description": "The same request with the same key is done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH, "pattern": "^[ -~]+$"},
}


def _body(told: Operation) -> dict[str, Any]:
    """What the struct allows; what the endpoint insists on is there, and not empty."""
    schema = _schema(told.body)
    if not told.needs:
        return schema
    narrowed = {name: told.narrowed.get(name, _NOT_EMPTY) for name in told.needs}
    return {"allOf": [schema, {"required": list(told.needs), "properties": narrowed}]}


_NOT_EMPTY = {"type": "string", "minLength": 1}


def _response(told: Operation, status: int) -> dict[str, Any]:
    response: dict[str, Any] = {"description": STATUSES.get(status, told.summary)}
    if status < 300 and status not in told.also:
        response["content"] = {kind: _content(told, kind) for kind in told.kinds}
    elif status not in BODILESS:
        shape = told.also.get(status, Schema.named(told.error))
        response["content"] = {"application/json": {"schema": _schema(shape)}}
    if status in RETRY_AFTER and status not in told.also:
        seconds = {"required": True, "schema": {"type": "integer"}}
        response["headers"] = {"Retry-After": seconds}
    return response


def _content(told: Operation, kind: str) -> dict[str, Any]:
    if kind == "application/json":
        return {"schema": _schema(told.answer)}
    if kind == "text/event-stream":
        return {"x-events": {name: _schema(data) for name, data in told.events.items()}}
    return {}


def _schema(shape: Shape) -> dict[str, Any]:
    if isinstance(shape, Schema):
        return shape.json
    if isinstance(shape, tuple):
        return {"anyOf": [_schema(each) for each in shape]}
    if isinstance(shape, dict):
        return {
            "type": "object",
            "required": [name for name in shape if not name.endswith("?")],
            "properties": {name.rstrip("?"): _schema(each) for name, each in shape.items()},
        }
    if isinstance(shape, list):
        return {"type": "array", "items": _schema(shape[0])}
    (schema,), _ = msgspec.json.schema_components([shape], ref_template=REFERENCE)
    return schema
