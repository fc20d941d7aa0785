"""Loaded by schemathesis: of the session ids that it makes up, most are of some that there are."""

import os
import random

import schemathesis

SESSIONS = os.environ["HOSTILE_SESSIONS"].split(",")


def _named(values):
    """And of the directories, most are there."""
    if isinstance(values, dict) and isinstance(values.get("workspace"), str):
        if random.Random(values["workspace"]).random() < 0.8:
            values = {**values, "workspace": "/tmp"}
    if (
        isinstance(values, dict)
        and isinstance(values.get("session_id"), str)
        and values["session_id"]
    ):
        # The same for the same value: what fails can be run again.
        choice = random.Random(values["session_id"])
        if choice.random() < 0.9:
            return {**values, "session_id": choice.choice(SESSIONS)}
    return values


@schemathesis.hook
def map_body(context, body):
    return _named(body)


@schemathesis.hook
def map_query(context, query):
    return _named(query)
