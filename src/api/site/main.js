// The page: what is known, which view shows it, and whether it is still true.

import { get, getPolicies, setToken, Stream, token } from './api.js';
import { Fleet, rank } from './fleet.js';
import { askForToken } from './orders.js';
import { PolicyView } from './policy.js';
import { ago, clock, count, el, now, say, setClock, span, tick } from './words.js';

const STATUS = 5_000; // Between two looks at the daemon itself.
const STALE = 20_000; // A look that is older than this says nothing of now.

const byId = (id) => document.getElementById(id);
const policies = new Map();
const texts = new Map();
const changed = new Set();
let view = null;
let frame = 0;
let connection = { state: 'connecting', last: null, why: '' };
let daemon = null;
let looked = 0;

function hear(kind, data, moment) {
  if (moment) setClock(moment);
  if (kind === 'policy') take(JSON.parse(data), data);
  else if (kind === 'removed') forget(JSON.parse(data).name);
}

function take(policy, text) {
  // A stream that begins anew tells everything once more.
  if (texts.get(policy.name) === text) return;
  announce(policies.get(policy.name), policy);
  policies.set(policy.name, policy);
  texts.set(policy.name, text);
  touch(policy.name);
}

function forget(name) {
  policies.delete(name);
  texts.delete(name);
  touch(name);
}

/** Only what a listener would want to be interrupted for. */
function announce(before, after) {
  if (!before) return;
  const [was, is] = [before, after].map((policy) => policy.troubles[0]?.kind);
  if (is && is !== was) say(`${after.name}: ${is}`);
  else if (was && !is) say(`${after.name} is out of trouble`);
}

function touch(name) {
  changed.add(name);
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    view?.update(changed);
    changed.clear();
  });
}

function listen(state, last, why = '') {
  const before = connection;
  connection = { state, last, why };
  if (state === before.state && why === before.why) return;
  showConnection();
  if (before.state !== 'connecting' && state !== before.state) say(byId('connection').textContent);
  if (state === 'live') look();
}

function showConnection() {
  const { state, last, why } = connection;
  const pill = byId('connection');
  const words = { live: 'Live', connecting: 'Connecting', lost: 'Connection lost', denied: 'Token needed' };
  pill.className = `pill ${state}`;
  pill.textContent = words[state];
  document.body.classList.toggle('stale', state === 'lost' && policies.size > 0);
  const notices = [];
  if (state === 'lost') {
    const since = last
      ? ['Connection lost since ', clock(new Date(last).toISOString()), ` (${span(Date.now() - last)}). `]
      : [];
    const stale = policies.size > 0 && 'What is shown is as old as that. ';
    notices.push(notice('bad', ...since, stale, `${why} Trying again.`));
  }
  if (state === 'denied') {
    const enter = el('button', { type: 'button', onclick: changeToken }, 'Enter a token');
    notices.push(notice('bad', `Setpoint does not answer: ${why}. `, enter));
  }
  byId('notices').replaceChildren(...notices, ...(daemon && state === 'live' ? daemonNotices(daemon) : []));
}

const notice = (kind, ...children) => el('p', { class: `notice ${kind}` }, ...children);

function daemonNotices(status) {
  const notices = [];
  if (!status.ready) notices.push(notice('bad', `Not ready: ${status.not_ready_because}.`));
  const refused = status.configuration.reload_error;
  if (refused) {
    const text = 'The last reload was refused, so the configuration before it is still in force:';
    notices.push(el('div', { class: 'notice bad' }, text, el('pre', {}, refused)));
  }
  const { freeze } = status.orders;
  if (freeze && Date.parse(freeze.until) > now()) {
    const scope = { both: '', 'scale-in': ' for scale-in', 'scale-out': ' for scale-out' }[freeze.scope];
    const text = [
      `All policies are frozen${scope} by ${freeze.by}: ${freeze.reason}. It ends `,
      ago(freeze.until),
      '.',
    ];
    notices.push(notice('warn', ...text));
  }
  return notices;
}

/** Looks at the daemon, and at the list where a removal was missed. */
async function look() {
  if (connection.state === 'denied') return;
  try {
    daemon = await get('/api/v1/status');
    looked = Date.now();
    if (daemon.policies !== policies.size && connection.state === 'live') await compare();
    const { file, loaded } = daemon.configuration;
    byId('about').replaceChildren(
      `Setpoint ${daemon.version}, started `,
      ago(daemon.started),
      `. Configuration: ${file}, in force since `,
      clock(loaded),
      '.',
    );
  } catch {
    // The stream tells of a connection that is lost.
  }
  showConnection();
}

async function compare() {
  const list = await getPolicies();
  const names = new Set(list.map((policy) => policy.name));
  [...policies.keys()].filter((name) => !names.has(name)).forEach(forget);
  list.filter((policy) => !policies.has(policy.name)).forEach((policy) => take(policy, ''));
}

function sum() {
  const all = [...policies.values()];
  const troubled = all.filter((policy) => rank(policy) === 0).length;
  document.title = troubled ? `(${troubled}) Setpoint: ${troubled} in trouble` : 'Setpoint';
  const words = troubled ? el('strong', { class: 'bad' }, `${troubled} in trouble`) : el('span', {}, 'none in trouble');
  byId('sum').replaceChildren(...(all.length ? [count(all.length, 'policy', 'policies'), ', ', words] : []));
}

function route() {
  const name = location.hash.match(/^#\/policies\/(.+)$/)?.[1];
  if (location.hash === '#main') return;
  view?.close();
  const main = byId('main');
  const first = view === null;
  view = name ? new PolicyView(decodeURIComponent(name), policies) : new Fleet(policies);
  main.replaceChildren(view.element);
  if (!first) main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

async function changeToken() {
  const entered = await askForToken(Boolean(token()));
  if (entered === null) return;
  setToken(entered);
  showToken();
  if (!entered) {
    [...policies.keys()].forEach(forget);
    daemon = null;
  }
  stream.restart();
}

function showToken() {
  byId('token').textContent = token() ? 'Token ✓' : 'Token …';
}

byId('token').addEventListener('click', changeToken);
window.addEventListener('hashchange', route);
window.addEventListener('token', showToken);
showToken();
route();
const stream = new Stream(hear, listen);
setInterval(look, STATUS);
setInterval(() => {
  tick();
  sum();
  if (connection.state === 'lost') showConnection();
  else if (connection.state === 'live' && looked && Date.now() - looked > STALE) look();
}, 1000);
