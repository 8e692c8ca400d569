import re
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from importlib import resources

import pytest
from synthetic_run import domain_map, gate, genesis_round, later_round, long_run, rounds

from loopwright.report import figures, svg
from loopwright.report.pictures import StartPoint
from loopwright.report.rounds import Curve

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing: str | None) -> list[str]:
    assert drawing is not None
    return ["".join(node.itertext()) for node in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def test_text_stays_text_and_axes_carry_units() -> None:
    run = rounds()
    assert {"round", "success rate", "promoted", "refused", "first champion"} <= set(
        texts(figures.success_by_round(run))
    )
    seven = [replace(turn, labelled_demos=7) if turn.index > 1 else turn for turn in run]
    assert "labelled demonstrations spent" in texts(figures.success_by_labels(seven))
    assert {"CPU-seconds", "collect", "fit", "round 2", "255 s"} <= set(
        texts(figures.cost_by_round(run))
    )
    assert {"pairs of trials", "evidence (e-value)", "promote at 80"} <= set(
        texts(figures.gate_evidence(run[2].gate, 2))  # type: ignore[arg-type]
    )
    assert {"button x (m)", "before: 3 of 50", "after: 50 of 50"} <= set(
        texts(figures.domain_map(domain_map()))
    )


@pytest.mark.parametrize("labels", [0, 5])
def test_labels_are_not_drawn_where_none_were_spent_anew(labels: int) -> None:
    same = [replace(turn, labelled_demos=labels) for turn in rounds()]
    assert figures.success_by_labels(same) is None


def test_a_curve_names_its_unit() -> None:
    curve = Curve(name="speed", steps=(0, 1), values=(1.0, 2.0))
    drawing = figures.learning_curves([("round 0", curve)], name="l", title="speed", unit="mm/s")
    assert "speed (mm/s)" in texts(drawing)


@pytest.mark.parametrize(
    "drawing",
    [
        lambda: figures.success_by_round([]),
        lambda: figures.success_by_labels([replace(genesis_round(), success=None)]),
        lambda: figures.gate_evidence(replace(gate(0.5, 0.5, seed=0, alpha=0.05), evidence=()), 1),
        lambda: figures.learning_curves([], name="l", title="loss"),
        lambda: figures.learning_curves(
            [("round 0", Curve(name="loss", steps=(1,), values=(float("nan"),)))],
            name="l",
            title="loss",
        ),
        lambda: figures.cost_by_round([replace(genesis_round(), cost_cpu_s={})]),
        lambda: figures.domain_map(replace(domain_map(), points=())),
    ],
)
def test_nothing_to_draw_is_no_figure(drawing) -> None:
    assert drawing() is None


def test_ids_are_prefixed_with_the_name_of_the_figure() -> None:
    drawing = figures.cost_by_round(rounds())
    assert drawing is not None
    ids = re.findall(r' id="([^"]+)"', drawing)
    assert ids
    assert all(i.startswith("cost-by-round-") for i in ids)
    assert set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", drawing)) <= set(ids)


def test_no_colour_is_left_that_a_dark_page_could_not_change() -> None:
    for drawing in (
        figures.success_by_round(rounds()),
        figures.domain_map(domain_map()),
        figures.cost_by_round(rounds()),
    ):
        assert drawing is not None
        assert re.findall(r": (?:#[0-9a-f]{6})", drawing) == []


def test_fallback_colours_are_those_of_the_light_page() -> None:
    css = resources.files("loopwright.report").joinpath("base.css").read_text()
    light = dict(re.findall(r"(--[a-z0-9]+): (#[0-9a-f]{6})", css.split("@media")[0]))
    drawing = "".join(
        filter(None, [figures.success_by_round(rounds()), figures.cost_by_round(rounds())])
    )
    used = dict(re.findall(r"var\((--[a-z0-9]+), (#[0-9a-f]{6})\)", drawing))
    assert len(used) >= 8
    assert used.items() <= light.items()


def test_the_evidence_line_ends_where_the_gate_stopped() -> None:
    won = gate(0.0, 1.0, seed=0, alpha=0.05)
    drawing = figures.gate_evidence(won, 1)
    assert drawing is not None
    assert f"after {len(won.evidence)} pairs" in drawing
    assert "var(--good" in drawing
    lost = figures.gate_evidence(gate(0.5, 0.5, seed=0, alpha=0.05), 1)
    assert lost is not None
    assert "var(--good" not in lost


@pytest.mark.parametrize("values", [(0.0, 0.0), (1e-300, 1e300), (float("inf"), 1.0)])
def test_extreme_evidence_is_still_drawn(values: tuple[float, ...]) -> None:
    extreme = replace(gate(0.5, 0.5, seed=0, alpha=0.05), evidence=values)
    assert texts(figures.gate_evidence(extreme, 1))


@pytest.mark.parametrize(
    "values",
    [(1.0, float("nan"), 0.5), (0.0, 0.0), (-1.0, 5.0), (1e-12, 1e12), (float("inf"), 1.0)],
)
def test_any_learning_curve_is_drawn(values: tuple[float, ...]) -> None:
    curve = Curve(name="loss", steps=tuple(range(len(values))), values=values)
    assert texts(figures.learning_curves([("round 0", curve)], name="l", title="loss"))


def test_labels_in_any_script_and_with_formula_signs_are_plain_text() -> None:
    odd = "$\\frac{x}$ 抓取 _"
    turn = replace(genesis_round(), cost_cpu_s={odd: 2.0, "_hidden": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing = figures.cost_by_round([turn])
    assert odd in texts(drawing)
    assert "hidden" in texts(drawing)


def test_champions_with_the_same_labels_share_one_label() -> None:
    run = [replace(turn, labelled_demos=9) if turn.index else turn for turn in long_run(20).rounds]
    words = texts(figures.success_by_labels(run))
    assert "rounds 2, 8, 14" in words
    assert "round 0" in words


def test_unknown_outcomes_are_marked_as_such() -> None:
    points = (StartPoint(x=0.0, y=0.0, before="unknown", after="success"),)
    assert "unknown" in texts(figures.domain_map(replace(domain_map(), points=points)))


def test_figures_leave_the_settings_of_matplotlib_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.success_by_round(rounds())
    assert dict(matplotlib.rcParams) == before


def test_a_round_without_champion_is_drawn_in_the_middle_of_its_place() -> None:
    assert figures.success_by_round([later_round(3, "refuse", "a" * 64, gate=None)]) is None
    assert svg.series(0) == svg.series(svg.NUM_SERIES)
