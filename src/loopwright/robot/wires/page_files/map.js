// The map: everything that has a place, from above, in centimetres.

import { element, short, svg } from "./drawing.js";

const CM = 100;
const OBJECT_CM = 12;
const ROBOT_CM = 34;
const FONT_CM = 15;
const MARGIN_CM = 34;
const OLD_S = 5;
const COLORS = new Set(["red", "blue", "green", "yellow"]);

const at = (thing) => ({ x: thing.position_m[0] * CM, y: -thing.position_m[1] * CM });
const related = (thing, name) => thing.relations[name] || [];

/** Draw things and robots into a place. */
export function drawMap(place, fleet) {
  const seen = fleet.things.filter((thing) => thing.position_m);
  const of = (kind) => seen.filter((thing) => thing.kind === kind);
  const robots = new Map(fleet.robots.map((robot) => [robot.name, robot]));
  const holders = new Map(
    fleet.things.flatMap((t) => related(t, "holding").map((held) => [held, t])),
  );
  const labels = [];
  const picture = svg(
    "svg",
    { viewBox: box(seen), role: "img", "aria-label": described(fleet) },
    ...of("station").map((thing) => station(thing, labels)),
    ...of("surface").map((thing) => surface(thing, labels)),
    ...[...of("robot"), ...of("object")].map(doubt),
    ...of("robot").map((thing) => drawnRobot(thing, robots.get(thing.name), labels)),
    ...of("object").map((thing) => object(thing, holders.get(thing.name), labels)),
    ...placed(labels),
  );
  place.replaceChildren(picture);
}

/** Return the names of what nobody has seen. */
export function unseen(fleet) {
  return fleet.things.filter((thing) => !thing.position_m).map((thing) => thing.name);
}

function described(fleet) {
  return fleet.things
    .map((t) => `${t.name}: ${Object.values(t.relations).flat().join(", ") || "somewhere"}`)
    .join("; ");
}

function box(things) {
  const edges = things.map((thing) => ({ ...at(thing), r: (thing.radius_m || 0.3) * CM }));
  if (!edges.length) return "0 0 100 100";
  const left = Math.min(...edges.map((e) => e.x - e.r)) - MARGIN_CM;
  const right = Math.max(...edges.map((e) => e.x + e.r)) + MARGIN_CM;
  const top = Math.min(...edges.map((e) => e.y - e.r)) - MARGIN_CM;
  const bottom = Math.max(...edges.map((e) => e.y + e.r)) + MARGIN_CM;
  return [left, top, right - left, bottom - top].map((v) => v.toFixed(0)).join(" ");
}

function station(thing, labels) {
  const { x, y } = at(thing);
  const r = thing.radius_m * CM;
  labels.push({ text: thing.name, kind: "station", fixed: true, x, y: y - r - 8, anchor: "middle" });
  return svg("circle", { class: "station", cx: x, cy: y, r });
}

function surface(thing, labels) {
  const { x, y } = at(thing);
  const [width, height] = [thing.size_m[0] * CM, thing.size_m[1] * CM];
  labels.push({ text: thing.name, kind: "surface", fixed: true, x, y: y + height / 2 + FONT_CM, anchor: "middle" });
  return svg("rect", { class: "surface", x: x - width / 2, y: y - height / 2, width, height, rx: 3 });
}

/** Where something is with 95 %, where that is more than its mark. */
function doubt(thing) {
  const r = 2 * (thing.sigma_m || 0) * CM;
  if (r <= (thing.kind === "robot" ? ROBOT_CM : OBJECT_CM) / 2) return null;
  const { x, y } = at(thing);
  return svg("circle", { class: "doubt", cx: x, cy: y, r });
}

function drawnRobot(thing, robot, labels) {
  const { x, y } = at(thing);
  const half = ROBOT_CM / 2;
  const moves = thing.heading_rad !== null;
  const body = moves
    ? svg("path", {
        d: `M${-half} ${-half} H${half * 0.35} L${half * 1.25} 0 L${half * 0.35} ${half} H${-half} Z`,
        transform: `rotate(${((-thing.heading_rad * 180) / Math.PI).toFixed(1)})`,
      })
    : svg("circle", { r: half });
  const held = related(thing, "holding");
  const text = held.length ? `${thing.name} holds ${held.join(", ")}` : thing.name;
  labels.push({ text: text + since(thing), kind: "robot", x, y, reach: (moves ? 1.25 : 1) * half + 6 });
  const classes = ["robot", robot ? condition(robot) : "lost"].join(" ");
  return svg(
    "g",
    { class: classes, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
    body,
    svg("title", {}, told(thing)),
  );
}

function object(thing, holder, labels) {
  const { x, y } = at(thing);
  const half = OBJECT_CM / 2;
  const color = COLORS.has(thing.color) ? `is-${thing.color}` : "is-plain";
  const old = since(thing);
  const text = holder ? "" : `${thing.name}${old}`;
  labels.push({ text, kind: "object", x, y, reach: half + (holder ? half : 4) });
  return svg(
    "g",
    { class: `object ${color}${old ? " old" : ""}` },
    holder ? svg("circle", { class: "held", cx: x, cy: y, r: OBJECT_CM }) : null,
    svg("rect", { x: x - half, y: y - half, width: OBJECT_CM, height: OBJECT_CM, rx: 2 }),
    svg("title", {}, told(thing)),
  );
}

function told(thing) {
  if (thing.sigma_m === null) return `${thing.name}: built in here`;
  const sure = `±${(2 * thing.sigma_m * CM).toFixed(1)} cm`;
  return `${thing.name}: ${sure}, seen by ${thing.seen_by} ${ago(thing.unseen_for_s)}`;
}

/** Say when something was seen, where that is a while ago: it may be elsewhere. */
function since(thing) {
  return thing.unseen_for_s > OLD_S ? `, ${ago(thing.unseen_for_s)}` : "";
}

function ago(seconds) {
  return seconds < 90 ? `${seconds.toFixed(0)} s ago` : `${(seconds / 60).toFixed(0)} min ago`;
}

/** How a robot stands, as a class. */
export function condition(robot) {
  if (!robot.alive) return "lost";
  if (robot.stopped) return "stopped";
  if (!robot.directed) return "undirected";
  return robot.running.length ? "busy" : "idle";
}

/** Put labels where they hide nothing: beside, above or below, as far as there is room. */
function placed(labels) {
  const taken = labels.filter((l) => !l.fixed).map((l) => area(l.x, l.y, l.reach * 1.4, l.reach * 1.4));
  const drawn = [];
  for (const label of [...labels].sort((a, b) => (b.fixed || 0) - (a.fixed || 0))) {
    if (!label.text) continue;
    const text = short(label.text, 34);
    const width = text.length * FONT_CM * 0.56;
    const spot = label.fixed ? label : free(label, width, taken);
    const middle = { middle: 0, start: width / 2, end: -width / 2 }[spot.anchor];
    taken.push(area(spot.x + middle, spot.y - FONT_CM * 0.35, width, FONT_CM));
    drawn.push(svg("text", { class: `label ${label.kind}`, x: spot.x, y: spot.y, "text-anchor": spot.anchor }, text));
  }
  return drawn;
}

function free(label, width, taken) {
  const { x, y, reach } = label;
  const rise = FONT_CM * 0.35;
  const spots = [
    { x: x + reach, y: y + rise, anchor: "start" },
    { x: x - reach, y: y + rise, anchor: "end" },
    { x, y: y - reach - 2, anchor: "middle" },
    { x, y: y + reach + FONT_CM * 0.8, anchor: "middle" },
    { x: x + reach, y: y - reach - 2, anchor: "start" },
    { x: x + reach, y: y + reach + FONT_CM * 0.8, anchor: "start" },
    { x: x - reach, y: y - reach - 2, anchor: "end" },
    { x: x - reach, y: y + reach + FONT_CM * 0.8, anchor: "end" },
    { x, y: y - reach - 2 - FONT_CM, anchor: "middle" },
    { x, y: y + reach + FONT_CM * 1.8, anchor: "middle" },
  ];
  const covers = (spot) => {
    const middle = { middle: 0, start: width / 2, end: -width / 2 }[spot.anchor];
    const own = area(spot.x + middle, spot.y - rise, width, FONT_CM);
    return taken.reduce((sum, other) => sum + overlap(own, other), 0);
  };
  return spots.reduce((best, spot) => (covers(spot) < covers(best) ? spot : best));
}

function area(x, y, width, height) {
  return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 };
}

function overlap(a, b) {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return width > 0 && height > 0 ? width * height : 0;
}
