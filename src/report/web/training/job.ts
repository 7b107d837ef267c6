/**
 * @file The run of a page that trains, in a file next to the page, `train.json`. The export writes it, and the page's
 * worker reads it. Uses neither files nor Node.
 */
import { type MultiplicationOptions, multiplicationTask, pairName } from '../../../data/multiplication.js';
import { buildProblemSet, type Problem } from '../../../data/problem.js';
import type { PromptForm } from '../../../data/prompt.js';
import type { Task } from '../../../data/task.js';
import { type TextTokenizer, textTokenizer } from '../../../model/checkpoint/tokenizer.js';
import type { ModelConfig } from '../../../model/network/config.js';
import type { Settings } from '../../../options/settings.js';
import type { MemoryJob } from '../../../run/core/in-memory.js';
import { isRecord, type JsonRecord } from '../../../util/json.js';
import { readTensors } from '../decoder.js';

/** `train.json`. JSON has no Infinity, which `beta1` may be. */
export interface PageJob {
  /** Folder of the model: its weights and tokenizer. */
  readonly model: string;
  readonly settings: Omit<Settings, 'beta1'> & { readonly beta1: number | 'Infinity' };
  readonly config: ModelConfig;
  readonly form: PromptForm;
  readonly task: MultiplicationOptions;
  readonly endIds: readonly number[];
}

/** What the files of the page hold. */
export interface PageFiles {
  readonly job: PageJob;
  readonly weights: ArrayBuffer;
  readonly tokenizer: JsonRecord;
  readonly tokenizerConfig: JsonRecord;
}

/** The run, with the problems of `seed` instead of the run's own if given. */
export function memoryJob({ job, weights, ...files }: PageFiles, seed = job.settings.seed): MemoryJob {
  const settings: Settings = { ...job.settings, beta1: Number(job.settings.beta1), seed };
  const task = multiplicationTask(job.task) as Task;
  const tensors = readTensors(weights);
  return {
    settings,
    config: job.config,
    weights: (name) => tensors.get(name)!,
    tokenizer: { ...tokenizerOf(files), encodeChat: noChat },
    endIds: new Set(job.endIds),
    task,
    problems: buildProblemSet(task, settings),
    form: job.form,
  };
}

function noChat(): never {
  throw new Error('the page asks plain questions only');
}

function tokenizerOf({ tokenizer, tokenizerConfig }: Pick<PageFiles, 'tokenizer' | 'tokenizerConfig'>): TextTokenizer {
  // The export has checked the file.
  const { vocab, type, unk_token, byte_fallback } = tokenizer.model as {
    vocab: Record<string, number>;
    type: 'BPE' | 'WordPiece';
    unk_token?: string;
    byte_fallback?: boolean;
  };
  const added = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens.filter(isRecord) : [];
  const ids = [...Object.values(vocab), ...added.map(({ id }) => Number(id))];
  const model = { type, unk_token, byte_fallback, ids: new Map(Object.entries(vocab)) };
  const length = 1 + ids.reduce((most, id) => Math.max(most, id), 0);
  const content = { path: 'tokenizer.json', json: tokenizer, config: tokenizerConfig, model, length };
  return textTokenizer(content, (_, __, work) => work());
}

/** The factors of the table that the page fills: those of the run's problems, at most eleven. */
export function tableFactors({ min, max }: Pick<MultiplicationOptions, 'min' | 'max'>): number[] {
  return Array.from({ length: Math.min(11, max - min + 1) }, (_, i) => min + i);
}

/** The problems of the table, row by row. */
export function tableProblems({ task, settings }: Pick<MemoryJob, 'task' | 'settings'>): Problem[] {
  const factors = tableFactors(settings);
  return factors.flatMap((a) =>
    factors.map((b) => ({ id: task.prompt!({ a, b }) as string, cluster: pairName({ a, b }), value: { a, b } })),
  );
}
