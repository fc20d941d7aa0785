import pytest

from tests.app.upstream import open_upstream
from tests.contract.house import House


@pytest.fixture
async def house(tmp_path):
    async with open_upstream() as upstream:
        yield House(tmp_path / "data", upstream)
