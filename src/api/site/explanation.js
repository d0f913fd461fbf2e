// Why: an evaluation from top to bottom, and what came of it, in words.

import { digits, el } from './words.js';

/** Why there is no answer, in the words of the API. */
export const said = (error) => el('p', { class: 'muted' }, error.message);

/** The bounds of an override. */
export function bounds({ floor, cap }) {
  if (floor !== null && floor === cap) return `exactly ${floor}`;
  return [floor === null ? null : `at least ${floor}`, cap === null ? null : `at most ${cap}`]
    .filter(Boolean)
    .join(' and ');
}

/** The evaluation from top to bottom. `texts` are its reasons as `[stage, sentence]`. */
export function explanation({ recommendations, stages, observation }, texts) {
  const head = (...names) =>
    el(
      'thead',
      {},
      el(
        'tr',
        {},
        names.map((name) => el('th', { scope: 'col' }, name)),
      ),
    );
  const cell = (text, kind = null) => el('td', { class: kind }, text);
  const asked = recommendations.map(({ metric, value, target, demand, rounded }) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row' }, metric),
      cell(digits(value), 'number'),
      cell(digits(target), 'number'),
      cell(demand === null ? '–' : digits(demand), 'number'),
      cell(String(rounded), 'number'),
    ),
  );
  const parts = [];
  if (observation.group) {
    const { desired, in_service: service, warm, pending, min, max } = observation.group;
    parts.push(
      el(
        'p',
        {},
        `The group: ${desired} desired, ${service} in service (${warm} warm), ${pending} pending; its bounds are ${min} to ${max}.`,
      ),
    );
  }
  if (asked.length > 0) {
    parts.push(
      el(
        'table',
        { class: 'numbers' },
        el('caption', {}, 'What each metric asks for'),
        head('Metric', 'Measured', 'Target', 'Demand', 'Asks for'),
        el('tbody', {}, asked),
      ),
    );
  }
  const rows = stages.map((stage) => {
    const says = texts.filter(([name]) => name === stage.stage).map(([, text]) => el('div', {}, text));
    const kind = stage.in !== stage.out ? 'changed' : says.length ? null : 'silent';
    return el(
      'tr',
      { class: kind },
      el('th', { scope: 'row' }, stage.stage),
      cell(String(stage.in), 'number'),
      cell(String(stage.out), 'number'),
      cell(says),
    );
  });
  if (rows.length > 0) {
    parts.push(
      el(
        'table',
        { class: 'numbers stages' },
        el('caption', {}, 'Stage by stage, in instances'),
        head('Stage', 'In', 'Out', 'Says'),
        el('tbody', {}, rows),
      ),
    );
  }
  // Where the group is unknown there are no stages, and yet a reason.
  const stray = texts.filter(([name]) => !stages.some((stage) => stage.stage === name));
  return [...parts, ...stray.map(([, text]) => el('p', {}, text))];
}

/** What was decided, and what became of it where that is not what was wanted. */
export function verdict(decision, outcome) {
  if (decision?.action !== 'scale') return el('strong', {}, 'Hold');
  const sign = decision.to > decision.from ? '▲ ' : '▼ ';
  const failed = { rejected: 'refused', unknown: 'outcome unknown' }[outcome];
  return el(
    'strong',
    {},
    el('span', { 'aria-hidden': true }, sign),
    `Scale ${decision.from} → ${decision.to}`,
    failed ? el('span', { class: 'bad' }, ` ${failed}`) : null,
  );
}
