"""The published document and the app tell of the same routes, and of the same events."""

import re

import msgspec
import pytest
import trio

from actors.greenroom import open_greenroom
from actors.session.entries import FeedEvent
from app.agents.demo import DemoAgent
from app.authority.gate import Gate
from app.idempotency import open_answers
from app.openapi import OPERATIONS, document, routes_of
from app.openapi_table import OF_A_TURN
from app.views import event_of
from app.web import create_app


@pytest.fixture
async def app(tmp_path):
    async with (
        open_greenroom(tmp_path, DemoAgent()) as greenroom,
        open_answers(tmp_path / "answers") as answers,
    ):
        yield create_app(
            greenroom,
            answers,
            gate=Gate(tmp_path),
            stopping=trio.Event(),
            agent_status=lambda: {"agent": "demo"},
        )


async def test_every_route_is_told_of_and_no_other(app):
    assert sorted(routes_of(app)) == sorted(OPERATIONS)


async def test_each_operation_has_a_name_of_its_own_and_each_reference_leads_somewhere(app):
    told = document(app)
    operations = [each for path in told["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names)) == len(OPERATIONS)
    references = set(msgspec.json.encode(told).decode().split('"#/components/schemas/')[1:])
    assert references
    assert {each.partition('"')[0] for each in references} <= told["components"]["schemas"].keys()
    assert all(each["summary"] for each in operations)


async def test_it_is_served(app):
    answer = await app.test_client().get("/openapi.json")
    assert answer.status_code == 200
    told = await answer.get_json()
    assert told["openapi"].startswith("3.1")
    assert told["paths"]["/api/session/rename"]["post"]["requestBody"]["required"]


@pytest.mark.parametrize("kind", FeedEvent.__args__, ids=lambda kind: kind.__name__)
def test_every_event_of_a_turn_is_told_of(kind):
    given = {"str": "x", "float": 1.0, "int": 1, "dict": {}}
    values = [
        given[getattr(field.type, "__origin__", field.type).__name__]
        for field in msgspec.structs.fields(kind)
        if field.required
    ]
    name, data = event_of(kind(*values))
    shape = OF_A_TURN[name]
    assert {key for key in shape if not key.endswith("?")} <= data.keys()


async def test_a_key_is_told_of_exactly_where_it_is_looked_at(app):
    paths = document(app)["paths"]
    headers = {"Idempotency-Key": "k" * 256}
    for route in (route for route in OPERATIONS if route.startswith("POST ")):
        path = route.removeprefix("POST ")
        answer = await app.test_client().post(re.sub(r"{\w+}", "x", path), headers=headers)
        told = {each["name"] for each in paths[path]["post"]["parameters"]}
        looked_at = b"Idempotency-Key must be" in await answer.get_data()
        assert looked_at == ("Idempotency-Key" in told), (route, answer.status_code)
