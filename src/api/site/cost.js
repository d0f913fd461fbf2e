// What a policy's group came to, in one line.

import { count, digits, el } from './words.js';

const rounded = (number) => number.toLocaleString(undefined, { maximumFractionDigits: number < 100 ? 2 : 0 });

function saved(name, baseline) {
  const share = (100 * baseline.saved_hours) / baseline.instance_hours;
  if (!Number.isFinite(share)) return null;
  return `${digits(Math.abs(share))} % ${share < 0 ? 'more' : 'less'} than ${name}`;
}

/** A bill of the API as a paragraph. */
export function bill({ from, instance_hours, cost, known_hours, unknown_hours, judged_minutes, over_minutes, baselines }) {
  const names = { 'static-at-max': 'always at max', 'static-at-peak': 'always at its peak' };
  const compared = baselines.map((baseline) => saved(names[baseline.name], baseline)).filter(Boolean);
  const money = cost === null ? 'no known price' : `${rounded(cost)} at the price of an instance`;
  const over =
    judged_minutes > 0
      ? `${count(Math.round(over_minutes), 'minute', 'minutes')} over the target`
      : 'not known whether it was over the target';
  const parts = [`${rounded(instance_hours)} instance-hours`, money, ...compared, over];
  if (known_hours === 0) parts.splice(0, parts.length, 'nothing is known yet');
  else if (unknown_hours >= 0.05) parts.push(`unknown for ${rounded(unknown_hours)} h, which is left out`);
  return el('p', { class: 'cost muted' }, `Since ${from.slice(0, 10)} (UTC), an estimate: ${parts.join('; ')}.`);
}
