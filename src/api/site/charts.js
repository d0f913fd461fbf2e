// Charts of a policy's recent past, drawn by uPlot. Each has its numbers in words and as a table as well.

import { el, local, quantity } from './words.js';

const { uPlot } = globalThis;
const HEIGHT = 210;
// Steps of an axis of instances.
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000];
const ROWS = 30; // Of the table beside a chart.

const dark = matchMedia('(prefers-color-scheme: dark)');
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** The lines of the chart of capacities; the bounds are a band. */
const CAPACITIES = [
  { key: 'min', label: 'Least', colour: 'band-line' },
  { key: 'max', label: 'Most', colour: 'band-line' },
  { key: 'recommended', label: 'Recommended', colour: 'recommended', dash: [3, 4] },
  { key: 'desired', label: 'Desired', colour: 'desired', width: 2 },
  { key: 'in_service', label: 'In service', colour: 'in-service', dash: [9, 4], width: 2 },
];

/** What is foretold, where the controller does; what it keeps in hand beyond that is a band. */
const FORETOLD = { key: 'foretold', label: 'Foretold', colour: 'recommended', dash: [1, 3] };

/** What a chart shows: its title, its lines and their columns, and how a number is written. */
export function capacities(series) {
  const known = ['recommended', 'desired', 'in_service']
    .flatMap((key) => series[key])
    .filter((value) => value !== null);
  const top = Math.max(1, ...known);
  // Bounds that are far away would press everything else to the ground.
  const bound = Math.max(...series.max.filter((value) => value !== null), 0);
  const most = bound <= top * 2.5 ? Math.max(bound, top) : top;
  const foretells = series.foretold.some((value) => value !== null);
  const lines = foretells ? [...CAPACITIES, FORETOLD] : CAPACITIES;
  return {
    title: 'Capacity',
    unit: 'instances',
    lines,
    data: [series.at, ...lines.map(({ key }) => series[key])],
    // Of the bounds, and of what is kept in hand.
    bands: [[2, 1, 'band'], ...(foretells ? [[3, 6, 'forecast']] : [])],
    range: [0, most * 1.1],
    write: String,
    mark: String,
    stepped: true,
  };
}

export function signal(series, metric) {
  const targets = metric.values.map(() => metric.target);
  const top = Math.max(metric.target, ...metric.values.filter((value) => value !== null)) * 1.15;
  return {
    title: metric.name,
    unit: metric.kind === 'total' ? 'for each instance' : metric.kind,
    lines: [
      { key: 'value', label: 'Measured', colour: 'signal', width: 2 },
      { key: 'target', label: 'Target', colour: 'target', dash: [6, 4] },
    ],
    data: [series.at, metric.values, targets],
    range: [0, top],
    write: (value) => quantity(metric, value),
    // One unit for all of them.
    mark: (value) => (metric.kind === 'latency' && top >= 10 ? `${value} s` : quantity(metric, value)),
    stepped: false,
  };
}

const last = (column) => column.findLast((value) => value !== null) ?? null;

function words({ title, lines, data, write }) {
  const [at, ...columns] = data;
  if (at.length === 0) return 'Nothing yet: these numbers are kept in memory, from the start of the daemon on.';
  const now = lines.map(({ label }, place) => {
    const value = last(columns[place]);
    return `${label.toLowerCase()} ${value === null ? 'unknown' : write(value)}`;
  });
  const since = local(at[0] * 1000);
  return `${title} since ${since}; now ${now.join(', ')}.`;
}

const minutes = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

function options({ lines, bands = [], range, write, mark, stepped }, width) {
  const axis = {
    stroke: colour('muted'),
    grid: { stroke: colour('line'), width: 1 },
    ticks: { show: false },
    font: '12px system-ui',
  };
  const drawn = lines.map(({ label, colour: name, dash, width: line = 1 }) => ({
    label,
    stroke: colour(name),
    width: line,
    dash,
    points: { show: false },
    paths: stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
    value: (plot, value, place, index) => {
      const shown = index === null ? last(plot.data[place]) : value;
      return shown === null || shown === undefined ? '–' : write(shown);
    },
  }));
  const moments = (plot, ticks, axis, space, step) =>
    ticks.map((at) => (step < 60 ? seconds : minutes).format(at * 1000));
  const marks = (plot, ticks) => ticks.map(mark);
  return {
    width,
    height: HEIGHT,
    series: [
      { value: (plot, value, place, index) => (index === null ? 'now' : local(value * 1000)), label: 'Time' },
      ...drawn,
    ],
    bands: bands.map(([upper, lower, fill]) => ({ series: [upper, lower], fill: colour(fill) })),
    scales: { y: { range: () => range } },
    axes: [
      { ...axis, space: 80, values: moments, size: 30 },
      { ...axis, size: 58, values: marks, incrs: stepped ? WHOLE : undefined },
    ],
    cursor: { drag: { x: false, y: false }, y: false },
    legend: { live: true },
  };
}

/** One chart as a figure. What it has drawn is its property `plot`. */
export class Chart {
  #kind;
  #holder = el('div', { class: 'plot' });
  #caption = el('figcaption', { class: 'unseen' });
  #table = el('details', { ontoggle: () => this.#tabulate() }, el('summary', {}, 'As a table'));
  #observer = new ResizeObserver(() => this.#resize());
  #repaint = () => this.show(this.#kind, true);

  constructor() {
    this.heading = el('h3', {});
    this.element = el('figure', { class: 'chart' }, this.heading, this.#holder, this.#caption, this.#table);
    this.#observer.observe(this.element);
    dark.addEventListener('change', this.#repaint);
  }

  show(kind, anew = false) {
    const grown =
      !this.#kind || kind.lines.length !== this.#kind.lines.length || String(kind.range) !== String(this.#kind.range);
    this.#kind = kind;
    this.heading.replaceChildren(kind.title, ' ', el('small', { class: 'muted' }, kind.unit));
    this.#caption.textContent = words(kind);
    // A line needs two points.
    const empty = kind.data[0].length < 2;
    this.#caption.className = empty ? 'muted' : 'unseen';
    this.#holder.hidden = empty;
    if (empty) return;
    if (grown || anew || !this.element.plot) this.#draw();
    else this.element.plot.setData(kind.data);
    this.#tabulate();
  }

  close() {
    this.#observer.disconnect();
    dark.removeEventListener('change', this.#repaint);
    this.element.plot?.destroy();
  }

  #draw() {
    const width = this.#holder.clientWidth;
    if (width === 0) return;
    this.element.plot?.destroy();
    this.element.plot = new uPlot(options(this.#kind, width), this.#kind.data, this.#holder);
    this.element.plot.root.setAttribute('aria-hidden', 'true');
  }

  #resize() {
    const width = this.#holder.clientWidth;
    if (!this.#kind || width === 0) return;
    if (this.element.plot) this.element.plot.setSize({ width, height: HEIGHT });
    else this.#draw();
  }

  #tabulate() {
    if (!this.#table.open || !this.#kind) return;
    const { lines, data, write } = this.#kind;
    const head = ['Time', ...lines.map(({ label }) => label)].map((text) => el('th', { scope: 'col' }, text));
    const from = Math.max(0, data[0].length - ROWS);
    const rows = data[0].slice(from).map((at, offset) => {
      const cells = data.slice(1).map((column) => column[from + offset]);
      const numbers = cells.map((value) => el('td', { class: 'number' }, value === null ? '–' : write(value)));
      return el('tr', {}, el('th', { scope: 'row' }, local(at * 1000)), numbers);
    });
    const table = el(
      'table',
      { class: 'numbers' },
      el('thead', {}, el('tr', {}, head)),
      el('tbody', {}, rows.reverse()),
    );
    this.#table.querySelector('table')?.remove();
    this.#table.append(table);
  }
}
