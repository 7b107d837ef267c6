/**
 * @file The script of the page that trains, `train.js`: starts the worker and shows what it says. An ES module as text, since only this
 * file uses a page's API.
 */
import { tableScript } from '../table-script.js';

export const script = `
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

/** Shows what a run shows before it began. */
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
