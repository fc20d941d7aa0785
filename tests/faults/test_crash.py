"""A bounded number of rounds; as many as one likes: `python -m tests.faults.crash --rounds N`."""

import pytest

from tests.faults.crash import crash

pytestmark = pytest.mark.process
SEEDS = (1, 2)
ROUNDS = 5
SESSIONS = 50


@pytest.mark.parametrize("power", [False, True], ids=["kill", "power cut"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_that_was_accepted_or_shown_is_lost_doubled_or_resurrected(
    tmp_path, seed, power
):
    report = await crash(tmp_path, ROUNDS, seed, SESSIONS, power=power)
    assert not report.violations, str(report)
    assert report.counts["kills"] == ROUNDS
    assert report.counts["turns accepted"] > ROUNDS, str(report)
