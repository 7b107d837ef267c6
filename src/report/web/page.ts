/**
 * @file The page of a web export: its markup, style and script, which loads the models of its folder, asks them side by side,
 * shows rewards and fills the multiplication table. The page loads only files of its own folder. The script is text, since
 * nothing else uses a browser's API.
 */
import { type Html, html, pageHead } from '../html.js';
import { themes } from '../style.js';

/** @param title name of the trained model. @param note a sentence about the reward. @param trains whether there is a page that trains. */
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
<footer><p>Runs entirely in this page: nothing you type leaves it. Made by tinyzero; the tokenizer is @huggingface/tokenizers (Apache-2.0).</p></footer>
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

export const tableScript = `
const byId = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const state = (text) => { byId('state').textContent = text; };
const signs = { right: '●', near: '◐', wrong: '○' };

/** An empty table, and its cells by their factors: '7 8'. */
function productTable(factors, heldOut, title) {
  const table = make('table');
  const caption = make('caption', { textContent: title });
  table.append(caption, make('tr', {}, make('td'), ...factors.map((b) => make('th', { scope: 'col', textContent: b }))));
  const cells = new Map();
  for (const a of factors) {
    const row = make('tr', {}, make('th', { scope: 'row', textContent: a }));
    for (const b of factors) {
      const cell = make('td');
      if (heldOut.includes(Math.min(a, b) + '×' + Math.max(a, b))) cell.classList.add('held');
      cells.set(a + ' ' + b, cell);
      row.append(cell);
    }
    table.append(row);
  }
  return { table, caption, cells };
}

/** Shows an answer in the cell of the factors in \`name\`. */
function markCell(cell, name, mark, text, reward) {
  const product = name.replace(' ', ' × ');
  cell.classList.remove(...Object.keys(signs));
  cell.classList.add(mark);
  cell.textContent = signs[mark];
  cell.title = product + ': ' + text + ' (reward ' + reward + ')';
  cell.setAttribute('aria-label', product + ', ' + mark);
}
`;

export const pageScript = `
import { createSession } from './session.js';
import { multiplicationReward } from './multiplication.js';
import { Tokenizer } from './tokenizers.js';

${tableScript}const get = async (path, kind) => {
  const response = await fetch(path);
  if (!response.ok) throw new Error(path + ': ' + response.status);
  return await response[kind]();
};
/** Lets the browser draw. */
const pause = () => new Promise((resolve) => setTimeout(resolve));

const [page, kernel] = await Promise.all([get('./page.json', 'json'), get('./kernel.wasm', 'arrayBuffer')]);
const reward = (text, answer, info) => multiplicationReward(text, answer, info, page.reward);

async function open(folder) {
  const [model, json, config, weights] = await Promise.all([
    get(folder + '/model.json', 'json'),
    get(folder + '/tokenizer.json', 'json'),
    get(folder + '/tokenizer_config.json', 'json'),
    get(folder + '/model.safetensors', 'arrayBuffer'),
  ]);
  return createSession(model, weights, new Tokenizer(json, config), kernel);
}

/** The factors of a text such as '7 x 8'. */
const product = /^(?:what\\s+is\\s+)?(\\d{1,4})\\s*[x×*·⋅]\\s*(\\d{1,4})\\s*[=?]*$/iu;

async function ask(line) {
  const [, a, b] = product.exec(line.trim()) ?? [];
  await Promise.all(sessions.map(async (session, i) => {
    const box = byId('answer-' + i);
    const [text, facts] = [box.querySelector('pre'), box.querySelector('p')];
    text.textContent = '';
    facts.textContent = '';
    try {
      const prompt = a === undefined ? session.prompt(line) : session.product(Number(a), Number(b));
      const start = performance.now();
      const answer = await session.answer(prompt, async (soFar) => { text.textContent = soFar; await pause(); });
      const seconds = ((performance.now() - start) / 1000).toFixed(2);
      const graded = a === undefined ? '' : 'reward ' + reward(answer.text, a * b, answer).reward + ' · ';
      const cut = answer.finished ? '' : ' · cut off';
      facts.textContent = graded + answer.ids.length + ' tokens · ' + seconds + ' s' + cut;
    } catch (error) {
      facts.textContent = error.message;
    }
  }));
}

async function fill() {
  byId('grids').replaceChildren();
  const grids = sessions.map((session) => ({ session, ...productTable(page.factors, page.heldOut, session.model.name) }));
  byId('grids').append(...grids.map(({ table }) => table));
  for (const { session, caption, cells } of grids) {
    let [right, total, rewards] = [0, 0, 0];
    for (const [key, cell] of cells) {
      const [a, b] = key.split(' ').map(Number);
      const answer = await session.answer(session.product(a, b));
      const score = reward(answer.text, a * b, answer);
      const kind = score.exact ? 'right' : score.parts.near ? 'near' : 'wrong';
      markCell(cell, key, kind, answer.text, score.reward);
      total += 1;
      right += Number(score.exact);
      rewards += score.reward;
      caption.textContent = session.model.name + ': ' + right + ' of ' + total + ' right, mean reward ' + (rewards / total).toFixed(3);
      await pause();
    }
  }
}

const buttons = document.querySelectorAll('button');
const busy = async (work) => {
  for (const button of buttons) button.disabled = true;
  try {
    await work();
  } catch (error) {
    state(error.message);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
};

let sessions = [];
await busy(async () => {
  sessions = await Promise.all(page.models.map(open));
  byId('answers').append(...sessions.map((session, i) => make(
    'div', { id: 'answer-' + i, className: 'answer' },
    make('h3', { textContent: session.model.name }), make('pre'), make('p'),
  )));
  state('Answers are greedy: the likeliest token each time.');
});
byId('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  busy(() => ask(byId('question').value));
});
byId('fill').addEventListener('click', () => busy(fill));
`;
