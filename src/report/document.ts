/**
 * @file The frame of a report: one HTML file that needs no other. Its content security policy lets it load nothing and run no
 * script but its own.
 */
import { createHash } from 'node:crypto';
import { runFiles } from '../run/folder.js';
import { type Html, html, pageHead, trusted } from './html.js';
import { script } from './script.js';
import { style } from './style.js';

export type PageSection = readonly [id: string, name: string, body: Html];

interface Page {
  readonly title: string;
  /** The run's folder. */
  readonly path: string;
  readonly createdBy: string;
  readonly opening: Html;
  readonly sections: readonly PageSection[];
}

export function documentOf({ title, path, createdBy, opening, sections }: Page): string {
  const page = html`<!doctype html>
<html lang="en">
${pageHead(title, policy, style)}
<body>
<header>
<p class="run"><b>tinyzero report</b> <span>${path}</span></p>
<nav aria-label="Sections"><ul>${sections.map(([id, name]) => html`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
</header>
<main>
${opening}
${sections.map(([, , body]) => body)}
</main>
<footer><p>Made by ${createdBy} from the files of this run alone; docs/metrics.md explains ${runFiles.metrics} and the others.</p></footer>
<script>${trusted(script)}</script>
</body>
</html>
`;
  return unbroken(page.markup);
}

/** No line break inside `held-out`: a word joiner follows the hyphen, in text and nowhere else. */
function unbroken(markup: string): string {
  return markup.replace(/>[^<]+</g, (text) => text.replace(/(held-)(out)/gi, '$1\u2060$2'));
}

/** Loads nothing. Allows inline styles, and of scripts only ours, even if a completion contains one. */
const policy = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  `script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

/** The sentence with parentheses in small type, and without line breaks between a number and its unit. */
export function headline(sentence: string): Html {
  const [, claim = sentence, evidence = ''] = /^([^(]*)(\(.*)$/.exec(sentence) ?? [];
  const tight = (text: string) => text.replace(/ (?=%|→|= )|(?<=[→=]) /g, '\u00a0');
  return html`${tight(claim)}${evidence !== '' && html`<small>${tight(evidence)}</small>`}`;
}
