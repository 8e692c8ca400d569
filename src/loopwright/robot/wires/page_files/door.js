// The way to the fleet. Every request bears the token in a header: it is never part of an address
// that a log could keep, and it is kept for this tab only.

const KEY = "loopwright-token";

/** The fleet answered, and said no. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Return the token of this tab; one behind the # of the address is taken, and wiped there. */
export function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given.trim());
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

export function keepToken(given) {
  sessionStorage.setItem(KEY, given.trim());
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
}

async function send(path, { body, headers = {}, signal } = {}) {
  const answer = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers: { Authorization: `Bearer ${token()}`, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    signal,
  });
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, said.message || `it answered ${answer.status}`);
  }
  return answer;
}

/** Ask the fleet something; with a body it is a POST. */
export async function ask(path, { body, withinMs = 10000 } = {}) {
  return (await send(path, { body, signal: AbortSignal.timeout(withinMs) })).json();
}

/** Return a picture as a blob. */
export async function picture(path) {
  return (await send(path, { signal: AbortSignal.timeout(20000) })).blob();
}

/** Yield the events of the journal after a number, as they come, until the stream is cut. */
export async function* events(since, signal) {
  const answer = await send(`/events?since=${since}`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const line = block.split("\n").find((l) => l.startsWith("data: "));
      if (line) yield JSON.parse(line.slice(6));
    }
  }
}
