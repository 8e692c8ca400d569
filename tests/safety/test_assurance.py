from __future__ import annotations

import time
from importlib import resources
from pathlib import Path

import pytest
from register_site import Site

from loopwright.core.errors import InvalidConfig, UnknownName, UsageError
from loopwright.safety.assurance import Case, Finding
from loopwright.safety.register import Register
from loopwright.safety.statement import Statement


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def said(site: Site, register: Register, kind: str, *roles: str, **predicate: object) -> str:
    statement = Statement(kind=kind, subjects={}, predicate=predicate)  # type: ignore[arg-type]
    register.append(site.signed(statement, *roles))  # type: ignore[arg-type]
    return statement.digest


def filled_in(site: Site, register: Register, folder: Path) -> Case:
    """The example with the evidence of a site."""
    text = resources.files("loopwright.safety").joinpath("arm7.case.toml").read_text()
    digests = [
        said(
            site, register, "certificate/v1", "proposer", "approver", expires_s=time.time() + 1000
        ),
        said(
            site,
            register,
            "evidence/v1",
            "proposer",
            what="filter benchmark",
            violations_per_million=0,
        ),
        said(site, register, "evidence/v1", "recorder", what="flights"),
        said(site, register, "evidence/v1", "operator", what="grounding drill", seconds=1.4),
    ]
    for number, digest in enumerate(digests, 1):
        text = text.replace(f"{number:064d}", digest)
    (folder / "case.toml").write_text(text)
    return Case.read(folder / "case.toml")


def red(findings: tuple[Finding, ...]) -> list[str]:
    return sorted(finding.node.id for finding in findings if finding.red)


def test_the_example_is_red_until_a_site_fills_it_in(site: Site, tmp_path: Path) -> None:
    register = site.begin()
    example = Path(str(resources.files("loopwright.safety").joinpath("arm7.case.toml")))
    findings = Case.read(example).judge(register, time.time())
    assert findings[0].red
    assert {finding.node.id for finding in findings if not finding.red} == {"C1"}
    assert red(filled_in(site, register, tmp_path).judge(register, time.time())) == []


def test_a_broken_indicator_turns_its_goals_red_up_to_the_root(site: Site, tmp_path: Path) -> None:
    register = site.begin()
    case = filled_in(site, register, tmp_path)
    said(site, register, "occurrence/v1", "recorder", what="wall")
    assert red(case.judge(register, time.time())) == ["E3", "G1", "G3", "S1"]
    assert red(case.judge(register, time.time() + 91 * 86_400)) == ["E1", "G1", "G2", "S1"]


def test_the_latest_measurement_counts(site: Site, tmp_path: Path) -> None:
    register = site.begin()
    case = filled_in(site, register, tmp_path)
    for violations, broken in ((7, True), (2, False)):
        what = {"what": "filter benchmark", "violations_per_million": violations}
        said(site, register, "evidence/v1", "proposer", **what)
        assert case.judge(register, time.time())[0].red is broken


def test_a_directive_in_force_and_a_suspension_break_it(site: Site, tmp_path: Path) -> None:
    register = site.begin()
    case = filled_in(site, register, tmp_path)
    register.append(site.directive(register))
    assert "E4" in red(case.judge(register, time.time()))
    certificate = case.nodes["E1"].evidence[0]
    said(site, register, "suspension/v1", "approver", certificate=certificate)
    assert {"E1", "E4", "G2", "G4"} <= set(red(case.judge(register, time.time())))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('root = "G1"\n[goal.G1]\ntext = "a"\nsupported_by = ["G1"]', InvalidConfig),
        ('root = "G1"\n[goal.G1]\ntext = "a"\nsupported_by = ["G2"]', UnknownName),
        ('root = "G1"\n[goal.G1]\ntext = "a"\n[goal.G2]\ntext = "b"', InvalidConfig),
        ('root = "G1"\n[goal.G1]\ntext = "a"\nevidence = ["0"]', InvalidConfig),
        ('root = "G1"\n[goal.G1]\ntext = " "', InvalidConfig),
        ('root = "G1"\n[gaol.G1]\ntext = "a"', UnknownName),
        ('root = "G1"\n[goal.G1]\ntext = "a"\ncolour = "green"', UnknownName),
        ('root = "E1"\n[solution.E1]\ntext = "a"\nevidence = ["0"]', InvalidConfig),
        (
            'root = "E1"\n[solution.E1]\ntext = "a"\nevidence = ["0"]\n'
            'indicators = [{ metric = "count", kind = "look/v1" }]',
            InvalidConfig,
        ),
        ('[goal.G1]\ntext = "a"', InvalidConfig),
    ],
)
def test_what_is_no_case_is_refused(tmp_path: Path, text: str, error: type[UsageError]) -> None:
    (tmp_path / "case.toml").write_text(text)
    with pytest.raises(error):
        Case.read(tmp_path / "case.toml")


def test_a_goal_that_nothing_supports_is_red(site: Site, tmp_path: Path) -> None:
    (tmp_path / "case.toml").write_text(
        'root = "G1"\n[goal.G1]\ntext = "a"\nsupported_by = ["C1"]\n[context.C1]\ntext = "b"'
    )
    findings = Case.read(tmp_path / "case.toml").judge(site.begin(), time.time())
    assert findings[0].problems == ("nothing supports it",)
