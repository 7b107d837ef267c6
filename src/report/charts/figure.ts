/**
 * @file The frame of every chart: its title, its unit, the chart, and what must be known to read it. Also the frame of a
 * section, the colours of runs, and numbers in a few digits.
 */
import { type Html, html } from '../html.js';

interface Figure {
  readonly title: string;
  /** What one is, and of what: `nats per completion`. */
  readonly unit: string;
  readonly chart: Html;
  readonly note?: Html | string;
}

export function figure({ title, unit, chart, note }: Figure): Html {
  return html`<figure>
<figcaption><b>${title}</b> <span>${unit}</span></figcaption>
${chart}
${note !== undefined && html`<p class="note">${note}</p>`}
</figure>`;
}

interface Section {
  readonly id: string;
  readonly title: string;
  /** One or two sentences under the title. */
  readonly lead: Html | string;
  readonly body: Html;
}

export function section({ id, title, lead, body }: Section): Html {
  return html`<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
<p class="lead">${lead}</p>
${body}
</section>`;
}

/** Colours and dashes of runs that are laid over each other, the report's own first; more runs begin again. */
const runStyles = [
  { color: 'var(--run-1)', dash: undefined },
  { color: 'var(--run-2)', dash: '5 3' },
  { color: 'var(--run-3)', dash: '1.5 3' },
  { color: 'var(--run-4)', dash: '8 3 1.5 3' },
  { color: 'var(--run-5)', dash: '12 3' },
] as const;

export function runStyle(index: number): (typeof runStyles)[number] {
  return runStyles[index % runStyles.length]!;
}

/** A number with about three significant digits: `0.0213`, `14.4`, `1,504`. */
export function short(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(1);
  return value.toLocaleString('en-US', size >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });
}
