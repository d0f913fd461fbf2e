// The fleet: a table with a row for each policy, those in trouble first.

import { ago, count, el, quantity } from './words.js';

// In a table whose rows are grids the roles must be said, since the browser takes them for no table any more.
const COLUMNS = [
  'Policy',
  'State',
  'Measured against target',
  'Desired',
  'In service',
  'Pending',
  'Held back by',
  'Last action',
];

const ORDERS = {
  trouble: ['Trouble first', (policy) => rank(policy)],
  load: ['Load against target', (policy) => -load(policy)],
  action: ['Last action', (policy) => -Date.parse(policy.last_action?.at ?? 0)],
  desired: ['Desired capacity', (policy) => -(policy.desired ?? 0)],
  name: ['Name', () => 0],
};

const LIMITS = { AtMaximum: 'at maximum', AtMinimum: 'at minimum', StepLimited: 'step-limited' };
const PAUSES = { 'scale-in': 'no scale-in', 'scale-out': 'no scale-out' };

const condition = (policy, type) => policy.conditions.find((known) => known.type === type);

/** The highest of what is measured over its target. */
const load = (policy) => Math.max(0, ...policy.metrics.map((metric) => metric.ratio ?? 0));

/** 0: in trouble, 1: an operator has a hand on it, 2: at its maximum, 3: all others, so that rows seldom change places. */
export function rank(policy) {
  if (policy.troubles.length > 0) return 0;
  if (policy.pause || policy.override) return 1;
  return condition(policy, 'ScalingLimited').reason.endsWith('Maximum') ? 2 : 3;
}

/** The policy's state: a sign, a word and how bad it is. */
export function state(policy) {
  const { decision, troubles, mode } = policy;
  if (troubles.length > 0) return ['✕', troubles[0].kind, 'bad'];
  const hindrance = condition(policy, 'AbleToScale');
  if (hindrance.reason === 'Paused' || mode === 'paused') return ['‖', 'paused', 'warn'];
  if (policy.pause) return ['‖', PAUSES[policy.pause.scope] ?? 'paused', 'warn'];
  if (mode === 'observe') return ['◉', 'observing', 'calm'];
  if (decision?.action === 'scale')
    return decision.to > decision.from ? ['▲', 'scaling out', 'act'] : ['▼', 'scaling in', 'act'];
  if (policy.override) return ['⊢', 'overridden', 'warn'];
  const limit = condition(policy, 'ScalingLimited');
  if (limit.status === 'True')
    return ['⊤', LIMITS[limit.reason] ?? 'limited', limit.reason === 'AtMinimum' ? 'calm' : 'warn'];
  return decision ? ['●', 'steady', 'good'] : ['○', 'waiting', 'calm'];
}

export function badge(policy) {
  const [sign, word, kind] = state(policy);
  return el('span', { class: `badge ${kind}` }, el('span', { 'aria-hidden': true }, sign), ` ${word}`);
}

/** What holds the policy back, as a sentence; null where nothing does. */
function holds(policy) {
  const [first] = policy.troubles;
  if (first) return first.says;
  const against = [
    ['AbleToScale', 'False'],
    ['ScalingLimited', 'True'],
    ['ScaleInAllowed', 'False'],
  ];
  const found = against
    .map(([type, status]) => [condition(policy, type), status])
    .find(([known, status]) => known.status === status);
  return found ? found[0].message : null;
}

/** `CapacityPending` as words. */
export const split = (word) => word.replace(/(?<=.)([A-Z])/g, ' $1').toLowerCase();

/** A metric as its name, its reading and a bar whose mark is the target. */
export function reading(metric) {
  const { ratio } = metric;
  const known = ratio !== null && ratio !== undefined;
  const over = known && ratio > 1;
  const name = el('span', { class: 'signal' }, metric.name);
  if (!known) {
    const kind = metric.measurement ? 'bad' : 'muted';
    return el('span', { class: 'metric' }, name, ' ', el('span', { class: kind }, metric.says));
  }
  const each = metric.kind === 'total' ? ' each' : '';
  const says = el(
    'span',
    { class: over ? 'over' : 'value' },
    metric.says.replace(/ an instance \(.* in all\)| on average .*/, ''),
  );
  const bar = el('span', { class: `bar${over ? ' over' : ''}`, 'aria-hidden': true }, el('i'));
  bar.firstChild.style.width = `${Math.min(1.5, Math.max(0, ratio)) / 0.015}%`;
  const relation = over ? ' ▲ above ' : ' of ';
  return el(
    'span',
    { class: 'metric', title: metric.says },
    name,
    ' ',
    says,
    el('span', { class: over ? 'over' : 'muted' }, relation, quantity(metric, metric.target), each),
    bar,
  );
}

function action({ last_action: last }) {
  if (!last) return [el('span', { class: 'muted' }, 'none')];
  const failed = { rejected: 'refused', unknown: 'outcome unknown' }[last.outcome];
  const change = el('span', {}, `${last.from} → ${last.to} `);
  return [
    change,
    el('span', { class: 'muted' }, ago(last.at)),
    failed ? el('span', { class: 'bad' }, ` ${failed}`) : null,
  ];
}

/** What a row shows beside the policy's name. */
function cells(policy) {
  const cell = (label, kind, ...children) => el('td', { role: 'cell', 'data-label': label, class: kind }, ...children);
  const held = holds(policy);
  const number = (label, value) =>
    cell(label, 'number', value === null ? el('span', { class: 'muted' }, '?') : String(value));
  return [
    cell('State', 'state', badge(policy)),
    cell('Measured', 'measured', policy.metrics.map(reading)),
    number('Desired', policy.desired),
    number('In service', policy.in_service),
    number('Pending', policy.pending),
    cell('Held back by', 'held', held ? el('span', { title: held }, held) : el('span', { class: 'muted' }, 'nothing')),
    cell('Last action', 'action', ...action(policy)),
  ];
}

export class Fleet {
  #rows = new Map();
  #policies;
  #body = el('tbody', { role: 'rowgroup' });
  #shown = el('p', { class: 'muted', role: 'status' });
  #filter = el('input', {
    type: 'search',
    id: 'filter',
    placeholder: 'name, group, state …',
    autocomplete: 'off',
    oninput: () => this.#arrange(),
  });
  #order = el(
    'select',
    { id: 'order', onchange: () => this.#arrange() },
    Object.entries(ORDERS).map(([value, [label]]) => el('option', { value }, label)),
  );

  constructor(policies) {
    this.#policies = policies;
    const heads = COLUMNS.map((text, place) =>
      el('th', { role: 'columnheader', scope: 'col', class: place > 2 && place < 6 ? 'number' : null }, text),
    );
    this.element = el(
      'section',
      { 'aria-labelledby': 'fleet-title' },
      el('h1', { id: 'fleet-title', class: 'unseen' }, 'Fleet'),
      el(
        'form',
        { class: 'tools', role: 'search', onsubmit: (event) => event.preventDefault() },
        el('label', {}, 'Filter ', this.#filter),
        el('label', {}, 'Order ', this.#order),
        this.#shown,
      ),
      el(
        'table',
        { role: 'table', class: 'fleet', 'aria-labelledby': 'fleet-title' },
        el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, heads)),
        this.#body,
      ),
    );
    this.update(policies.keys());
  }

  /** Shows what is known now of these policies. */
  update(names) {
    for (const name of names) {
      const policy = this.#policies.get(name);
      if (policy) this.#show(policy);
      else this.#drop(name);
    }
    this.#arrange();
  }

  close() {}

  #show(policy) {
    let shown = this.#rows.get(policy.name);
    if (!shown) {
      const link = el('a', { href: `#/policies/${encodeURIComponent(policy.name)}` }, policy.name);
      const head = el('th', { role: 'rowheader', scope: 'row', class: 'name' }, link);
      shown = el('tr', { role: 'row', 'data-policy': policy.name }, head);
      this.#rows.set(policy.name, shown);
    }
    // The link stays: one that is replaced between a press and its release is never followed, and loses the focus.
    const [head, ...old] = shown.children;
    const [link, group] = head.children;
    group?.remove();
    if (policy.asg !== policy.name) link.after(el('span', { class: 'muted asg' }, policy.asg));
    old.forEach((cell) => cell.remove());
    shown.append(...cells(policy));
    shown.className = state(policy)[2];
  }

  #drop(name) {
    this.#rows.get(name)?.remove();
    this.#rows.delete(name);
  }

  /** Puts the rows in order, moving only those that have to. */
  #arrange() {
    const wanted = this.#filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const text = (policy) =>
      `${policy.name} ${policy.asg} ${policy.mode} ${state(policy)[1]} ${holds(policy) ?? ''}`.toLowerCase();
    const matches = (policy) => wanted.every((word) => text(policy).includes(word));
    const key = ORDERS[this.#order.value][1];
    const chosen = [...this.#policies.values()].filter((policy) => wanted.length === 0 || matches(policy));
    const keyed = chosen.map((policy) => [key(policy), policy.name]);
    keyed.sort(([a, one], [b, other]) => a - b || (one < other ? -1 : 1));
    const focused = document.activeElement;
    let next = this.#body.firstChild;
    for (const [, name] of keyed) {
      const shown = this.#rows.get(name);
      if (shown === next) next = next.nextSibling;
      else this.#body.insertBefore(shown, next);
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
    // A row that is moved loses the focus.
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    const all = this.#policies.size;
    const some = chosen.length === all ? '' : `${chosen.length} of ${count(all, 'policy', 'policies')} shown`;
    const words = all === 0 ? 'No policy is known yet.' : some;
    if (this.#shown.textContent !== words) this.#shown.textContent = words;
  }
}
