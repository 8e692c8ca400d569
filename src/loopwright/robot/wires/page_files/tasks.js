// Tasks with their graphs: steps as nodes, what comes after what as arrows.

import { clock, element, keep, say, short, svg } from "./drawing.js";

const WIDTH = 152;
const HEIGHT = 58;
const GAP_X = 24;
const GAP_Y = 14;
const TONES = { succeeded: "good", failed: "bad", unknown: "warn" };
const SIGNS = { good: "✓", bad: "✕", warn: "?", now: "●", wait: "○" };

/** Show tasks, the newest first; `act(name, task)` is called for a button. */
export function showTasks(place, fleet, may, act) {
  const tasks = [...fleet.tasks].reverse();
  keep(place, tasks, (task) => task.id, (task) => card(task, act), (node, task) => update(node, task, may));
}

function card(task, act) {
  const button = (name, word) => {
    const made = element("button", { class: "small-button", "data-act": name, type: "button" }, word);
    made.addEventListener("click", () => act(name, task.id));
    return made;
  };
  return element(
    "article",
    { class: "task", "data-task": task.id },
    element("header", {}, element("h3", {}, task.instruction), element("span", { class: "badge" })),
    element("p", { class: "about small" }),
    element("p", { class: "reason", hidden: true }),
    element("div", { class: "graph" }),
    element("div", { class: "acts" }, button("pause", "Pause"), button("resume", "Go on"), button("cancel", "Cancel")),
    element("details", { class: "attempts" }, element("summary", {}, "Attempts"), element("div")),
  );
}

function update(node, task, may) {
  const find = (query) => node.querySelector(query);
  const tone = task.status === "ended" ? TONES[task.outcome] || "warn" : "now";
  const word = task.refused ? "refused" : task.cancelled ? `cancelled, ${task.outcome}` : task.outcome || task.status;
  find(".badge").className = `badge ${tone}`;
  say(find(".badge"), `${SIGNS[tone]} ${word}`);
  const plans = task.plans > 1 ? `, plan ${task.plans}` : "";
  const planner = task.planner ? `, planned by ${task.planner}${plans}` : "";
  say(find(".about"), `${task.id}, asked ${clock(task.asked_s)} by ${task.by}${planner}`);
  say(find(".reason"), task.reason);
  find(".reason").hidden = !task.reason;
  const able = {
    pause: task.status === "running",
    resume: task.status === "paused",
    cancel: ["planning", "running", "paused"].includes(task.status),
  };
  for (const button of node.querySelectorAll(".acts button")) {
    button.hidden = !able[button.dataset.act];
    button.disabled = !may.operate;
    button.title = may.operate ? "" : may.why;
  }
  const told = JSON.stringify([task.graph, task.attempts]);
  if (node.dataset.told !== told) {
    node.dataset.told = told;
    find(".graph").replaceChildren(...(task.graph ? [graph(task)] : []));
    find(".attempts").hidden = !task.attempts.length;
    find(".attempts > div").replaceChildren(attempts(task));
  }
}

/** Return how a step stands: a tone, and a word. */
export function stepStands(task, step) {
  const tries = task.attempts.filter((attempt) => attempt.step === step.id);
  const last = tries.at(-1);
  const again = tries.length > 1 ? `, try ${tries.length}` : "";
  if (!last) return { tone: "wait", word: "waits", robot: step.robot };
  if (last.outcome === null) return { tone: "now", word: (last.started ? "runs" : "told") + again, robot: last.robot };
  return { tone: TONES[last.outcome], word: last.outcome + again, robot: last.robot };
}

function graph(task) {
  const steps = task.graph.steps;
  const column = new Map();
  const depth = (id) => {
    if (!column.has(id)) {
      const step = steps.find((s) => s.id === id);
      column.set(id, step.after.length ? 1 + Math.max(...step.after.map(depth)) : 0);
    }
    return column.get(id);
  };
  const rows = [];
  const spots = new Map();
  for (const step of steps) {
    const x = depth(step.id);
    const y = (rows[x] = (rows[x] || 0) + 1) - 1;
    spots.set(step.id, { x: x * (WIDTH + GAP_X) + 1, y: y * (HEIGHT + GAP_Y) + 1 });
  }
  const width = rows.length * (WIDTH + GAP_X) - GAP_X + 2;
  const height = Math.max(1, ...rows) * (HEIGHT + GAP_Y) - GAP_Y + 2;
  return svg(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": inWords(task) },
    ...steps.flatMap((step) => step.after.map((before) => arrow(spots.get(before), spots.get(step.id)))),
    ...steps.map((step) => drawnStep(step, spots.get(step.id), stepStands(task, step))),
  );
}

function inWords(task) {
  return task.graph.steps
    .map((step) => `${step.skill} ${Object.values(step.values).join(" ")}: ${stepStands(task, step).word}`)
    .join("; ");
}

function arrow(from, to) {
  const [x0, y0, x1, y1] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x - 1, to.y + HEIGHT / 2];
  const bend = (x1 - x0) / 2;
  return svg("path", {
    class: "arrow",
    d: `M${x0} ${y0} C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`,
    "marker-end": "url(#arrow)",
  });
}

function drawnStep(step, { x, y }, { tone, word, robot }) {
  const values = Object.values(step.values).join(" ");
  return svg(
    "g",
    { class: `step ${tone}`, transform: `translate(${x} ${y})` },
    svg("rect", { width: WIDTH, height: HEIGHT, rx: 7 }),
    svg("text", { class: "skill", x: 11, y: 19 }, short(step.skill, 11)),
    svg("text", { class: "robot-name", x: WIDTH - 11, y: 19, "text-anchor": "end" }, short(robot || "any robot", 11)),
    svg("text", { x: 11, y: 34 }, short(values, 23)),
    svg("text", { class: "state", x: 11, y: 50 }, `${SIGNS[tone]} ${word}`),
    svg("title", {}, `${step.skill} ${values}`),
  );
}

function attempts(task) {
  const rows = task.attempts.map((attempt) =>
    element(
      "tr",
      {},
      element("td", {}, clock(attempt.issued_s)),
      element("td", {}, attempt.robot),
      element("td", {}, `${attempt.skill} ${Object.values(attempt.values).join(" ")}`),
      element("td", {}, attempt.claim || (attempt.outcome === null ? "" : "nothing")),
      element("td", { class: TONES[attempt.outcome] || "" }, attempt.outcome || "runs"),
      element("td", {}, [attempt.reason, attempt.unmet.length ? `not seen: ${attempt.unmet.join(", ")}` : ""].filter(Boolean).join("; ")),
    ),
  );
  const heads = ["time", "robot", "skill", "the robot says", "the world says", "because"];
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows),
  );
}
