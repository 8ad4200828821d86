"""The state table: first match wins, for every combination of facts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.state import Facts, StageState, combined, derive

FACTS = st.builds(
    Facts,
    held=st.booleans(),
    led=st.booleans(),
    cancel_asked=st.booleans(),
    quiet_s=st.floats(0, 1e6),
    stall_s=st.sampled_from([120.0, 300.0, 900.0]),
    queued=st.booleans(),
    complete=st.booleans(),
    fresh=st.booleans(),
    attempted=st.booleans(),
    outcome=st.sampled_from(["", "done", "failed", "cancelled", "something new"]),
    needs_met=st.booleans(),
)

#: The design's table, line by line.
TABLE = [
    (StageState.ORPHANED, lambda f: f.held and not f.led),
    (StageState.CANCELLING, lambda f: f.held and f.cancel_asked),
    (StageState.STALLED, lambda f: f.held and f.quiet_s > f.stall_s),
    (StageState.RUNNING, lambda f: f.held),
    (StageState.QUEUED, lambda f: f.queued),
    (StageState.SUCCEEDED, lambda f: f.complete and f.fresh),
    (StageState.STALE, lambda f: f.complete),
    (StageState.FAILED, lambda f: f.attempted and f.outcome == "failed"),
    (StageState.CANCELLED, lambda f: f.attempted and f.outcome == "cancelled"),
    (StageState.LOST, lambda f: f.attempted),
    (StageState.BLOCKED, lambda f: not f.needs_met),
    (StageState.READY, lambda f: True),
]


@given(FACTS)
def test_the_first_matching_line_of_the_table_is_the_state(facts: Facts) -> None:
    assert derive(facts) is next(state for state, holds in TABLE if holds(facts))


def test_the_table_names_every_state_once_in_order() -> None:
    assert [state for state, _ in TABLE] == list(StageState)


@given(FACTS)
def test_a_failure_of_the_past_never_hides_a_running_attempt_or_a_result(facts: Facts) -> None:
    state = derive(facts._replace(outcome="failed", attempted=True))
    assert (state is StageState.FAILED) == (not facts.held and not facts.queued and not facts.complete)


@given(st.lists(st.sampled_from(StageState), min_size=1, max_size=12))
def test_a_split_stage_succeeds_only_as_a_whole_and_shows_what_needs_attention_first(
    states: list[StageState],
) -> None:
    whole = combined(states)
    assert (whole is StageState.SUCCEEDED) == all(state is StageState.SUCCEEDED for state in states)
    assert whole in states
    assert whole.active == any(state.active for state in states)
