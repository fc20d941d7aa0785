"""What is counted of a turn that has ended."""

from actors.session.agent import Usage
from actors.session.reports import TurnReport
from app.metrics import MOST_MODELS, Metrics


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
