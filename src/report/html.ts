/**
 * @file HTML from template literals. Every interpolated value is escaped, unless it was itself made by `html`, since
 * completions and prompts are arbitrary text.
 */

/** Markup that needs no escaping; made by {@link html} and {@link trusted} only. */
export class Html {
  constructor(readonly markup: string) {}
}

type Value = Html | string | number | false | undefined | readonly Value[];

/** Lists are joined; false and undefined become empty. Attribute values must be in double quotes. */
export function html(strings: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(strings.reduce((text, part, i) => text + render(values[i - 1]) + part));
}

/** Marks our own or the chart library's markup as safe. */
export function trusted(markup: string): Html {
  return new Html(markup);
}

/** @param policy the page's Content-Security-Policy. */
export function pageHead(title: string, policy: string, style: string): Html {
  return html`<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${trusted(style)}</style>
</head>`;
}

function render(value: Value): string {
  if (value === undefined || value === false) return '';
  if (value instanceof Html) return value.markup;
  if (Array.isArray(value)) return value.map(render).join('');
  return escaped(String(value));
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (char) => entities[char]!);
}
