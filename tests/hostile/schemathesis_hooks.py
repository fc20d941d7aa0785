"""Loaded by schemathesis: of the session ids that it makes up, most are of some that there are."""

import os
import random

import schemathesis

SESSIONS = os.environ["HOSTILE_SESSIONS"].split(",")


def _named(values):
    """And of the directories, most are there. The same for the same value, to be run again."""
    if not isinstance(values, dict):
        return values
    for name, known in (("session_id", SESSIONS), ("workspace", ["/tmp"])):
        given = values.get(name)
        if given and isinstance(given, str) and random.Random(given).random() < 0.9:
            values = {**values, name: random.Random(given).choice(known)}
    return values


@schemathesis.hook
def map_body(context, body):
    return _named(body)


@schemathesis.hook
def map_query(context, query):
    return _named(query)
