/**
 * @file `generation_config.json`: the ids that end a completion, and the recommended sampling. Training and V* use only the
 * end ids; `generate` uses the sampling too and says so.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonRecord } from '../../util/json.js';
import { collect, flag, integer, number, object, optional, wrong } from '../../util/schema.js';
import { type ModelConfig, readTokenIds } from '../network/config.js';

export interface GenerationConfig {
  /** Ids that end a completion; may be empty. */
  readonly eosTokenIds: readonly number[];
  /** False: greedy decoding is recommended. */
  readonly doSample: boolean;
  /** Undefined when the file does not set it. */
  readonly temperature: number | undefined;
  readonly topP: number | undefined;
  /** 0 or undefined: no limit. */
  readonly topK: number | undefined;
  /** Fields that would change the sampling but are not implemented; `generate` reports them. */
  readonly unsupported: readonly string[];
}

/** Unsupported fields, each with the value that has no effect. */
const neutral: Readonly<Record<string, unknown>> = {
  repetition_penalty: 1,
  encoder_repetition_penalty: 1,
  no_repeat_ngram_size: 0,
  min_p: 0,
  typical_p: 1,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
  top_h: 0,
  num_beams: 1,
  penalty_alpha: 0,
  guidance_scale: 1,
  min_length: 0,
  min_new_tokens: 0,
  suppress_tokens: [],
  begin_suppress_tokens: [],
  bad_words_ids: [],
  sequence_bias: [],
  forced_bos_token_id: [],
  forced_eos_token_id: [],
  exponential_decay_length_penalty: [],
  stop_strings: [],
};

const samplingShape = object({
  do_sample: optional(flag, false),
  temperature: optional(number()),
  top_p: optional(number({ above: 0 })),
  top_k: optional(integer({ min: 0 })),
});

/**
 * Reads the file of a model folder. Without one, the end ids come from the config.
 *
 * @throws UserError when the file is invalid or an end id is outside the vocabulary.
 */
export function readGenerationConfig(folder: string, config: ModelConfig): GenerationConfig {
  const path = join(folder, 'generation_config.json');
  if (!existsSync(path)) {
    const sampling = { doSample: false, temperature: undefined, topP: undefined, topK: undefined };
    return { eosTokenIds: config.eosTokenIds, ...sampling, unsupported: [] };
  }
  const record = readJsonRecord(path);
  const problems: string[] = [];
  const ids = readTokenIds(record.eos_token_id, 'eos_token_id', config.vocabSize, problems);
  const sampling = collect(samplingShape, record, problems);
  if (sampling === undefined || problems.length > 0) throw wrong({ path }, problems);
  return {
    eosTokenIds: ids.length > 0 ? ids : config.eosTokenIds,
    doSample: sampling.do_sample,
    temperature: sampling.temperature,
    topP: sampling.top_p,
    topK: sampling.top_k,
    unsupported: Object.keys(neutral).filter((name) => !isNeutral(record[name] ?? neutral[name], neutral[name])),
  };
}

function isNeutral(value: unknown, idle: unknown): boolean {
  return Array.isArray(idle) ? Array.isArray(value) && value.length === 0 : value === idle;
}

export interface SamplingChoice {
  /** 0: greedy. */
  readonly temperature: number;
  /** 1: no limit. */
  readonly topP: number;
  /** 0: no limit. */
  readonly topK: number;
}

/**
 * The sampling to use: requested values first, then the file's recommendations, then the plain softmax. A file that does not
 * recommend sampling (`do_sample` false or absent) means greedy, unless a sampling option or `several` completions are
 * requested.
 */
export function chooseSampling(
  asked: { readonly [Key in keyof SamplingChoice]?: SamplingChoice[Key] | undefined } & { readonly several?: boolean },
  { doSample, temperature, topP, topK }: GenerationConfig,
): SamplingChoice {
  const asksForSampling = asked.topP !== undefined || asked.topK !== undefined || asked.several === true;
  const fallback = doSample ? (temperature ?? 1) : asksForSampling ? 1 : 0;
  return {
    temperature: Math.max(0, asked.temperature ?? fallback),
    topP: Math.min(1, asked.topP ?? (doSample ? (topP ?? 1) : 1)),
    topK: asked.topK ?? (doSample ? (topK ?? 0) : 0),
  };
}

/** `temperature 0.7, top-p 0.8, top-k 20`, or `greedy`. */
export function describeSampling({ temperature, topP, topK }: SamplingChoice): string {
  if (temperature === 0) return 'greedy';
  const limits = [topP < 1 ? `top-p ${topP}` : '', topK > 0 ? `top-k ${topK}` : ''].filter(Boolean);
  return [`temperature ${temperature}`, ...limits].join(', ');
}
