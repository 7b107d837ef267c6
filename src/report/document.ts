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

/** A section of the report. The report is about the first of `runs`; the others are overlaid. */
export interface SectionSpec<Run> {
  readonly id: string;
  /** In the list of sections at the top. */
  readonly name: string;
  /** Undefined if there is nothing to show yet. */
  readonly body: (runs: readonly [Run, ...Run[]]) => Html | undefined;
  /** The parts of a run that the section shows: it changes only with them. */
  readonly shows: (run: Run) => readonly unknown[];
}

export function pageSections<Run>(
  specs: readonly SectionSpec<Run>[],
  runs: readonly [Run, ...Run[]],
): readonly PageSection[] {
  return specs.flatMap(({ id, name, body }): PageSection[] => {
    const content = body(runs);
    return content === undefined ? [] : [[id, name, content]];
  });
}

/** What a page is made of. */
export interface Page {
  readonly title: string;
  /** The run's folder. */
  readonly path: string;
  readonly createdBy: string;
  readonly opening: Html;
  readonly sections: readonly PageSection[];
}

/** What a live page adds to a report. */
interface Extras {
  /** What kind of page it is. */
  readonly name: string;
  readonly style: string;
  readonly script: string;
  /** Sources of the content security policy: what the script may connect to. */
  readonly connect: string;
  /** Before and after the sections. */
  readonly controls: Html;
  readonly notices: Html;
}

const reportExtras: Extras = {
  name: 'tinyzero report',
  style: '',
  script,
  connect: "'none'",
  controls: html``,
  notices: html``,
};

export function documentOf(
  { title, path, createdBy, opening, sections }: Page,
  { name, style: own, script: code, connect, controls, notices }: Extras = reportExtras,
): string {
  const page = html`<!doctype html>
<html lang="en">
${pageHead(title, policyOf(code, connect), style + own)}
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<p class="run"><b>${name}</b> <span>${path}</span></p>
${controls}<nav aria-label="Sections"><ul>${navigation(sections)}</ul></nav>
</header>
${notices}<main id="main" tabindex="-1">
${opening}
${sections.map(([, , body]) => body)}
</main>
<footer><p>Made by ${createdBy} from the files of this run alone; docs/metrics.md explains ${runFiles.metrics} and the others.</p></footer>
<script>${trusted(code)}</script>
</body>
</html>
`;
  return unbroken(page.markup);
}

export function navigation(sections: readonly PageSection[]): Html {
  return html`${sections.map(([id, name]) => html`<li><a href="#${id}">${name}</a></li>`)}`;
}

/** No line break inside `held-out`: a word joiner follows the hyphen, in text and nowhere else. */
export function unbroken(markup: string): string {
  return markup.replace(/>[^<]+</g, (text) => text.replace(/(held-)(out)/gi, '$1\u2060$2'));
}

/** Loads nothing. Allows inline styles and only our own script, even if a completion contains one. */
function policyOf(code: string, connect: string): string {
  return [
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    `script-src 'sha256-${createHash('sha256').update(code).digest('base64')}'`,
    'img-src data:',
    `connect-src ${connect}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}

/** The sentence with parentheses in small type, and without line breaks between a number and its unit. */
export function headline(sentence: string): Html {
  const [, claim = sentence, evidence = ''] = /^([^(]*)(\(.*)$/.exec(sentence) ?? [];
  const tight = (text: string) => text.replace(/ (?=%|→|= )|(?<=[→=]) /g, '\u00a0');
  return html`${tight(claim)}${evidence !== '' && html`<small>${tight(evidence)}</small>`}`;
}
