/** `play` as a user runs it: through a pipe and at a terminal. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { promptInput } from '../../../src/data/prompt.js';
import { loadModel, sample } from '../../../src/model/loaded-model.js';
import { stateOf } from '../../../src/model/model-state.js';
import { promptFormOf } from '../../../src/options/problems.js';
import { readRun } from '../../../src/run/record.js';
import { checksumOf, sealJson } from '../../../src/util/checksum.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { tinyzero } from '../../helpers/cli.js';
import { copyOfModel, fixture, temporaryFolder } from '../../helpers/files.js';
import { inTerminal, withoutTerminal } from '../../helpers/terminal.js';

const wasm = ['--engine', 'wasm'];

interface Played {
  readonly input: string;
  readonly error?: string;
  readonly completions?: {
    model: string;
    prompt: string;
    text: string;
    tokens: number;
    finished: boolean;
    reward?: number;
  }[];
}

async function played(args: readonly string[], input: string): Promise<{ code: number | null; lines: Played[] }> {
  const { code, stdout } = await tinyzero(['play', ...wasm, '--json', ...args], {}, input);
  return {
    code,
    lines: stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  };
}

test('lines of a pipe are answered in order; invalid ones are reported and skipped', async () => {
  const { code, lines } = await played([], '7 x 8\n\nhello\nWhat is 7 + 12?\n');
  assert.equal(code, 1);
  const [product, text, sum] = lines;
  assert.equal(lines.length, 3);
  const [answer] = product?.completions ?? [];
  assert.equal(answer?.prompt, 'What is 7 × 8?\n');
  assert.match(answer?.text ?? '', /answer: \d+$/);
  const right = answer?.text.endsWith('answer: 56') ?? false;
  assert.equal(answer?.reward === 1, right);
  assert.match(text?.error ?? '', /cannot spell "h"/);
  // Nothing says what is right here, so nothing is graded.
  assert.equal(sum?.completions?.[0]?.prompt, 'What is 7 + 12?\n');
  assert.ok(!('reward' in (sum?.completions?.[0] ?? {})));
});

test('two models share one line about the engine', async () => {
  const { code, stderr } = await tinyzero(['play', ...wasm, '--compare', 'builtin-b'], {}, '7 x 8\n');
  assert.equal(code, 0, stderr);
  assert.equal(stderr.match(/^Engine: /gm)?.length, 1, stderr);
});

test('the same question again draws another sample; the same seed draws the same', async () => {
  const ask = (seed: string) => played(['--temperature', '1.5', '--seed', seed], '9 x 8\n9 x 8\n9 x 8\n');
  const [first, again, other] = [await ask('1'), await ask('1'), await ask('2')];
  assert.deepEqual(first, again);
  const texts = first.lines.map(({ completions }) => completions?.[0]?.text);
  assert.ok(new Set(texts).size > 1, texts.join('\n'));
  assert.notDeepEqual(
    texts,
    other.lines.map(({ completions }) => completions?.[0]?.text),
  );
});

test('a run folder stands for its trained model; an unfinished one is explained', async (t) => {
  const run = join(temporaryFolder(t), 'run');
  mkdirSync(run);
  writeFileSync(join(run, 'problems.json'), '{}');
  const unfinished = await tinyzero(['play', '--model', run, ...wasm]);
  assert.equal(unfinished.code, 1);
  assert.match(unfinished.stderr, /has no trained model yet\. Finish it with `tinyzero train --resume/);
  cpSync('models/tiny', join(run, 'final'), { recursive: true });
  const files = Object.fromEntries(
    readdirSync('models/tiny').map((name) => [name, checksumOf(readFileSync(join('models/tiny', name)))]),
  );
  writeFileSync(
    join(run, 'final.json'),
    sealJson(`${JSON.stringify({ format: 'tinyzero-final-1', files }, null, 2)}\n`),
  );
  const { code, lines } = await played(['--model', run, '--compare', 'builtin'], '7 x 8\n');
  assert.equal(code, 0);
  const [trained, base] = lines[0]?.completions ?? [];
  assert.deepEqual([trained?.model, base?.model], [run, 'builtin']);
  assert.equal(trained?.text, base?.text);
});

test("the model of a run is asked in the run's wording, after its solved examples", async (t) => {
  const run = join(temporaryFolder(t), 'run');
  const size = ['--num-samples', '1', '--eval-samples', '0', '--num-train', '8', '--num-test', '4', '--max-steps', '1'];
  const options = ['--wording', 'sentence', '--max-new-tokens', '6', '--seed', '3', ...size];
  const model = fixture('qwen2-tied-f32');
  const made = await tinyzero(['train', '--model', model, '--out', run, ...options, ...wasm, '--force', '--quiet']);
  assert.equal(made.code, 0, made.stderr);
  const { lines } = await played(['--model', run], '7 x 8\n');
  const [answer] = lines[0]?.completions ?? [];
  assert.equal(answer?.prompt, 'What is 7 times 8?');
  const signal = new AbortController().signal;
  const request = { engine: 'wasm', install: false, precision: 'f32' } as const;
  const loaded = await loadModel(join(run, 'final'), request, silentReporter, signal);
  t.after(() => loaded.close());
  const context = { taskApi: () => import('../../../src/index.js'), reporter: silentReporter, signal };
  const form = await promptFormOf(readRun(join(run, 'config.json')).options, stateOf(loaded), context);
  assert.equal(form.examples?.length, 2);
  const input = promptInput('What is 7 times 8?', form);
  const ids = 'messages' in input && stateOf(loaded).tokenizer.encodeChat(input.messages);
  assert.ok(ids);
  const [expected] = await sample(loaded, [ids], { temperature: 0, maxNewTokens: 6 });
  assert.equal(answer?.text, expected?.[0]?.text);
  const longer = await played(['--model', run, '--max-new-tokens', '9'], '7 x 8\n');
  assert.equal(longer.lines[0]?.completions?.[0]?.tokens, 9, 'a given option counts more than that of the run');
});

test('at a terminal: two columns, history, an answer stopped by Ctrl-C, and the ways to leave', {
  skip: withoutTerminal,
}, (t) => {
  // A random model never ends its answer by itself.
  const endless = copyOfModel(t, 'qwen2-tied-f32');
  const args = ['play', '--model', endless, '--compare', endless, ...wasm, '--temperature', '1'];
  const up = '\x1b[A';
  const { output, code, left } = inTerminal(
    [...args, '--max-new-tokens', '1900'],
    [
      { wait: '> ', send: '7 x 8\r' },
      { wait: ' │ ', send: '\x03' }, // Ctrl-C: stops
      { wait: '> ', send: '\x03' }, // at the empty prompt: says how to leave
      { wait: '(Ctrl-D quits)', send: `${up}\r` }, // the line from before
      { wait: ' │ ', send: '\x03' },
      { wait: '> ', send: '\x04' }, // Ctrl-D
    ],
  );
  assert.equal(left, 0, output);
  assert.equal(code, 0, output);
  const text = stripVTControlCharacters(output);
  assert.match(text, /What is 7 times 8\? .* │ What is 7 times 8\?/);
  assert.equal(text.match(/stopped; \d+ tokens? in .* │ stopped; \d+ tokens? in /g)?.length, 2);
});
