from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from register_site import deployment, digest_of

from loopwright.core.digest import Json
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.directive.deployment import ancestors_of
from loopwright.safety.directive.match import Clause, Match

CELL = deployment("cell-1", certificate=digest_of("certificate"))


@pytest.mark.parametrize(
    "clause",
    [
        Clause(candidate=(digest_of("candidate"),)),
        Clause(lineage=(digest_of("candidate"),)),
        Clause(lineage=(digest_of("parent"),)),
        Clause(lineage=(digest_of("other"), digest_of("snapshot"))),
        Clause(robot=("arm7-v1",)),
        Clause(robot=(digest_of("robot"),)),
        Clause(scenario=("reach-v1",)),
        Clause(scenario=(digest_of("scenario"),)),
        Clause(filter=(digest_of("filter"),)),
        Clause(build=(digest_of("build"),)),
        Clause(certificate=(digest_of("certificate"),)),
        Clause(deployment=("cell-1",)),
        Clause(robot=("arm7-v1",), lineage=(digest_of("parent"),)),
    ],
)
def test_a_deployment_is_matched_by_whatever_it_is(clause: Clause) -> None:
    assert Match(any_of=(clause,)).affects(CELL)


@pytest.mark.parametrize(
    "clause",
    [
        Clause(candidate=(digest_of("parent"),)),
        Clause(lineage=(digest_of("filter"),)),
        Clause(robot=("arm7-v2",)),
        Clause(robot=("arm7-v1",), scenario=("push-v1",)),
        Clause(deployment=("cell-10",)),
    ],
)
def test_others_are_left_alone(clause: Clause) -> None:
    assert not Match(any_of=(clause,)).affects(CELL)


def test_any_clause_is_enough() -> None:
    other = Clause(robot=("sawyer-v1",))
    assert Match(any_of=(other, Clause(scenario=("reach-v1",)))).affects(CELL)


def test_saying_nothing_matches_nobody_rather_than_everybody() -> None:
    with pytest.raises(InvalidConfig, match="every deployment"):
        Clause()
    with pytest.raises(InvalidConfig):
        Match(any_of=())


def test_what_is_not_understood_is_not_passed_over() -> None:
    for data in (
        {"any_of": [{"robot": ["arm7-v1"], "colour": ["red"]}]},
        {"any_of": [{"robot": "arm7-v1"}]},
        {"any_of": [], "unless": []},
    ):
        with pytest.raises(DamagedData):
            Match.from_json(data)


words = st.lists(st.text(max_size=5), max_size=2).map(tuple)


@given(st.lists(st.tuples(words, words, words).filter(any), min_size=1, max_size=3))
def test_a_match_survives_the_register(clauses: list[tuple[tuple[str, ...], ...]]) -> None:
    match = Match(any_of=tuple(Clause(robot=a, lineage=b, filter=c) for a, b, c in clauses))
    assert Match.from_json(match.to_json()) == match


def test_ancestors_are_followed_however_deep_and_in_circles() -> None:
    a, b, c, d, e = (digest_of(name) for name in "abcde")
    lineages: dict[str, dict[str, Json]] = {
        a: {"parent": b, "recipe": "button-press"},
        b: {"corpora": [c, {"more": d}], "parent": None},
        d: {"again": a},
    }
    assert ancestors_of({"base": a, "steps": 7, "snapshot": e}, lineages.get) == tuple(
        sorted((a, b, c, d, e))
    )
