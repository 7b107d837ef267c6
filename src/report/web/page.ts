/** @file The page of a web export: its markup and style. It loads only files of its own folder. */
import { type Html, html, pageHead } from '../html.js';
import { themes } from '../style.js';

/** @param title name of the trained model. @param note a sentence about the reward. @param trains whether a page that trains is beside it. */
export function webPage(title: string, note: string, trains: boolean): string {
  const page: Html = html`<!doctype html>
<html lang="en">
${pageHead(`${title} · tinyzero`, policy, style)}
<body>
<main>
<h1>${title}</h1>
<p id="state" role="status">Loading the model</p>
${trains && html`<p class="note"><a href="./train.html">Train it in this browser</a></p>`}
<form id="ask" autocomplete="off">
<label for="question">A multiplication, such as 7 × 8, or any other text</label>
<div><input id="question" name="question" required maxlength="500" value="7 × 8"><button disabled>Ask</button></div>
</form>
<section id="answers" aria-label="Answers"></section>
<section aria-labelledby="grid-title">
<h2 id="grid-title">The multiplication table</h2>
<p class="note">${note}</p>
<p><button id="fill" type="button" disabled>Fill the table</button></p>
<div id="grids"></div>
${tableLegend}
</section>
</main>
<footer><p>Runs in this page alone: nothing that is typed leaves it. Made by tinyzero; the tokenizer is @huggingface/tokenizers (Apache-2.0).</p></footer>
<script type="module" src="./page.js"></script>
</body>
</html>
`;
  return page.markup;
}

/** What the marks in a multiplication table mean. */
export const tableLegend: Html = html`<ul class="legend"><li><span class="right">●</span> right</li><li><span class="near">◐</span> near</li><li><span class="wrong">○</span> wrong</li><li><span class="held">▢</span> held out, never trained on</li></ul>`;

const policy = [
  ...["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "connect-src 'self'", "style-src 'unsafe-inline'"],
  ...['img-src data:', "base-uri 'none'", "form-action 'none'"],
].join('; ');

const style = `${themes}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 0 clamp(1rem, 4vw, 2.5rem); background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
a { color: var(--accent); }
h1 { margin: 1.6rem 0 .4rem; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 .3rem; font-size: 1.2rem; }
h3 { margin: 0 0 .4rem; font-size: 1rem; overflow-wrap: anywhere; }
#state, .note, label, footer { color: var(--muted); font-size: .875rem; }
form > div { display: flex; gap: .6rem; margin: .3rem 0 1rem; }
input { flex: 1; min-width: 0; padding: .5rem .7rem; font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--rule); border-radius: 6px; }
button { padding: .5rem 1.1rem; font: inherit; color: var(--page); background: var(--accent); border: 0; border-radius: 6px; cursor: pointer; }
button:disabled { opacity: .55; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#answers, #grids { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem 2rem; }
.answer pre { min-height: 4.5rem; margin: 0; padding: .7rem .9rem; background: var(--panel); border: 1px solid var(--line); border-radius: 6px; font: .875rem/1.6 ui-monospace, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.answer p { margin: .3rem 0 0; font-size: .875rem; color: var(--muted); }
table { border-collapse: collapse; width: 100%; max-width: 26rem; table-layout: fixed; font-size: .75rem; }
th, td { padding: .15rem 0; text-align: center; font-weight: 400; border: 1px solid var(--line); }
th { color: var(--muted); }
caption { padding-bottom: .3rem; text-align: left; }
td.held { outline: 2px solid var(--text); outline-offset: -2px; }
.right { color: var(--gain); } .near { color: var(--doubt-color); } .wrong { color: var(--muted); }
td.right { background: color-mix(in srgb, var(--gain) 22%, transparent); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; padding: 0; list-style: none; color: var(--muted); font-size: .875rem; }
footer { margin: 2rem 0; padding-top: .8rem; border-top: 1px solid var(--line); }
`;
