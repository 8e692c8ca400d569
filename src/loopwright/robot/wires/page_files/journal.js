// The journal as it is written, the newest line on top.

import { clock, element } from "./drawing.js";

const MOST_LINES = 300;
const TONES = { succeeded: "good", failed: "bad", unknown: "warn" };

/** Add an event on top of a list. */
export function addEvent(list, event) {
  const tone = event.kind.startsWith("stop") || ["robot-lost", "robot-held"].includes(event.kind) ? "bad" : TONES[event.outcome] || "";
  list.prepend(
    element(
      "li",
      { class: `${event.kind.startsWith("task") ? "of-task " : ""}${tone}`, value: event.number },
      element("time", {}, clock(event.time_s)),
      element("span", {}, event.says),
    ),
  );
  while (list.children.length > MOST_LINES) list.lastElementChild.remove();
}
