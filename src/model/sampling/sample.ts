/**
 * @file Sampling: runs any number of rollouts through the slots of kv-cache.ts. When a completion ends, its slot takes the
 * next rollout. When none is left, the running rollouts move to the first slots and decode in a smaller batch, so that
 * finished rows cost nothing. A rollout's tokens depend only on its prompt, its uniform numbers and the weights.
 */
import type { Runner } from '../../engine/program.js';
import { float32Uniform } from '../../util/random.js';
import { eventLoopTurn } from '../../util/reporter.js';
import { notFinite } from '../network/log-probs.js';
import type { CacheSizes } from './kv-cache.js';
import { decodeBatches, type SamplingFunctions } from './program.js';

export interface Rollout {
  /** At least one token. */
  readonly promptIds: readonly number[];
  /** The n-th call returns the number in [0, 1) that draws the completion's n-th token. */
  readonly uniform: () => number;
  /** Token limit of the completion. */
  readonly maxNewTokens: number;
}

export interface Completion {
  /** The drawn tokens, including the end token if there is one. */
  readonly ids: number[];
  /** Log-prob of each token under softmax(logits / temperature) over the whole vocabulary. */
  readonly logProbs: number[];
  /** `stop`: an end token was drawn; `length`: cut at maxNewTokens. */
  readonly finishReason: 'stop' | 'length';
}

export interface SampleOptions {
  readonly temperature: number;
  readonly endIds: ReadonlySet<number>;
  /** Called with each token as it is drawn; `rollout` is the index in the list of rollouts. */
  readonly onToken?: (rollout: number, id: number) => void;
  /** Called after each decoding step with the number of rollouts that got a token. */
  readonly onStep?: (rows: number) => void;
  /** Called when a completion ends. */
  readonly onCompletion?: (rollout: number, completion: Completion) => void;
  /** Stops sampling between two steps; the promise then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Cost of sampling, in model rows: one row is one token of one sequence passing through all layers. */
export interface SampleCounts {
  /** Prefilled rows, including padding. */
  prefilled: number;
  /** Decoded rows, including idle ones. */
  decoded: number;
  /** Prefilled prompts; each distinct one counts once. */
  prompts: number;
}

/** A rollout in a slot. */
interface Running {
  readonly index: number;
  readonly rollout: Rollout;
  readonly ids: number[];
  readonly logProbs: number[];
  token: number;
  position: number;
}

/** Milliseconds between turns of the event loop, which handles Ctrl-C, output and progress. */
const turnEveryMs = 50;

/**
 * Completes every rollout, starting with the first ones. `program` must have {@link samplingParts} for `sizes` and all its
 * state written.
 *
 * @throws RangeError for a rollout that does not fit the caches, UserError when a log-prob is not finite.
 */
export async function sample(
  program: Runner<SamplingFunctions>,
  sizes: CacheSizes,
  rollouts: readonly Rollout[],
  options: SampleOptions,
): Promise<{ completions: Completion[]; counts: SampleCounts }> {
  for (const rollout of rollouts) checkFits(rollout, sizes);
  const counts: SampleCounts = { prefilled: 0, decoded: 0, prompts: 0 };
  const completions: Completion[] = new Array(rollouts.length);
  const batches = decodeBatches(sizes);
  const { queue, keys } = groupByPrompt(rollouts);
  let next = 0; // position in the queue
  let cached: PromptCache = { places: new Map() };
  let slots: (Running | undefined)[] = new Array(sizes.slots).fill(undefined);
  let running = 0;

  function finish(slot: number, finishReason: Completion['finishReason']): void {
    const { index, ids, logProbs } = slots[slot]!;
    const completion = { ids, logProbs, finishReason };
    completions[index] = completion;
    slots[slot] = undefined;
    running -= 1;
    options.onCompletion?.(index, completion);
  }

  /** Fills free slots from the queue, `admissions` at a time. */
  async function admit(): Promise<void> {
    while (next < queue.length && running < sizes.slots) {
      const lot: { slot: number; prompt: number }[] = [];
      while (lot.length < sizes.admissions && next < queue.length && running < sizes.slots) {
        const index = queue[next]!;
        const key = keys[index]!;
        if (!cached.places.has(key)) {
          if (lot.length > 0) break; // those already chosen need the prompts that are cached now
          cached = await prefill(program, sizes, rollouts, keys, queue.slice(next), counts, cached.shared);
        }
        next += 1;
        const slot = slots.indexOf(undefined);
        slots[slot] = start(index, rollouts[index]!);
        running += 1;
        lot.push({ slot, prompt: cached.places.get(key)! });
      }
      // Unused entries fill the slot that no rollout uses.
      const unused = sizes.slots;
      await program.run('admit', {
        prompts: Int32Array.from({ length: sizes.admissions }, (_, i) => lot[i]?.prompt ?? 0),
        slots: Int32Array.from({ length: sizes.admissions }, (_, i) => lot[i]?.slot ?? unused),
      });
    }
  }

  let lastTurn = performance.now();
  while (running > 0 || next < queue.length) {
    if (performance.now() - lastTurn > turnEveryMs) {
      await eventLoopTurn();
      lastTurn = performance.now();
    }
    options.signal?.throwIfAborted();
    // Filling has a fixed cost, so wait until several slots are free, unless nothing else runs.
    if (next < queue.length && sizes.slots - running >= Math.min(sizes.admissions, sizes.slots)) await admit();
    const rows = next < queue.length ? sizes.slots : batches.findLast((size) => size >= running)!;
    if (rows < sizes.slots) slots = await compact(program, sizes, slots, rows);
    const drawn = await step(program, slots, rows, options.temperature);
    counts.decoded += rows;
    const inStep = running;
    for (let slot = 0; slot < rows; slot++) {
      const row = slots[slot];
      if (row === undefined) continue;
      const id = drawn.tokens[slot]!;
      const logProb = drawn.logProbs[slot]!;
      if (!Number.isFinite(logProb)) throw notFinite();
      row.ids.push(id);
      row.logProbs.push(logProb);
      row.token = id;
      row.position += 1;
      options.onToken?.(row.index, id);
      if (options.endIds.has(id)) finish(slot, 'stop');
      else if (row.ids.length >= row.rollout.maxNewTokens) finish(slot, 'length');
    }
    options.onStep?.(inStep);
  }
  return { completions, counts };
}

function checkFits({ promptIds, maxNewTokens }: Rollout, sizes: CacheSizes): void {
  if (promptIds.length === 0) throw new RangeError('a prompt needs at least one token');
  if (promptIds.length - 1 > sizes.promptPositions) {
    throw new RangeError(`a prompt of ${promptIds.length} tokens does not fit in ${sizes.promptPositions + 1}`);
  }
  if (!(Number.isSafeInteger(maxNewTokens) && maxNewTokens > 0)) {
    throw new RangeError(`maxNewTokens must be at least 1, not ${maxNewTokens}`);
  }
  // The last token drawn is never fed back, so it needs no position.
  if (promptIds.length + maxNewTokens - 1 > sizes.positions) {
    throw new RangeError(`${promptIds.length} + ${maxNewTokens} tokens do not fit in ${sizes.positions} positions`);
  }
}

/** Indices of the rollouts, grouped by prompt so that each is prefilled once, in order of first appearance. */
function groupByPrompt(rollouts: readonly Rollout[]): { queue: number[]; keys: string[] } {
  const groups = new Map<string, number[]>();
  const keys = rollouts.map(({ promptIds }) => promptIds.join(','));
  keys.forEach((key, index) => {
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [index]);
    else group.push(index);
  });
  return { queue: [...groups.values()].flat(), keys };
}

/** What is in the prompt cache. */
interface PromptCache {
  /** Rows by the key of their prompt. */
  readonly places: ReadonlyMap<string, number>;
  /** The tokens whose keys and values are at the shared positions of every row. */
  readonly shared?: string | undefined;
}

/** Puts the next P distinct prompts of the queue into the prompt cache. @param inCache what is at its shared positions. */
async function prefill(
  program: Runner<SamplingFunctions>,
  sizes: CacheSizes,
  rollouts: readonly Rollout[],
  keys: readonly string[],
  queue: readonly number[],
  counts: SampleCounts,
  inCache: string | undefined,
): Promise<PromptCache> {
  const { prompts: P, chunk, promptPositions: T } = sizes;
  const places = new Map<string, number>();
  const prompts: (readonly number[])[] = [];
  for (const index of queue) {
    const key = keys[index]!;
    if (places.has(key)) continue;
    if (places.size === P) break;
    places.set(key, places.size);
    prompts.push(rollouts[index]!.promptIds);
  }
  const prefix = sharedPrefixOf(prompts, sizes);
  const shared = prefix?.join(',');
  if (prefix !== undefined && shared !== inCache) {
    await program.run('prefillShared', { ids: Int32Array.from(prefix) });
    counts.prefilled += prefix.length;
  }
  const longest = Math.max(...prompts.map((ids) => ids.length - 1));
  for (let next = prefix?.length ?? 0; next < longest; next += chunk) {
    // The last positions may be computed twice, so that a chunk never reaches beyond its prompt's row.
    const offset = Math.min(next, T - chunk);
    const ids = new Int32Array(P * chunk);
    prompts.forEach((prompt, place) => {
      ids.set(prompt.slice(offset, Math.min(offset + chunk, prompt.length - 1)), place * chunk);
    });
    await program.run('prefill', { ids, offset: Int32Array.of(offset) });
    counts.prefilled += P * chunk;
  }
  counts.prompts += places.size;
  return { places, shared };
}

/** The first tokens of all `prompts`, as many as can be shared; undefined where they differ. */
function sharedPrefixOf(
  prompts: readonly (readonly number[])[],
  { sharedPositions: length = 0 }: CacheSizes,
): readonly number[] | undefined {
  if (length === 0) return undefined;
  const prefix = prompts[0]!.slice(0, length);
  const begins = (ids: readonly number[]) => ids.length > length && prefix.every((id, i) => ids[i] === id);
  return prompts.every(begins) ? prefix : undefined;
}

function start(index: number, rollout: Rollout): Running {
  const last = rollout.promptIds.length - 1;
  return { index, rollout, ids: [], logProbs: [], token: rollout.promptIds[last]!, position: last };
}

/** Moves rollouts from slots at or beyond `rows` to free slots below. The batch never grows again. */
async function compact(
  program: Runner<SamplingFunctions>,
  sizes: CacheSizes,
  slots: readonly (Running | undefined)[],
  rows: number,
): Promise<(Running | undefined)[]> {
  const moved = [...slots];
  const free = [...moved.keys()].filter((slot) => slot < rows && moved[slot] === undefined);
  const pairs: { from: number; to: number }[] = [];
  for (let from = rows; from < moved.length; from++) {
    if (moved[from] === undefined) continue;
    const to = free.shift()!;
    moved[to] = moved[from];
    moved[from] = undefined;
    pairs.push({ from, to });
  }
  const unused = sizes.slots;
  for (let first = 0; first < pairs.length; first += sizes.admissions) {
    await program.run('move', {
      from: Int32Array.from({ length: sizes.admissions }, (_, i) => pairs[first + i]?.from ?? unused),
      to: Int32Array.from({ length: sizes.admissions }, (_, i) => pairs[first + i]?.to ?? unused),
    });
  }
  return moved;
}

async function step(
  program: Runner<SamplingFunctions>,
  slots: readonly (Running | undefined)[],
  rows: number,
  temperature: number,
): Promise<{ readonly tokens: Int32Array; readonly logProbs: Float32Array }> {
  const tokens = new Int32Array(rows);
  const positions = new Int32Array(rows);
  const uniforms = new Float32Array(rows);
  for (let slot = 0; slot < rows; slot++) {
    const row = slots[slot];
    if (row === undefined) continue;
    tokens[slot] = row.token;
    positions[slot] = row.position;
    uniforms[slot] = float32Uniform(row.rollout.uniform());
  }
  const inverseTemperature = Float32Array.of(temperature > 0 ? 1 / temperature : 1);
  return await program.run(`decode.${rows}`, { tokens, positions, uniforms, inverseTemperature });
}
