"""How often an actor may crash."""

from hypothesis import given
from hypothesis import strategies as st

from actors import RestartPolicy


@given(
    st.lists(st.floats(0, 1000), max_size=20).map(sorted),
    st.integers(0, 5),
    st.floats(0.1, 500),
)
def test_only_recent_crashes_count(crashes, restarts, within):
    policy = RestartPolicy(restarts, within)
    now = crashes[-1] if crashes else 0.0
    recent = [at for at in crashes if now - at < within]
    assert list(policy.recent(crashes, now)) == recent
    assert policy.allows(crashes, now) is (len(recent) <= restarts)
