// What was decided and ordered for a policy, from the journal.

import { get, path } from './api.js';
import { bounds, explanation, said, verdict } from './explanation.js';
import { split } from './fleet.js';
import { ago, clock, el } from './words.js';

const PAGE = 20;

function ordered(given) {
  const what =
    {
      pause: `Pause (${given.scope})`,
      resume: 'Resume',
      override: `Override (${given.order === 'override' ? bounds(given) : ''})`,
      release: 'Release',
      freeze: `Freeze of all (${given.scope})`,
      unfreeze: 'End of the freeze',
    }[given.order] ?? given.order;
  return [el('strong', {}, what), ` by ${given.by}: ${given.reason}`];
}

function entry(item) {
  const time = el('span', { class: 'when' }, clock(item.at), ' ', el('span', { class: 'muted' }, ago(item.at)));
  if (item.event === 'order') return el('li', { class: 'order' }, time, el('p', {}, ordered(item.given)));
  const { decision, because, outcome, error, evaluation } = item;
  const texts = evaluation.reasons.map(({ stage, text, code }) => [stage, text ?? split(code)]);
  const why = el('details', {}, el('summary', {}, 'Why'));
  why.addEventListener('toggle', () => why.childElementCount === 1 && why.append(...explanation(evaluation, texts)));
  const kind = decision.action === 'scale' ? 'scale' : null;
  return el(
    'li',
    { class: kind },
    time,
    el('p', {}, verdict(decision, outcome.outcome), `: ${because}`),
    error ? el('p', { class: 'bad' }, error) : null,
    why,
  );
}

/** What was decided and ordered, newest first, by the page. */
export class Timeline {
  #name;
  #list = el('ol', { class: 'timeline' });
  #more = el('button', { type: 'button', hidden: true, onclick: () => this.#older() }, 'Older');
  #note = el('div', {});
  #seen = new Set();
  #next = null;

  constructor(name) {
    this.#name = name;
    this.element = el(
      'section',
      { 'aria-labelledby': 'timeline-title' },
      el('h2', { id: 'timeline-title' }, 'Decisions and orders'),
      this.#note,
      this.#list,
      this.#more,
    );
  }

  /** Puts what is new on top; what is open stays open. */
  async refresh() {
    try {
      const page = await get(path(this.#name, `/decisions?limit=${PAGE}`));
      const news = page.decisions.filter((item) => this.#isNew(item));
      // So much at once means that something may be missing between.
      if (news.length === PAGE || this.#list.childElementCount === 0) {
        this.#list.replaceChildren();
        this.#seen.clear();
        page.decisions.forEach((item) => this.#isNew(item));
        this.#next = page.next;
        this.#list.append(...page.decisions.map(entry));
      } else {
        this.#list.prepend(...news.map(entry));
      }
      this.#note.replaceChildren(
        ...(this.#list.childElementCount ? [] : [el('p', { class: 'muted' }, 'Nothing yet.')]),
      );
    } catch (error) {
      this.#note.replaceChildren(said(error));
    }
    this.#more.hidden = this.#next === null;
  }

  #isNew(item) {
    const key = `${item.at} ${item.policy} ${item.event} ${item.given?.order ?? ''}`;
    return !this.#seen.has(key) && this.#seen.add(key);
  }

  async #older() {
    const page = await get(path(this.#name, `/decisions?limit=${PAGE}&before=${encodeURIComponent(this.#next)}`)).catch(
      (error) => error,
    );
    if (page instanceof Error) {
      this.#note.replaceChildren(said(page));
      return;
    }
    this.#list.append(...page.decisions.filter((item) => this.#isNew(item)).map(entry));
    this.#next = page.next;
    this.#more.hidden = this.#next === null;
  }
}
