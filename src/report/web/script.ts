/**
 * @file The page's own script, `page.js` of a web export: loads the models of its folder, asks them side by side, shows
 * rewards and fills the multiplication table. An ES module as text, since only this file uses a browser's API.
 */
import { tableScript } from './table-script.js';

export const script = `
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
