// Elements, numbers and times for people. Whatever came from elsewhere becomes text, never markup.

/** An element: attributes by name, `on…` a listener, a value of `false` or `null` left out; children are nodes or text. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true && !name.startsWith('aria-') ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** About three digits, and no zeros behind them. */
export function digits(number) {
  const size = Math.abs(number);
  const decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
  return String(Number(number.toFixed(decimals)));
}

/** A value in the metric's unit, in the words of the API. */
export function quantity({ kind, target }, value) {
  if (value === null || value === undefined) return 'unknown';
  if (kind === 'utilization') return `${digits((value * 100) / (target > 1.5 ? 100 : 1))} %`;
  if (kind === 'latency') return value < 10 ? `${digits(value * 1000)} ms` : `${digits(value)} s`;
  return digits(value);
}

export const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;

// The daemon's clock minus this browser's, in milliseconds: either may be wrong, and the demo's runs faster than life.
let ahead = 0;

/** Takes note of what the daemon's clock shows. */
export function setClock(moment) {
  ahead = Date.parse(moment) - Date.now();
}

export const now = () => Date.now() + ahead;

/** A span in its largest unit. */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const sameDay = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const otherDay = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** In the reader's zone; the day where it is not today. */
export function local(moment) {
  const date = new Date(moment);
  const today = date.toDateString() === new Date(now()).toDateString();
  return (today ? sameDay : otherDay).format(date);
}

const utc = (moment) => new Date(moment).toISOString().replace('T', ' ').replace(/\..*/, ' UTC');

/** A moment as a clock shows it, with UTC in the title. */
export function clock(moment) {
  return el('time', { datetime: moment, title: utc(moment) }, local(moment));
}

const relative = (time) => {
  const past = now() - Date.parse(time);
  return past > -1000 ? `${span(past)} ago` : `in ${span(-past)}`;
};

/** A moment as the time since then or until then, which `tick` keeps right, with both clocks in the title. */
export function ago(moment) {
  const title = `${otherDay.format(new Date(moment))}; ${utc(moment)}`;
  return el('time', { datetime: moment, title, class: 'ago' }, relative(moment));
}

/** Brings every relative time on the page up to date. */
export function tick() {
  for (const time of document.querySelectorAll('time.ago')) {
    const text = relative(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}

/** Tells a screen reader, once. */
export function say(text) {
  document.getElementById('spoken').textContent = text;
}
