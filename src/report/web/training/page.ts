/**
 * @file The page that trains: its markup, style and script, which starts the worker and shows its messages. The page loads
 * only files of its own folder. The script is text, since nothing else uses a page's API.
 */
import { type Html, html, pageHead } from '../../html.js';
import { themes } from '../../style.js';
import { tableLegend, tableScript } from '../page.js';

/** @param name of the model that is trained. @param algorithm its title. @param note a sentence about the reward. */
export function trainingPage(name: string, algorithm: string, note: string): string {
  const page: Html = html`<!doctype html>
<html lang="en">
${pageHead(`Train ${name} · tinyzero`, policy, style)}
<body>
<main>
<p class="note"><a href="./index.html">Ask the model</a></p>
<h1>Train ${name}</h1>
<p id="plan">This page trains the model with ${algorithm} while you watch, with the code of tinyzero train: it measures the model on held-out products, samples answers to the training problems, updates the weights by their rewards, and measures again. ${note}</p>
<form id="controls" autocomplete="off">
<p><label for="engine">Compute with</label> <select id="engine"><option value="auto">graphics card, else WebAssembly</option><option value="webgpu">graphics card (WebGPU)</option><option value="wasm">WebAssembly</option></select></p>
<p><label for="seed">Seed</label> <input id="seed" type="number" min="0" max="9007199254740991" step="1" required></p>
<p class="buttons"><button id="train" disabled>Train</button> <button id="pause" type="button" disabled>Pause</button> <button id="stop" type="button" disabled>Stop</button> <button id="weights" type="button" disabled>Download weights</button></p>
</form>
<p id="state" role="status">Loading the model</p>
<p class="work"><progress id="progress" max="1" value="0" aria-labelledby="work"></progress> <span id="work">Nothing runs yet</span></p>
<p id="used" class="note"></p>
<section id="verdict" aria-labelledby="verdict-title" hidden><h2 id="verdict-title">Verdict</h2><p id="sentence"></p><ul id="notes" class="note"></ul></section>
<div class="columns">
<section aria-labelledby="held-title"><h2 id="held-title">Held-out accuracy</h2>
<table id="accuracy"><thead><tr><td></td><th scope="col">before</th><th scope="col">after</th></tr></thead><tbody><tr><th scope="row">greedy</th><td id="before-greedy">–</td><td id="after-greedy">–</td></tr><tr><th scope="row">sampled</th><td id="before-sampled">–</td><td id="after-sampled">–</td></tr></tbody></table>
</section>
<section aria-labelledby="stage1-title"><h2 id="stage1-title">Stage 1: right answers of each problem</h2>
<p id="samples" class="note">Not sampled yet</p><ul id="histogram"></ul>
</section>
<section aria-labelledby="reward-title"><h2 id="reward-title">Stage 2: mean reward</h2><svg id="reward" viewBox="0 0 320 140" role="img" aria-label="No update yet"></svg><p id="reward-now" class="note">No update yet</p></section>
<section aria-labelledby="loss-title"><h2 id="loss-title">Stage 2: loss</h2><svg id="loss" viewBox="0 0 320 140" role="img" aria-label="No update yet"></svg><p id="loss-now" class="note">No update yet</p></section>
</div>
<section aria-labelledby="rollouts-title"><h2 id="rollouts-title">Newest answers</h2><ul id="rollouts"></ul></section>
<div class="columns tables">
<section aria-labelledby="before-title"><h2 id="before-title">The table before</h2><div id="table-before"></div></section>
<section aria-labelledby="after-title"><h2 id="after-title">The table while training</h2><div id="table-after"></div></section>
</div>
${tableLegend}
</main>
<footer><p>Computed in this page alone: nothing leaves it. Made by tinyzero with TensorFlow.js (Apache-2.0), @huggingface/tokenizers (Apache-2.0), seedrandom (MIT) and valibot (MIT).</p></footer>
<script type="module" src="./train.js"></script>
</body>
</html>
`;
  return page.markup;
}

const policy = [
  ...["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'", "connect-src 'self'"],
  ...["style-src 'unsafe-inline'", 'img-src data:', "base-uri 'none'", "form-action 'none'"],
].join('; ');

const style = `${themes}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 0 clamp(1rem, 4vw, 2.5rem); background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
a { color: var(--accent); }
h1 { margin: .2rem 0 .4rem; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 1.4rem 0 .4rem; font-size: 1.05rem; }
p { overflow-wrap: anywhere; }
#plan { max-width: 75ch; margin: 0 0 .8rem; }
.note, label, footer, #work { color: var(--muted); font-size: .875rem; }
.note { margin: .3rem 0; }
form { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; align-items: center; }
form p { max-width: 100%; margin: .2rem 0; }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; }
input, select { max-width: 100%; padding: .4rem .6rem; font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--rule); border-radius: 6px; }
#seed { width: 7rem; }
button { padding: .45rem 1.1rem; font: inherit; color: var(--page); background: var(--accent); border: 1px solid var(--accent); border-radius: 6px; cursor: pointer; }
button[type=button] { color: var(--text); background: var(--panel); border-color: var(--rule); }
button:disabled { opacity: .55; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#state { margin: .8rem 0 .2rem; font-weight: 600; min-height: 1.5em; }
.work { display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: center; margin: .2rem 0; }
progress { width: min(100%, 22rem); height: .7rem; accent-color: var(--accent); }
#verdict { padding: .2rem 1rem .8rem; margin: .8rem 0; background: var(--panel); border: 1px solid var(--line); border-left: 4px solid var(--tone, var(--muted)); border-radius: 6px; }
#verdict h2 { margin-top: .6rem; } #sentence { margin: .2rem 0; font-size: 1.1rem; }
#verdict.learned, #verdict.small { --tone: var(--gain); } #verdict.worse { --tone: var(--loss); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 0 2rem; align-items: start; }
.tables { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
table { border-collapse: collapse; width: 100%; max-width: 26rem; table-layout: fixed; font-size: .8125rem; }
th, td { padding: .15rem 0; text-align: center; font-weight: 400; border: 1px solid var(--line); }
th { color: var(--muted); } caption { padding-bottom: .3rem; text-align: left; color: var(--muted); font-size: .875rem; }
#accuracy td, #accuracy th { padding: .35rem .25rem; font-size: 1rem; } #accuracy small { display: block; color: var(--muted); }
td.held { outline: 2px solid var(--text); outline-offset: -2px; }
.right { color: var(--gain); } .near { color: var(--doubt-color); } .wrong { color: var(--muted); }
td.right { background: color-mix(in srgb, var(--gain) 22%, transparent); }
td.near { background: color-mix(in srgb, var(--doubt-color) 14%, transparent); }
#histogram, #rollouts { margin: 0; padding: 0; list-style: none; }
#histogram li { display: grid; grid-template-columns: 4.5rem 1fr 2.5rem; gap: .5rem; align-items: center; font-size: .8125rem; }
#histogram .bar { display: block; height: .8rem; background: var(--accent); border-radius: 2px; }
#histogram span:last-child { text-align: right; }
svg { display: block; width: 100%; height: auto; max-width: 32rem; }
svg text { font-size: 10px; fill: var(--muted); } svg .axis { stroke: var(--rule); fill: none; } svg .line { stroke: var(--accent); stroke-width: 2; fill: none; } svg .dot { fill: var(--accent); }
#rollouts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: .6rem; }
#rollouts li { padding: .4rem .7rem; background: var(--panel); border: 1px solid var(--line); border-left: 4px solid currentcolor; border-radius: 6px; font-size: .8125rem; }
#rollouts li > * { color: var(--text); margin: 0; }
#rollouts pre { margin: .2rem 0; font: .8125rem/1.45 ui-monospace, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; padding: 0; list-style: none; color: var(--muted); font-size: .875rem; }
footer { margin: 2rem 0; padding-top: .8rem; border-top: 1px solid var(--line); }
`;

export const trainingScript = `
${tableScript}const drawn = (tag, attributes, text = '') => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
};
const percent = (share) => (100 * share).toFixed(1) + ' %';
const buttons = { train: byId('train'), pause: byId('pause'), stop: byId('stop'), weights: byId('weights') };

let about;
let updates = 0;
let steps = [];
let cells = { before: new Map(), after: new Map() };
let paused = false;

function enable(isRunning, hasWeights) {
  buttons.train.disabled = isRunning || about === undefined;
  buttons.pause.disabled = buttons.stop.disabled = !isRunning;
  buttons.weights.disabled = !hasWeights;
  byId('engine').disabled = byId('seed').disabled = isRunning;
}

function progress(done, total, text) {
  byId('progress').max = Math.max(1, total);
  byId('progress').value = done;
  byId('work').textContent = text;
}

function setPaused(value) {
  paused = value;
  buttons.pause.textContent = value ? 'Continue' : 'Pause';
}

/** Shows the state before a run. */
function clear() {
  steps = [];
  for (const id of ['before-greedy', 'before-sampled', 'after-greedy', 'after-sampled']) byId(id).textContent = '–';
  for (const id of ['reward-now', 'loss-now']) byId(id).textContent = 'No update yet';
  byId('samples').textContent = 'Not sampled yet';
  byId('verdict').hidden = true;
  byId('after-title').textContent = 'The table while training';
  for (const id of ['histogram', 'rollouts', 'reward', 'loss', 'table-before', 'table-after']) byId(id).replaceChildren();
  for (const when of ['before', 'after']) drawTable(when);
}

function drawTable(when) {
  const title = when === 'before' ? 'Greedy answers' : 'The newest sampled answer to each product';
  const filled = productTable(about.factors, about.held, title);
  byId('table-' + when).replaceChildren(filled.table);
  cells[when] = filled.cells;
}

function fillCells(when, answers) {
  for (const { cell: name, mark, reward, text } of answers) {
    const cell = cells[when].get(name);
    if (cell === undefined) continue;
    markCell(cell, name, mark, text, reward);
  }
}

function countTable(when) {
  const all = [...cells[when].values()];
  const right = all.filter((cell) => cell.classList.contains('right')).length;
  const answered = all.filter((cell) => cell.textContent !== '').length;
  byId('table-' + when).querySelector('caption').textContent = 'Greedy answers: ' + right + ' of ' + answered + ' right';
}

function drawCurve(id, values) {
  const svg = byId(id);
  const [left, right, top, bottom] = [44, 312, 10, 118];
  const low = id === 'reward' ? 0 : Math.min(0, ...values);
  const high = id === 'reward' ? 1 : Math.max(...values) || 1;
  const x = (step) => left + (right - left) * (updates <= 1 ? 0.5 : (step - 1) / (updates - 1));
  const y = (value) => bottom - (bottom - top) * (value - low) / (high - low);
  const points = values.map((value, i) => x(i + 1).toFixed(1) + ',' + y(value).toFixed(1));
  const label = (value) => Number(value.toPrecision(3));
  svg.replaceChildren(
    drawn('path', { class: 'axis', d: 'M' + left + ' ' + top + 'V' + bottom + 'H' + right }),
    drawn('text', { x: left - 6, y: top + 4, 'text-anchor': 'end' }, label(high)),
    drawn('text', { x: left - 6, y: bottom + 3, 'text-anchor': 'end' }, label(low)),
    drawn('text', { x: left, y: 133 }, 'update 1'),
    drawn('text', { x: right, y: 133, 'text-anchor': 'end' }, updates),
    drawn('polyline', { class: 'line', points: points.join(' ') }),
    drawn('circle', { class: 'dot', cx: x(values.length), cy: y(values.at(-1)), r: 3 }),
  );
  const now = 'Update ' + values.length + ' of ' + updates + ': ' + label(values.at(-1));
  svg.setAttribute('aria-label', now);
  byId(id + '-now').textContent = now;
}

function drawHistogram({ histogram, done, total }) {
  const samples = histogram.length - 1;
  const most = Math.max(1, ...histogram);
  byId('samples').textContent = done + ' of ' + total + ' problems sampled ' + samples + ' times each';
  byId('histogram').replaceChildren(...histogram.map((count, right) => {
    const bar = make('span', { className: 'bar' });
    bar.style.width = (100 * count) / most + '%';
    return make('li', {}, make('span', { textContent: right + ' right' }), make('span', {}, bar), make('span', { textContent: count }));
  }));
}

function drawRollouts(rollouts) {
  byId('rollouts').replaceChildren(...rollouts.map(({ problem, text, reward, advantage, mark }) => make(
    'li', { className: mark },
    make('p', {}, make('span', { className: 'mark ' + mark, textContent: signs[mark] + ' ' }), problem),
    make('pre', { textContent: text.trim() }),
    make('p', { textContent: 'reward ' + reward + ' · advantage ' + (advantage < 0 ? '−' : '+') + Math.abs(advantage).toFixed(2) }),
  )));
}

const handlers = {
  ready(message) {
    about = message;
    byId('seed').value = message.seed;
    drawTable('before');
    drawTable('after');
    enable(false, false);
    state(message.train + ' training problems, ' + message.test + ' held out; ' + message.numSamples + ' samples each; ' + message.batchSize + ' answers an update. Ready.');
  },
  engine({ description }) {
    byId('used').textContent = 'Computed by ' + description + '.';
  },
  work({ title, done, total }) {
    progress(done, total, title + ': ' + done + ' of ' + total + ' answers');
  },
  table({ when }) {
    state(when === 'before' ? 'Filling the table before training' : 'Filling the table after training');
    if (when === 'before') return;
    byId('after-title').textContent = 'The table after';
    drawTable('after');
  },
  cells({ when, cells: answers }) {
    fillCells(when, answers);
    countTable(when);
    if (when === 'before') state('Measuring the held-out accuracy before training');
  },
  evaluated({ when, greedy, sampled }) {
    const shown = (rate) => rate === undefined
      ? ['not measured']
      : [percent(rate.rate), make('small', { textContent: rate.correct + ' of ' + rate.total })];
    byId(when + '-greedy').replaceChildren(...shown(greedy));
    byId(when + '-sampled').replaceChildren(...shown(sampled));
    if (when === 'before') state('Stage 1: sampling answers to the training problems');
  },
  sampled: drawHistogram,
  preflight({ trainable, problems, passAt1, advice }) {
    byId('samples').textContent = percent(passAt1) + ' of the answers are right; ' + trainable + ' of ' + problems + ' problems can teach something. ' + advice.join(' ');
  },
  stage2(message) {
    updates = message.updates;
    state('Stage 2: ' + updates + ' updates');
    progress(0, updates, 'Stage 2: update 0 of ' + updates);
  },
  step({ metrics, rollouts, cells: answers }) {
    steps.push(metrics);
    progress(metrics.step, updates, 'Stage 2: update ' + metrics.step + ' of ' + updates);
    drawCurve('reward', steps.map(({ reward }) => reward));
    drawCurve('loss', steps.map(({ loss }) => loss));
    drawRollouts(rollouts);
    fillCells('after', answers);
    if (metrics.step === updates) state('Measuring the held-out accuracy after training');
  },
  done({ verdict, updates: made, seconds }) {
    enable(false, true);
    progress(1, 1, made + ' updates in ' + seconds.toFixed(0) + ' s');
    byId('verdict').className = verdict.kind;
    byId('sentence').textContent = verdict.sentence;
    byId('notes').replaceChildren(...verdict.notes.map((note) => make('li', { textContent: note })));
    byId('verdict').hidden = false;
    state('Finished. ' + verdict.label + '.');
  },
  stopped() {
    enable(false, true);
    progress(0, 1, 'Stopped');
    state('Stopped after update ' + steps.length + '. The weights are those of that update.');
  },
  failed({ message }) {
    enable(false, false);
    progress(0, 1, 'Nothing runs');
    state(message);
  },
  line({ text }) {
    state(text);
  },
  weights({ file }) {
    const link = make('a', { href: URL.createObjectURL(new Blob([file])), download: 'model.safetensors' });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    state('The weights are in model.safetensors.');
  },
};

const worker = new Worker('./train-worker.js', { type: 'module' });
worker.onmessage = ({ data }) => handlers[data.kind](data);
worker.onerror = (event) => handlers.failed({ message: event.message || 'The worker could not be loaded.' });

byId('controls').addEventListener('submit', (event) => {
  event.preventDefault();
  clear();
  setPaused(false);
  enable(true, false);
  state('Opening the engine');
  progress(0, 1, 'Opening the engine');
  worker.postMessage({ kind: 'train', engine: byId('engine').value, seed: Number(byId('seed').value) });
});
buttons.pause.addEventListener('click', () => {
  setPaused(!paused);
  worker.postMessage({ kind: paused ? 'pause' : 'continue' });
  byId('work').textContent += paused ? ' (paused)' : '';
});
buttons.stop.addEventListener('click', () => {
  worker.postMessage({ kind: 'stop' });
  setPaused(false);
});
buttons.weights.addEventListener('click', () => worker.postMessage({ kind: 'weights' }));
`;
