"""The plan: what would be done next, and why, as a pure function of statuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.errors import NotFoundError
from pipeline.engine.gates import Verdict
from pipeline.engine.plan import Action, Step, plan
from pipeline.engine.registry import StageSpec
from pipeline.engine.state import StageState, StageStatus

NEEDS = {"a": (), "b": ("a",), "c": ("b",), "d": ("a",)}
SPECS = {name: StageSpec(name=name, summary="", module="", needs=needs) for name, needs in NEEDS.items()}


def statuses(**states: str | StageStatus) -> list[StageStatus]:
    """Statuses of a to d; ready or blocked where the needs say so."""
    found: dict[str, StageStatus] = {}
    for name, needs in NEEDS.items():
        given_ = states.get(name)
        if isinstance(given_, StageStatus):
            found[name] = given_
            continue
        met = all(found[need].done for need in needs)
        state = StageState(given_) if given_ else StageState.READY if met else StageState.BLOCKED
        found[name] = StageStatus(run_id="r", stage=name, state=state, needs=needs)
    return list(found.values())


def actions(steps: list[Step]) -> dict[str, str]:
    return {step.stage: step.action.value for step in steps}


def test_a_new_run_starts_everything_in_order_but_only_the_first_is_due() -> None:
    steps = plan(statuses(), SPECS)
    assert actions(steps) == dict.fromkeys("abcd", "start")
    assert [step.stage for step in steps if step.due] == ["a"]
    assert steps[2].after == ("b",)
    assert steps[2].reason == "after b"


def test_until_plans_only_what_that_stage_needs() -> None:
    assert list(actions(plan(statuses(), SPECS, until="b"))) == ["a", "b"]


def test_only_plans_exactly_those_and_says_what_they_lack() -> None:
    (step,) = plan(statuses(), SPECS, only=["c"])
    assert (step.action, step.reason) == (Action.BLOCKED, "it needs b, which is blocked")


def test_what_is_done_is_skipped_and_what_failed_is_resumed() -> None:
    steps = plan(statuses(a="succeeded", b="failed", c="blocked"), SPECS)
    assert actions(steps) == {"a": "skip", "b": "resume", "c": "start", "d": "start"}
    assert [step.stage for step in steps if step.due] == ["b", "d"]


@pytest.mark.parametrize("state", ["running", "stalled", "cancelling", "queued"])
def test_what_runs_is_waited_for(state: str) -> None:
    steps = plan(statuses(a="succeeded", b=state), SPECS)
    assert actions(steps)["b"] == "wait"
    assert actions(steps)["c"] == "start"
    assert not next(step for step in steps if step.stage == "c").due


def test_orphans_block_what_follows_until_they_are_reaped() -> None:
    steps = plan(statuses(a="succeeded", b="orphaned"), SPECS)
    assert actions(steps) == {"a": "skip", "b": "blocked", "c": "blocked", "d": "start"}
    assert "reap" in steps[1].reason


def test_a_closed_gate_blocks_what_follows() -> None:
    closed = StageStatus(run_id="r", stage="a", state=StageState.SUCCEEDED, verdict=Verdict.FAIL)
    steps = plan(statuses(a=closed), SPECS)
    assert actions(steps) == {"a": "skip", "b": "blocked", "c": "blocked", "d": "blocked"}
    assert steps[0].reason == "already done, but its gate says fail"
    assert steps[1].reason == "the gate of a says fail"


def test_after_a_stale_stage_the_rest_follows_only_if_its_outputs_change() -> None:
    stale = StageStatus(run_id="r", stage="a", state=StageState.STALE, stale_because=("parameter n: 1 -> 2",))
    steps = plan(statuses(a=stale, b="succeeded", c="succeeded"), SPECS)
    assert steps[0].reason == "its outputs are stale: parameter n: 1 -> 2"
    assert steps[1].reason == "only if a gives other outputs than now"
    assert [step.stage for step in steps if step.due] == ["a"]


def test_an_answer_of_another_run_is_taken_over() -> None:
    known = StageStatus(run_id="r", stage="a", state=StageState.READY, can_take_from="earlier")
    steps = plan(statuses(a=known), SPECS)
    assert (steps[0].action, steps[0].source, steps[0].reuses) == (Action.TAKE_OVER, "earlier", "everything")


def test_a_stage_this_version_does_not_have_is_blocked() -> None:
    steps = plan(statuses(), {name: spec for name, spec in SPECS.items() if name != "b"})
    assert steps[1].action is Action.BLOCKED
    assert "does not have this stage" in steps[1].reason


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(NotFoundError, match="no stage 'x'") as error:
        plan(statuses(), SPECS, until="x")
    assert error.value.hint == "it has: a, b, c, d"


@given(st.fixed_dictionaries({name: st.sampled_from(list(StageState)) for name in NEEDS}))
def test_whatever_the_states_a_plan_never_starts_what_runs_or_what_lacks_something(
    states: dict[str, StageState],
) -> None:
    found = {s.stage: s for s in statuses(**{name: state.value for name, state in states.items()})}
    steps = {step.stage: step for step in plan(found.values(), SPECS)}
    assert list(steps) == list(NEEDS), "every stage once, in order"
    for name, step in steps.items():
        assert step.reason
        if found[name].state.active:
            assert not step.works
        if step.due:
            assert all(found[need].done for need in NEEDS[name])
        assert all(steps[need].pending for need in step.after)
