// One policy: its state, its charts, what was decided and why.

import { get, path } from './api.js';
import { capacities, Chart, signal } from './charts.js';
import { bill } from './cost.js';
import { bounds, explanation, said, verdict } from './explanation.js';
import { badge, reading, split } from './fleet.js';
import { order } from './orders.js';
import { Timeline } from './timeline.js';
import { ago, digits, el } from './words.js';

const ACCOUNTING = 60_000; // Money changes slowly, and each answer reads the journal.
const SETTLING = 1500; // A decision is in the journal a moment after it is told of.

const number = (value) => (value === null || value === undefined ? '?' : String(value));

function fact(label, value, more = null) {
  return el('div', {}, el('dt', {}, label), el('dd', {}, value, more ? el('small', { class: 'muted' }, more) : null));
}

function facts({ group, min, max, metrics, interval }) {
  const [least, most] = group ? [Math.max(min, group.min), Math.min(max, group.max)] : [min, max];
  const warm = group && group.warm < group.in_service ? `${group.warm} warm` : null;
  const healthy = group && group.healthy < group.in_service ? `${group.healthy} healthy` : null;
  return el(
    'dl',
    { class: 'facts' },
    fact('Desired', number(group?.desired), `${least} to ${most}`),
    fact('In service', number(group?.in_service), [warm, healthy].filter(Boolean).join(', ')),
    fact('Pending', number(group?.pending)),
    el(
      'div',
      { class: 'wide' },
      el('dt', {}, `Measured every ${digits(interval)} s`),
      el('dd', {}, metrics.map(reading)),
    ),
  );
}

/** What is in the way, and what operators have ordered. */
function notes(policy) {
  const { troubles, metrics, pause, override } = policy;
  const list = troubles.map(({ kind, says }) => el('p', { class: 'notice bad' }, el('strong', {}, kind), ': ', says));
  for (const metric of metrics.filter((metric) => metric.detail)) {
    list.push(el('p', { class: 'notice bad' }, `The source of ${metric.name} says: ${metric.detail}`));
  }
  if (pause) {
    const what = { both: 'Paused', 'scale-in': 'No scale-in', 'scale-out': 'No scale-out' }[pause.scope];
    list.push(
      el(
        'p',
        { class: 'notice warn' },
        el('strong', {}, what),
        ` by ${pause.by}: ${pause.reason}. It ends `,
        ago(pause.until),
        '.',
      ),
    );
  }
  if (override) {
    const text = ` by ${override.by}: ${override.reason}. It ends `;
    list.push(
      el(
        'p',
        { class: 'notice warn' },
        el('strong', {}, `Overridden to ${bounds(override)}`),
        text,
        ago(override.until),
        '.',
      ),
    );
  }
  return list;
}

export class PolicyView {
  #name;
  #policies;
  #timeline;
  #charts = [];
  #asking = false;
  #again = false;
  #news = null;
  #top = el('div', {});
  #cost = el('div', {});
  #accounted = -Infinity;
  #graphs = el('div', { class: 'charts' });
  #last = el('div', { class: 'explanation' });
  #conditions = el('ul', { class: 'conditions' });

  constructor(name, policies) {
    this.#name = name;
    this.#policies = policies;
    this.#timeline = new Timeline(name);
    const button = (action, text) =>
      el('button', { type: 'button', onclick: () => order(action, this.#policies.get(name) ?? { name }) }, text);
    this.buttons = {
      pause: button('pause', 'Pause …'),
      resume: button('resume', 'Resume …'),
      override: button('override', 'Override …'),
      release: button('release', 'Release …'),
    };
    const section = (id, title, ...content) =>
      el('section', { 'aria-labelledby': id }, el('h2', { id }, title), ...content);
    this.element = el(
      'article',
      { class: 'policy' },
      el('p', { class: 'back' }, el('a', { href: '#/' }, '← All policies')),
      this.#top,
      this.#cost,
      el('div', { class: 'actions', role: 'group', 'aria-label': 'Orders' }, Object.values(this.buttons)),
      section('charts-title', 'The last hours', this.#graphs),
      el(
        'div',
        { class: 'columns' },
        section('now-title', 'The last evaluation', this.#last, el('h3', {}, 'Conditions'), this.#conditions),
        this.#timeline.element,
      ),
    );
    this.#ask();
  }

  update(names) {
    if (names.has(this.#name)) this.#ask();
  }

  close() {
    this.#charts.forEach((chart) => chart.close());
    this.#charts = [];
    this.closed = true;
  }

  /** Asks for everything that is shown, once more where something has changed meanwhile. */
  async #ask() {
    this.#again = true;
    if (this.#asking) return;
    this.#asking = true;
    this.#account();
    while (this.#again && !this.closed) {
      this.#again = false;
      try {
        const [policy, series] = await Promise.all([get(path(this.#name)), get(path(this.#name, '/series'))]);
        if (!this.closed) this.#show(policy, series);
      } catch (error) {
        this.#top.replaceChildren(el('h1', {}, this.#name), said(error));
      }
    }
    this.#asking = false;
  }

  /** Asks what the group came to, once in a while. */
  async #account() {
    if (performance.now() < this.#accounted + ACCOUNTING) return;
    this.#accounted = performance.now();
    const told = await get(path(this.#name, '/cost')).then(bill, said);
    this.#cost.replaceChildren(told);
  }

  #show(policy, series) {
    const { name, asg, region, mode, evaluation, pause, override } = policy;
    this.#top.replaceChildren(
      el('div', { class: 'title' }, el('h1', {}, name), badge(policy)),
      el(
        'p',
        { class: 'muted' },
        `Group ${asg}${region ? ` in ${region}` : ''}, mode ${mode}. `,
        ...(evaluation ? ['Evaluated ', ago(evaluation.at), '.'] : ['Not evaluated yet.']),
      ),
      ...notes(policy),
      facts(policy),
    );
    this.buttons.resume.hidden = !pause;
    this.buttons.release.hidden = !override;
    this.#graph(series);
    this.#explain(policy);
    this.#follow(policy);
  }

  /** Asks for the decisions again where one may have been written down. */
  #follow({ decision, evaluation, last_action, pause, override }) {
    const words = evaluation && [
      evaluation.reasons.map(({ code }) => code),
      evaluation.observation.measurements.map(({ state }) => state),
    ];
    const news = JSON.stringify([decision, words, last_action, pause, override]);
    if (news === this.#news) return;
    setTimeout(() => this.#timeline.refresh(), this.#news === null ? 0 : SETTLING);
    this.#news = news;
  }

  #graph(series) {
    const kinds = [capacities(series), ...series.metrics.map((metric) => signal(series, metric))];
    if (kinds.length !== this.#charts.length) {
      this.#charts.forEach((chart) => chart.close());
      this.#charts = kinds.map(() => new Chart());
      this.#graphs.replaceChildren(...this.#charts.map((chart) => chart.element));
    }
    kinds.forEach((kind, place) => this.#charts[place].show(kind));
  }

  #explain({ evaluation, says, because, conditions, decision }) {
    const texts = (says ?? []).map((reason) => [reason.stage, reason.says]);
    this.#last.replaceChildren(
      el(
        'p',
        { class: 'because' },
        decision ? verdict(decision) : el('strong', {}, 'None yet'),
        because ? `: ${because}` : '',
      ),
      ...(evaluation ? explanation(evaluation, texts) : []),
    );
    // Whether yes is good depends on what is asked.
    const sign = ({ type, status }) =>
      status === 'Unknown'
        ? ['?', 'muted']
        : (status === 'True') === (type !== 'ScalingLimited')
          ? ['✓', 'good']
          : ['✕', 'warn'];
    this.#conditions.replaceChildren(
      ...conditions.map((known) => {
        const [mark, kind] = sign(known);
        const answer = { True: 'yes', False: 'no', Unknown: 'unknown' }[known.status];
        return el(
          'li',
          {},
          el('span', { class: kind, 'aria-hidden': true }, mark),
          ' ',
          el('strong', {}, split(known.type)),
          `: ${answer}, ${known.message}`,
        );
      }),
    );
  }
}
