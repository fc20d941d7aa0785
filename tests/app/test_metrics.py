"""What is counted of turns that have ended, and of actors and the disk at the moment."""

from pathlib import Path

import pytest

from actors import ActorCrashed
from actors.session.agent import Usage
from actors.session.messages import CreateSession, GetSession, Rename, StartTurn
from actors.session.record import Record
from actors.session.refusals import StorageFailed
from actors.session.reports import TurnReport
from actors.stores import MemoryDisk, open_journal
from actors.testing import open_checked_greenroom
from actors.testing.faulty_disk import FaultyDisk
from app.idempotency import Answers
from app.metrics import MOST_MODELS, Metrics, routes
from app.requests import Requests


def report(model):
    return TurnReport("s", "t", model, "done", None, Usage(1, 2), 0.0, 1.0, 0.5)


def test_whoever_names_models_cannot_fill_the_memory():
    metrics = Metrics("openai")
    for n in range(3 * MOST_MODELS):
        metrics.turn_ended(report(f"model {n}"))
    metrics.turn_ended(report("model 1"))
    samples = [s for family in metrics.registry.collect() for s in family.samples]
    counts = {
        sample.labels["gen_ai_request_model"]: sample.value
        for sample in samples
        if sample.name == "gen_ai_client_operation_duration_seconds_count"
    }
    assert len(counts) == MOST_MODELS + 1
    assert counts["other"] == 2 * MOST_MODELS
    assert counts["model 1"] == 2


async def test_what_waits_what_began_again_and_what_the_disk_refused_is_told():
    metrics, full = Metrics("openai"), False
    disk = FaultyDisk(MemoryDisk(), lambda _, name: full and name == "flush")

    def told(name, **labels):
        return metrics.registry.get_sample_value(f"greenroom_{name}", labels)

    async with (
        open_checked_greenroom(disk, expected_crashes=Exception) as greenroom,
        open_journal(Path("/data/answers"), disk=disk) as journal,
    ):
        routes(greenroom, Answers(journal), Requests(), metrics)
        session = greenroom.session("s1")
        await session.ask(CreateSession(Record(session_id="", workspace="/"), keep=True))
        assert told("mailbox_depth", kind="session") == 0
        for _ in range(3):
            session.tell(GetSession())
        assert told("mailbox_depth", kind="session") == 3
        assert told("mailbox_depth_max", kind="session") == 3
        assert told("actor_restarts_total") == 0
        with pytest.raises(ActorCrashed):
            await session.ask(StartTurn(5))
        assert told("actor_restarts_total") == 1
        assert told("flush_failures_total", writer="records") == 0
        full = True
        with pytest.raises(StorageFailed):
            await session.ask(Rename("new"))
        assert told("flush_failures_total", writer="records") == 1
        full = False
