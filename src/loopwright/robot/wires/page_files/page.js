// The page at work: look, hear, show; and the buttons.

import { Refused, ask, events, forgetToken, keepToken, picture, token } from "./door.js";
import { element, keep, say } from "./drawing.js";
import { addEvent } from "./journal.js";
import { condition, drawMap, unseen } from "./map.js";
import { showTasks } from "./tasks.js";

const LOOK_EVERY_MS = 1000;
const PICTURE_EVERY_MS = 1000;
const AGAIN_AFTER_MS = 1500;
const OLD_EVENTS = 150;
const OLD_AFTER_MS = 4000;

const $ = (id) => document.getElementById(id);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const now = {
  fleet: null,
  heardMs: 0,
  trouble: "",
  said: "",
  may: { operate: false, why: "" },
  camera: null,
  session: null,
};

// Looking and hearing -----------------------------------------------------------------------------

async function look() {
  try {
    const fleet = await ask("/fleet");
    const first = now.fleet === null;
    now.fleet = fleet;
    now.heardMs = Date.now();
    now.trouble = "";
    if (first) hear(fleet.number - OLD_EVENTS);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      leave("The fleet does not know this token.");
      return;
    }
    now.trouble = error instanceof Refused ? error.message : "The fleet does not answer.";
  }
  show();
}

async function lookOnAndOn(session) {
  while (now.session === session) {
    if (!document.hidden) await look();
    await pause(LOOK_EVERY_MS);
  }
}

let looking = null;
function lookSoon() {
  looking ??= setTimeout(() => {
    looking = null;
    if (now.session) look();
  }, 120);
}

/** Take in the journal from a number on; where the stream is cut it is taken up again. */
async function hear(since) {
  const session = now.session;
  let last = Math.max(0, since);
  while (now.session === session) {
    try {
      for await (const event of events(last, session.signal)) {
        last = event.number;
        addEvent($("journal"), event);
        lookSoon();
      }
    } catch {
      // The next look says what is wrong.
    }
    await pause(AGAIN_AFTER_MS);
  }
}

async function watch(session) {
  const image = $("camera");
  while (now.session === session) {
    if (now.camera !== null && !document.hidden) {
      const name = now.camera;
      try {
        const blob = await picture(`/cameras/${encodeURIComponent(name)}`);
        if (name !== now.camera) continue;
        const before = image.src;
        image.src = URL.createObjectURL(blob);
        image.alt = `What the camera ${name} sees`;
        image.hidden = false;
        if (before) URL.revokeObjectURL(before);
        say($("camera-said"), "");
      } catch (error) {
        say($("camera-said"), `No picture: ${error.message}`);
        await pause(AGAIN_AFTER_MS);
      }
    }
    await pause(PICTURE_EVERY_MS);
  }
}

// Showing -----------------------------------------------------------------------------------------

function show() {
  const { fleet } = now;
  const silentMs = Date.now() - now.heardMs;
  const old = now.fleet && silentMs > OLD_AFTER_MS;
  const age = old ? ` What is shown is ${Math.round(silentMs / 1000)} s old.` : "";
  const undirected = fleet?.failure && `Nobody directs the fleet: ${fleet.failure}. End it, and start it again.`;
  const unheard = Object.entries(fleet?.unheard ?? {}).map(([why, count]) => `${why} ${count}`).join(", ");
  const bus = unheard && `On the bus, and not heard: ${unheard}`;
  const trouble = [now.said, now.trouble && now.trouble + age, undirected].filter(Boolean).join(" ");
  say($("trouble"), trouble);
  $("trouble").hidden = !trouble;
  $("shown").classList.toggle("old", Boolean(old));
  if (!fleet) return;
  now.may = rights(fleet);
  showStanding(fleet);
  showRights(fleet);
  drawMap($("map"), fleet);
  const missing = unseen(fleet);
  const notSeen = missing.length ? `Not seen yet: ${missing.join(", ")}` : "";
  say($("unseen"), [notSeen, bus].filter(Boolean).join(". "));
  keep($("robots"), fleet.robots, (r) => r.name, makeRobot, updateRobot);
  showCameras(fleet.cameras);
  showTasks($("tasks"), fleet, now.may, changeTask);
  $("no-tasks").hidden = fleet.tasks.length > 0;
}

function rights(fleet) {
  const operate = fleet.may.includes("operate");
  return { operate, why: operate ? "" : `The role ${fleet.role} may only look; this takes the role operate.` };
}

function showStanding(fleet) {
  const alive = fleet.robots.filter((robot) => robot.alive);
  const held = alive.filter((robot) => robot.stopped);
  const open = fleet.tasks.filter((task) => task.status !== "ended").length;
  const atWork = alive.filter((robot) => robot.directed && !robot.stopped);
  const robots = `${atWork.length} of ${fleet.robots.length} robots at work`;
  say($("standing"), `${robots} · ${open} open ${open === 1 ? "task" : "tasks"} · role ${fleet.role}`);
  $("stopped").hidden = !held.length;
  if (!held.length) return;
  const who = held.length === alive.length ? "The fleet is stopped" : `Stopped: ${held.map((r) => r.name).join(", ")}`;
  const why = [...new Set(held.map((robot) => robot.stopped_by))].join("; ");
  const one = held.length === alive.length ? "" : ` ${held[0].name}`;
  $("stopped").replaceChildren(
    element("strong", {}, who),
    ` (${why}). It stays so until somebody has looked into it, and signs: `,
    element("code", {}, `loopwright robot release${one} --note "what was found and done"`),
  );
}

function showRights(fleet) {
  $("rights").hidden = now.may.operate;
  say($("rights"), now.may.operate ? "" : `This token has the role ${fleet.role}: it may look. Asking, cancelling and stopping take the role operate.`);
  for (const button of [$("stop"), $("ask-button"), $("instruction")]) {
    button.disabled = !now.may.operate;
    button.title = now.may.why;
  }
}

function makeRobot(robot) {
  const stop = element("button", { class: "stop small-stop", type: "button" }, "Stop");
  stop.addEventListener("click", () => pressStop(robot.name, stop));
  return element(
    "li",
    {},
    element("div", {}, element("strong", {}, robot.name), " ", element("span", { class: "badge" })),
    element("p", { class: "small doing" }),
    stop,
  );
}

const WORDS = { idle: "○ free", busy: "● at work", stopped: "■ stopped", undirected: "✕ undirected", lost: "✕ lost" };
const BADGES = { idle: "none", busy: "good", stopped: "halt", undirected: "bad", lost: "bad" };

function updateRobot(node, robot) {
  const how = condition(robot);
  node.className = how;
  const badge = node.querySelector(".badge");
  badge.className = `badge ${BADGES[how]}`;
  say(badge, WORDS[how]);
  const because = {
    lost: robot.lost_because,
    stopped: `by ${robot.stopped_by}`,
    undirected: "Nobody directs it: it does nothing more.",
  }[how];
  const running = robot.running.map((r) => `${r.skill} for ${r.task}`).join(", ");
  say(node.querySelector(".doing"), because || running || `can ${robot.skills.join(", ")}`);
  const button = node.querySelector("button");
  button.disabled = !now.may.operate || !robot.alive;
  button.title = !now.may.operate ? now.may.why : robot.alive ? `Stop ${robot.name}` : "It is lost: a stop would not reach it.";
}

function showCameras(names) {
  $("camera-panel").hidden = !names.length;
  if (!names.includes(now.camera)) now.camera = names[0] ?? null;
  const make = (name) => {
    const chip = element("button", { class: "chip", type: "button" }, name);
    chip.addEventListener("click", () => {
      now.camera = name;
      show();
    });
    return chip;
  };
  keep($("camera-names"), names, (n) => n, make, (chip, name) => {
    chip.setAttribute("aria-pressed", String(name === now.camera));
  });
}

// Acting ------------------------------------------------------------------------------------------

async function pressStop(robot, button) {
  button.classList.add("pressed");
  try {
    await ask("/stop", { body: robot ? { robot } : {}, withinMs: 5000 });
    now.said = "";
  } catch (error) {
    now.said = `The stop of ${robot || "all robots"} may not have gone out (${error.message}). Press it again, or use the switch on the wall.`;
  } finally {
    button.classList.remove("pressed");
  }
  await look();
}

async function changeTask(name, task) {
  try {
    await ask(`/tasks/${encodeURIComponent(task)}/${name}`, { body: {} });
    now.said = "";
  } catch (error) {
    now.said = `${task} goes on as it was: ${error.message}`;
  }
  await look();
}

async function askFor(instruction) {
  say($("ask-said"), "");
  try {
    const { task } = await ask("/tasks", { body: { instruction } });
    say($("ask-said"), `Taken on as ${task}.`);
    $("instruction").value = "";
  } catch (error) {
    say($("ask-said"), `Not taken on: ${error.message}`);
  }
  lookSoon();
}

// Coming and leaving ------------------------------------------------------------------------------

function enter() {
  if (!token()) {
    leave("");
    return;
  }
  now.session?.abort();
  Object.assign(now, { fleet: null, heardMs: Date.now(), trouble: "", said: "", session: new AbortController() });
  $("journal").replaceChildren();
  $("door").hidden = true;
  $("fleet").hidden = false;
  lookOnAndOn(now.session);
  watch(now.session);
}

function leave(because) {
  forgetToken();
  now.session?.abort();
  now.session = null;
  say($("door-said"), because);
  $("fleet").hidden = true;
  $("door").hidden = false;
}

$("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken($("token").value);
  $("token").value = "";
  enter();
});
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const instruction = $("instruction").value.trim();
  if (instruction) askFor(instruction);
});
$("stop").addEventListener("click", () => pressStop(null, $("stop")));
$("leave").addEventListener("click", () => leave(""));
addEventListener("hashchange", enter);
enter();
