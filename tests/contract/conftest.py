import pytest

from actors.session.record import Record
from tests.app.upstream import open_upstream
from tests.contract.house import House


@pytest.fixture
async def house(tmp_path):
    async with open_upstream() as upstream:
        yield House(tmp_path / "data", upstream)


@pytest.fixture
def record_of():
    """A session with one exchange that began with this prompt."""

    def record(prompt):
        answer = {"role": "assistant", "content": "Of course."}
        return Record(session_id="a", messages=({"role": "user", "content": prompt}, answer))

    return record
