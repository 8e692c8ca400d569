"""Write ``docs/results``: tables and plots of what is claimed, from ``benchmarks/results``.

Usage: ``python tools/show_results.py`` (or ``make results``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

import instructions_page

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGES = ROOT / "docs/results"
INK, SOFT, BLUE, RUST, OCHRE, GREEN = (
    "#1f2328",
    "#8a8f98",
    "#2f6db5",
    "#b5533c",
    "#b98a1f",
    "#3f8f5f",
)
ARM_STYLE: Mapping[str, tuple[str, str]] = {
    "cloning": ("o", SOFT),
    "without video": ("v", OCHRE),
    "without future loss": ("s", GREEN),
    "recoloured video": ("D", BLUE),
    "bare-hand video": ("P", RUST),
    "true actions": ("|", INK),
}

VIDEO_HEAD = """# What action-free video adds

Written by `make results` from the result of `make bench NAME=video_gain`, where the intervals and
the machine are.

Five demonstrations of the robot, 50 s of its random motion, and 80 videos of another body without
a single action. Under *partial* coverage the demonstrations start in the lowest 40 % of the
object's range along x and the trials in the other 60 %; the videos show all of it. *Recoloured* is
the whole arm in the colour of skin, *bare hand* the hand alone; *true actions* gives the recoloured
videos' own actions to the policy, which is the upper bound. Every arm trains for about the same CPU
time. A cell is the success over 50 gate starts a draw; in brackets each draw of the demonstrations.
"""

LOOP_HEAD = """# What the loop adds, round by round

Written by `make results` from the result of `make bench NAME=loop_gain`, where the intervals and
the machine are.

`loopwright run button-press-long`, one run a seed: another draw of demonstrations, starts and
weights each. After every round the champion meets 50 sealed starts that neither training nor gate
has used. The *clone* learns from every labelled demonstration that the loop had by its end, for as
many CPU-seconds as all fits of the loop together.
"""


WUDAO_HEAD = """# What forty CPU-minutes make of a text-picture model

Written by `make results` from the result of `make bench NAME=wudao`, where the machine is.

`loopwright train wudao.laptop`: a tokenizer of pictures, then one decoder with experts for both
directions, on Twemoji at 32 px with English names. The lists were frozen before training; sampling
was chosen on the lists for choosing and these are the lists for reporting. *Tone* is a skin tone
never shown on that emoji, *gender* a role's gender never shown, *colour* an object's colour never
shown. A *concept* or *flag* that was never shown cannot be known: a figure above chance there
would mean a leak. The dense model is trained for as many CPU-seconds, as `wudao.laptop-dense`. A
painting is right when, of all 3,970 drawings of the style, the wanted one is
nearest in pixels (one try). What the text is worth is how many nats a code it saves. Intervals are
95 %, over emoji.
"""
WUDAO_COLUMNS = {
    "pictures back from their codes": ("tokenizer, dB", "{:.1f}"),
    "caption exact": ("caption exact", "{:.2f}"),
    "painting retrieved first": ("painting right", "{:.2f}"),
    "what the text is worth": ("text is worth, nats a code", "{:.2f}"),
}


ROBOT_HEAD = """# Loopwright and RoboOS 2.0, side by side

Written by `make results` from the results of `make bench NAME=robot_os` and `NAME=robot_stop`,
where the intervals, the machine and its load are.

The same stub of a model, which answers at once, and the same skills that do nothing, in turns in
one run. *One process*: coordinator, HTTP and robots together; *a process a robot*: over Zenoh;
*graph given*: the client sends the graph, no model is asked. RoboOS is its branch `stand-alone`
(c79c9b9) with the one-line fix without which it plans nothing. Ours syncs every order to the disk
before it is sent, and looks at the world after every skill; RoboOS does neither."""

STOP_HEAD = """## From a press of stop to every robot's motors

Four robots of the simulated warehouse jog, with physics; two processes spin beside them. A press
counts until the last of the four drives has told its motors to be in the safe state."""


def robot_page() -> None:
    """Write the page of the robots' operating system."""
    result = json.loads((RESULTS / "robot_os.json").read_text())
    parts = [ROBOT_HEAD, said_of_load(result), by_system(result["measurements"])]
    parts += ["\n".join(f"- {note}" for note in result["notes"])] if result["notes"] else []
    if (RESULTS / "robot_stop.json").exists():
        stop = json.loads((RESULTS / "robot_stop.json").read_text())
        parts += [STOP_HEAD, said_of_load(stop), by_system(stop["measurements"])]
        parts.append("\n".join(f"- {note}" for note in stop["notes"]))
    (PAGES / "robot.md").write_text("\n\n".join(parts) + "\n")


def said_of_load(result: Mapping[str, Any]) -> str:
    """Return how busy the machine was."""
    start, end = (result["load_average"][at][0] for at in ("at_start", "at_end"))
    cores = result["machine"]["cores"]
    return f"Load average {start:g} at the start, {end:g} at the end, on {cores} cores."


def by_system(measurements: Sequence[Mapping[str, Any]]) -> str:
    """Return what was measured down, and of whom across; what misses its target in bold."""
    cells: dict[str, dict[str, str]] = {}
    systems: list[str] = []
    for m in measurements:
        system, mark, metric = m["metric"].partition(": ")
        if not mark:
            system, metric = "all", m["metric"]
        systems += [system] if system not in systems else []
        value = f"{m['value']:.3g} {m['unit']}"
        row = cells.setdefault(metric, {"target": ""})
        row[system] = f"**{value}**" if m["holds"] is False else value
        row["target"] = m["target"] or row["target"]
    lines = ["| | " + " | ".join([*systems, "target"]) + " |", "|---" * (len(systems) + 2) + "|"]
    for metric, row in cells.items():
        found = (row.get(name, "") for name in (*systems, "target"))
        lines.append(f"| {metric} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def wudao_page() -> None:
    """Write the page of the text-picture model."""
    result = json.loads((RESULTS / "wudao.json").read_text())
    parts = [WUDAO_HEAD]
    parts.append(
        "![names, true pictures, paintings, nearest learned pictures](../images/gallery.png)"
    )
    parts.append("Random items of the lists; `loopwright gallery MODEL` makes a page of them.")
    for arm in dict.fromkeys(c["arm"] for c in result["details"]):
        mine = [c for c in result["details"] if c["arm"] == arm]
        parts += [f"## {arm.capitalize()}", wudao_table(mine)]
    missed = [m for m in result["measurements"] if m["holds"] is False]
    held = [m for m in result["measurements"] if m["holds"]]
    parts.append("## Targets")
    parts.append(
        "\n".join(
            f"- {m['metric']}: {m['value']:.2f} {m['unit']}, wanted {m['target']}"
            + ("" if m["holds"] else ": **missed**")
            for m in [*missed, *held]
        )
    )
    parts += ["## Notes", "\n".join(f"- {note}" for note in result["notes"])]
    (PAGES / "wudao.md").write_text("\n\n".join(parts) + "\n")


def wudao_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return kinds down, scores across."""
    head = ["shown", "n", *(title for title, _ in WUDAO_COLUMNS.values())]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for cell in cells:
        row = [cell["kind"], str(next(iter(cell["scores"].values()))["groups"])]
        for name, (_, style) in WUDAO_COLUMNS.items():
            score = cell["scores"][name]
            low, high = style.format(score["low"]), style.format(score["high"])
            row.append(f"{style.format(score['value'])} ({low} to {high})")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def video_page() -> None:
    """Write the page and the plot of the video claim."""
    result = json.loads((RESULTS / "video_gain.json").read_text())
    cells = result["details"]
    coverages = list(dict.fromkeys(c["coverage"] for c in cells))
    parts = [VIDEO_HEAD]
    for coverage in coverages:
        mine = [c for c in cells if c["coverage"] == coverage]
        plot_video(mine, PAGES / f"video-{coverage}.png")
        parts += [
            f"## {coverage.capitalize()} coverage",
            f"![success by task and arm, {coverage} coverage](video-{coverage}.png)",
            video_table(mine),
            claims(result, coverage),
        ]
    parts += ["## Notes", "\n".join(f"- {note}" for note in result["notes"])]
    (PAGES / "video.md").write_text("\n\n".join(parts) + "\n")


def video_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return tasks down, arms across."""
    tasks = list(dict.fromkeys(c["task"] for c in cells))
    arms = [a for a in ARM_STYLE if any(c["arm"] == a for c in cells)]
    lines = ["| task | " + " | ".join(arms) + " |", "|---" * (len(arms) + 1) + "|"]
    for task in tasks:
        row = [task]
        for arm in arms:
            rates = rates_of(cells, task, arm)
            draws = ", ".join(f"{r:.2f}" for r in rates)
            row.append(f"{np.mean(rates):.2f} ({draws})" if rates else "")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def rates_of(cells: Sequence[Mapping[str, Any]], task: str, arm: str) -> list[float]:
    """Return the success of every draw."""
    mine = [c for c in cells if (c["task"], c["arm"]) == (task, arm)]
    return [c["successes"] / c["trials"] for c in sorted(mine, key=lambda c: c["draw"])]


def claims(result: Mapping[str, Any], coverage: str) -> str:
    """Return the comparisons with cloning as a table."""
    lines = [
        "| compared on the same tasks and draws | value | 95 % | cells | target |",
        "|---" * 5 + "|",
    ]
    for m in result["measurements"]:
        about = m["metric"].removeprefix(f"{coverage}: ")
        if about == m["metric"] or ": " not in about:
            continue
        interval = "" if not m["interval"] else "{:.2f} to {:.2f}".format(*m["interval"])
        held = "" if m["holds"] is None else ", holds" if m["holds"] else ", **missed**"
        lines.append(
            f"| {about}; {m['compared_with']} | {m['value']:.2f} | {interval} | {m['n']} | "
            f"{m['target']}{held} |"
        )
    return "\n".join(lines)


def plot_video(cells: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a line a task, a mark an arm, a small one a draw."""
    tasks = list(dict.fromkeys(c["task"] for c in cells))
    figure, axes = plt.subplots(figsize=(7.2, 0.5 * len(tasks) + 1.3), layout="constrained")
    for row, task in enumerate(reversed(tasks)):
        axes.axhline(row, color="#e6e8eb", linewidth=1, zorder=0)
        for number, (arm, (shape, colour)) in enumerate(ARM_STYLE.items()):
            rates = rates_of(cells, task, arm)
            if not rates:
                continue
            at = row + 0.24 - 0.09 * number
            axes.plot(rates, [at] * len(rates), ".", color=colour, markersize=4, alpha=0.55)
            size = 13 if shape == "|" else 7
            axes.plot(np.mean(rates), at, shape, color=colour, markersize=size, clip_on=False)
    axes.set_yticks(range(len(tasks)), list(reversed(tasks)))
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(
        "success at gate starts (large: mean of the draws, small: one draw of 50 starts)"
    )
    shown = {c["arm"] for c in cells}
    handles = [
        Line2D([], [], marker=shape, color=colour, linestyle="", markersize=8, label=arm)
        for arm, (shape, colour) in ARM_STYLE.items()
        if arm in shown
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    finish(figure, axes, path)


def loop_page() -> None:
    """Write the page and the plot of the loop claim."""
    result = json.loads((RESULTS / "loop_gain.json").read_text())
    plot_loop(result["details"], PAGES / "loop.png")
    columns = (
        "seed",
        "round",
        "decision",
        "sealed success",
        "demonstrations",
        "videos",
        "fit CPU-s",
    )
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for s in result["details"]:
        values = (
            s["seed"],
            "clone" if s["round"] < 0 else s["round"],
            "" if s["round"] < 0 else s["decision"],
            f"{s['successes']} of {s['trials']}",
            s["demonstrations"],
            s["videos"],
            f"{s['fit_cpu_s']:.0f}",
        )
        lines.append("| " + " | ".join(map(str, values)) + " |")
    notes = "\n".join(f"- {note}" for note in result["notes"])
    parts = [LOOP_HEAD, "![sealed success by round](loop.png)", "\n".join(lines), notes]
    (PAGES / "loop.md").write_text("\n\n".join(parts) + "\n")


def plot_loop(standings: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw success against rounds, a line a seed, the clone as a mark at the end."""
    figure, axes = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    seeds = list(dict.fromkeys(s["seed"] for s in standings))
    for number, (seed, colour) in enumerate(
        zip(seeds, (BLUE, RUST, GREEN, OCHRE, INK), strict=False)
    ):
        mine = [s for s in standings if s["seed"] == seed]
        rounds = [s for s in mine if s["round"] >= 0]
        x = [s["round"] + 0.07 * number for s in rounds]  # equal lines would hide each other
        y = [s["successes"] / s["trials"] for s in rounds]
        axes.step(x, y, where="post", color=colour, linewidth=1.6, label=f"seed {seed}")
        earned = [
            (a, b) for a, b, s in zip(x, y, rounds, strict=True) if s["decision"] == "promote"
        ]
        axes.plot(*zip(*earned, strict=True), "o", color=colour, markersize=7)
        clone = next(s for s in mine if s["round"] < 0)
        rate = clone["successes"] / clone["trials"]
        axes.plot(x[-1] + 0.4, rate, "x", color=colour, markersize=8, markeredgewidth=2)
    axes.set_xlabel("round (disc: an earned promotion; cross: cloning with the same CPU time)")
    axes.set_ylabel("success at 50 sealed starts")
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlim(-0.1, max(s["round"] for s in standings) + 1.1)
    axes.legend(frameon=False, loc="lower right")
    finish(figure, axes, path)


def finish(figure: Figure, axes: Axes, path: Path) -> None:
    """Give a figure the house's look and write it."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, colors=INK)
    axes.xaxis.label.set_color(INK)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Write what there are results for."""
    PAGES.mkdir(exist_ok=True)
    plt.rcParams.update({"font.size": 10, "font.family": "sans-serif"})
    if (RESULTS / "video_gain.json").exists():
        video_page()
    if (RESULTS / "loop_gain.json").exists():
        loop_page()
    if (RESULTS / "wudao.json").exists():
        wudao_page()
    instructions_page.write_page(RESULTS, PAGES / "instructions.md")
    if (RESULTS / "robot_os.json").exists():
        robot_page()


if __name__ == "__main__":
    main()
