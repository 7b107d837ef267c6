/**
 * @file The worker of a page that trains: a whole run in memory, on the browser's graphics card or in WebAssembly, reported
 * to the page in messages. scripts/bundle.mjs bundles it with all that it imports. The only file that uses a worker's API.
 */
import type { Problem } from '../../../data/problem.js';
import { openPageEngine, type PageEngine, type PageEngineChoice } from '../../../engine/browser.js';
import { Unsupported } from '../../../engine/wgsl/expressions.js';
import { float32File } from '../../../model/checkpoint/safetensors.js';
import type { DeferredPolicy } from '../../../policy/policy.js';
import { type GradedRollout, promptIds, rollOutGreedy } from '../../../policy/rollout.js';
import {
  type MemoryEvent,
  type MemoryJob,
  memoryKit,
  openMemoryPolicy,
  trainInMemory,
} from '../../../run/core/in-memory.js';
import { isRecord } from '../../../util/json.js';
import type { Reporter } from '../../../util/reporter.js';
import { eventLoopTurn } from '../../../util/reporter.js';
import { judge } from '../../verdict.js';
import { memoryJob, type PageFiles, tableFactors, tableProblems } from './job.js';

/** What the page asks for. */
type Request =
  | { readonly kind: 'train'; readonly engine: PageEngineChoice; readonly seed: number }
  | { readonly kind: 'pause' | 'continue' | 'stop' | 'weights' };

/** The parts of a worker's global scope that are used. */
interface Scope {
  readonly location: { readonly href: string };
  postMessage(message: object, transfer?: readonly ArrayBuffer[]): void;
  onmessage: ((event: { readonly data: Request }) => void) | null;
}

const scope = globalThis as unknown as Scope;
const folder = new URL('./', scope.location.href).href;
const send = (kind: string, content: object = {}) => scope.postMessage({ kind, ...content });

/** Completions of an update that the page shows. */
const shownRollouts = 8;

interface Running {
  readonly stop: AbortController;
  /** Ends the pause, if there is one. */
  resume?: (() => void) | undefined;
  paused?: Promise<void> | undefined;
}

let running: Running | undefined;
let policy: DeferredPolicy | undefined;
const files = loadFiles();

scope.onmessage = ({ data }) => {
  if (data.kind === 'train') void run(data);
  else if (data.kind === 'weights') void sendWeights();
  else if (running !== undefined) {
    if (data.kind === 'stop') running.stop.abort(new Error('stopped'));
    if (data.kind === 'pause') pause(running);
    else running.resume?.();
  }
};

files.then(describe, fail);

async function loadFiles(): Promise<PageFiles> {
  const get = async (path: string) => {
    const response = await fetch(new URL(path, folder));
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response;
  };
  const job = (await (await get('train.json')).json()) as PageFiles['job'];
  const [tokenizer, tokenizerConfig, weights] = await Promise.all([
    get(`${job.model}/tokenizer.json`).then((response) => response.json()),
    get(`${job.model}/tokenizer_config.json`).then((response) => response.json()),
    get(`${job.model}/model.safetensors`).then((response) => response.arrayBuffer()),
  ]);
  if (!isRecord(tokenizer) || !isRecord(tokenizerConfig)) throw new Error(`${job.model}: the tokenizer is damaged`);
  return { job, tokenizer, tokenizerConfig, weights };
}

/** Tells the page what it can train. */
function describe(loaded: PageFiles): void {
  const { settings, problems } = memoryJob(loaded);
  const { seed, numSamples, batchSize, algo } = settings;
  const counts = { train: problems.train.length, test: problems.test.length };
  const held = problems.test.map(({ cluster }) => cluster);
  send('ready', { seed, numSamples, batchSize, algo, ...counts, factors: tableFactors(settings), held });
}

async function run({ engine: choice, seed }: Extract<Request, { kind: 'train' }>): Promise<void> {
  const own: Running = { stop: new AbortController() };
  running = own;
  const start = performance.now();
  try {
    const job = memoryJob(await files, seed);
    policy?.dispose();
    policy = undefined;
    policy = await openPolicy(choice, job);
    const { signal } = own.stop;
    const turn = async () => {
      await eventLoopTurn();
      await own.paused;
      signal.throwIfAborted();
    };
    await fillTable('before', job, policy, turn, signal);
    const result = await trainInMemory(job, policy, { onEvent: (event) => tell(event, job), reporter, turn, signal });
    await fillTable('after', job, policy, turn, signal);
    const { settings, problems } = job;
    const verdict = judge({ path: '', stored: { options: settings }, problems, steps: [], ...result });
    send('done', { verdict, updates: result.updates, seconds: (performance.now() - start) / 1000 });
  } catch (error) {
    if (own.stop.signal.aborted) send('stopped');
    else fail(error);
  } finally {
    running = undefined;
  }
}

/** A policy on the chosen engine. If the graphics card lacks something, another engine is used. */
async function openPolicy(choice: PageEngineChoice, job: MemoryJob): Promise<DeferredPolicy> {
  const open = (engine: PageEngine) => {
    const opened = openMemoryPolicy(engine, job);
    send('engine', { name: engine.name, description: engine.description });
    return opened;
  };
  try {
    return open(await openPageEngine(choice, folder));
  } catch (error) {
    if (choice !== 'auto' || !(error instanceof Unsupported)) throw error;
    return open(await openPageEngine('wasm', folder));
  }
}

function pause(own: Running): void {
  own.paused ??= new Promise((resolve) => {
    own.resume = () => {
      own.paused = undefined;
      own.resume = undefined;
      resolve();
    };
  });
}

/** Reports work to the page. */
const reporter: Reporter = {
  line: (text) => send('line', { text }),
  transfer: () => ({ update: () => {}, end: () => {} }),
  work: (title) => ({
    update: ({ done, total }) => send('work', { title, done, total }),
    hide: () => {},
    end: () => {},
  }),
};

function tell(event: MemoryEvent, { settings, problems }: MemoryJob): void {
  switch (event.kind) {
    case 'evaluated': {
      const { when, summary } = event;
      send('evaluated', { when, greedy: summary.greedy.exact, sampled: summary.sampled?.exact });
      return;
    }
    case 'sampled': {
      const done = [...event.samples.entries.values()].map(({ exact }) => exact.filter(Boolean).length);
      const histogram = Array.from({ length: settings.numSamples + 1 }, (_, k) => done.filter((n) => n === k).length);
      send('sampled', { histogram, done: done.length, total: problems.train.length });
      return;
    }
    case 'preflight': {
      const { verdict, passAt1, passAtN, trainable, advice } = event.preflight;
      send('preflight', { verdict, passAt1, passAtN, trainable, problems: event.preflight.problems, advice });
      return;
    }
    case 'stage2':
      send('stage2', { updates: event.updates });
      return;
    case 'step': {
      const rollouts = event.rollouts.map(({ rollout, advantage }) => ({ ...shown(rollout), advantage }));
      send('step', { metrics: event.metrics, rollouts: rollouts.slice(0, shownRollouts), cells: cellsOf(rollouts) });
    }
  }
}

interface ShownRollout {
  readonly problem: string;
  readonly cell: string | undefined;
  readonly text: string;
  readonly reward: number;
  readonly mark: 'right' | 'near' | 'wrong';
}

function shown({ problem, text, score }: GradedRollout): ShownRollout {
  const { a, b } = problem.value as { a: number; b: number };
  const mark = score.exact ? 'right' : score.parts.near ? 'near' : 'wrong';
  return { problem: `${a} × ${b}`, cell: `${a} ${b}`, text, reward: score.reward, mark };
}

const cellsOf = (rollouts: readonly ShownRollout[]) =>
  rollouts.map(({ cell, mark, reward, text }) => ({ cell, mark, reward, text }));

/** Greedy answers to all products of the table. */
async function fillTable(
  when: 'before' | 'after',
  job: MemoryJob,
  { sample }: DeferredPolicy,
  turn: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  // The program has room for the prompts of the run.
  const lengthOf = (problem: Problem) => promptIds(job, problem).length;
  const longest = Math.max(...[...job.problems.train, ...job.problems.test].map(lengthOf));
  const all = tableProblems(job).filter((problem) => lengthOf(problem) <= longest);
  const factors = tableFactors(job.settings).length;
  send('table', { when });
  for (let row = 0; row < all.length; row += 3 * factors) {
    await turn();
    const rollouts = await rollOutGreedy(memoryKit(job, { sample }), all.slice(row, row + 3 * factors), { signal });
    send('cells', { when, cells: cellsOf(rollouts.map(shown)) });
  }
}

/** Sends the weights as the content of a `model.safetensors`. */
async function sendWeights(): Promise<void> {
  if (policy === undefined || running !== undefined) return;
  const file = await float32File(policy.saved, policy.read);
  scope.postMessage({ kind: 'weights', file }, [file]);
}

function fail(error: unknown): void {
  send('failed', { message: error instanceof Error ? error.message : String(error) });
}
