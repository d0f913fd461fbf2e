// Asks the API, and listens to it. The token stays in this tab: session storage ends with it, and nothing else sees it.

const KEY = 'setpoint-token';
const SILENCE = 40_000; // The server sends something every 15 s.
const LONGEST_PAUSE = 30_000;

export const token = () => sessionStorage.getItem(KEY);

export function setToken(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

/** Why a request was not fulfilled, in the words of the API. */
class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const headers = (more = {}) => (token() ? { ...more, Authorization: `Bearer ${token()}` } : more);

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem(0, 'Setpoint can’t be reached.');
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.detail ?? `Setpoint answered with ${response.status}.`);
}

/** The answer to a question. */
export async function get(path) {
  return (await send(path, { headers: headers() })).json();
}

/** The answer to an order. */
export async function post(path, body) {
  const options = {
    method: 'POST',
    headers: headers({ 'Content-Type': 'application/json' }),
    body: JSON.stringify(body),
  };
  return (await send(path, options)).json();
}

/** All policies in short, page by page. */
export async function getPolicies() {
  const all = [];
  for (let next = null, part = ''; ; part = `?after=${encodeURIComponent(next)}`) {
    const page = await get(`/api/v1/policies${part}`);
    all.push(...page.policies);
    next = page.next;
    if (next === null) return all;
  }
}

export const path = (name, rest = '') => `/api/v1/policies/${encodeURIComponent(name)}${rest}`;

/**
 * Listens to events until the page is gone, and connects again whenever that ends: `EventSource` can't send a token.
 * `heard` is given each event; `state` is told 'live', 'lost' or 'denied', with when something was heard last and why.
 */
export class Stream {
  #aborter = null;
  #wake = () => {};
  #last = null;
  #anew = false;

  constructor(heard, state) {
    this.heard = heard;
    this.state = state;
    this.#run();
  }

  /** Begins anew at once, with the token of now. */
  restart() {
    this.#anew = true;
    this.#aborter?.abort();
    this.#wake();
  }

  async #run() {
    for (let failures = 0; ;) {
      try {
        await this.#listen(() => {
          failures = 0;
        });
        failures = 0;
      } catch (error) {
        if (!this.#anew) {
          const denied = error.status === 401 || error.status === 403;
          const why = error instanceof Problem ? error.message : 'Nothing more was heard.';
          this.state(denied ? 'denied' : 'lost', this.#last, why);
          failures += 1;
        }
      }
      // The server ends every stream after a while; that is no failure.
      if (failures > 0 && !this.#anew)
        await this.#pause(Math.min(LONGEST_PAUSE, 500 * 2 ** failures) * (0.75 + Math.random() / 2));
    }
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, milliseconds);
    });
  }

  async #listen(opened) {
    this.#anew = false;
    const aborter = new AbortController();
    this.#aborter = aborter;
    let watchdog;
    const alive = () => {
      this.#last = Date.now();
      clearTimeout(watchdog);
      watchdog = setTimeout(() => aborter.abort(), SILENCE);
    };
    watchdog = setTimeout(() => aborter.abort(), SILENCE);
    try {
      const response = await send('/api/v1/events', { headers: headers(), signal: aborter.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        alive();
        opened();
        this.state('live', this.#last);
        const frames = (rest + value).split('\n\n');
        rest = frames.pop();
        frames.forEach((frame) => this.#hear(frame));
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  #hear(frame) {
    const fields = {};
    for (const line of frame.split('\n')) {
      const colon = line.indexOf(':');
      // A line that begins with a colon is there to keep the connection alive.
      if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    if (fields.data) this.heard(fields.event, fields.data, fields.id);
  }
}
