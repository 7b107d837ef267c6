/**
 * @file Makes a built-in model: pre-trains it on its corpus and writes a Hugging Face folder in bfloat16, with tokenizer
 * and generation config. The card, with scores, is the caller's.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '../engine/backend.js';
import { savePretrained } from '../model/checkpoint/save.js';
import { modelConfigJson } from '../model/network/config.js';
import { parameterSpecs } from '../model/network/params.js';
import { heldOutField } from '../model/shipped.js';
import { builtinArchitecture, pretrainLearningRate } from './architecture.js';
import { corpusBatch, corpusRecipe, maxRowTokens, shippedCorpora } from './corpus.js';
import { type PretrainStep, pretrain } from './loop.js';
import { tokenizerFiles } from './tokenizer-files.js';
import { eosId, padId } from './vocabulary.js';

export type CorpusName = keyof typeof shippedCorpora;

export interface MakeOptions {
  readonly corpus: CorpusName;
  /** Instead of the recipe's, for a quick try. */
  readonly steps?: number;
  readonly onStep: (step: PretrainStep, steps: number) => void;
  readonly signal: AbortSignal;
}

/** Trains and writes the model into `folder`. @throws the signal's reason when stopped; nothing is written then. */
export async function makeBuiltin(engine: Engine, folder: string, options: MakeOptions): Promise<void> {
  const config = builtinArchitecture();
  const { seed, heldOut } = shippedCorpora[options.corpus];
  const { steps = corpusRecipe.steps, onStep, signal } = options;
  const weights = await pretrain(engine, {
    config,
    seed,
    batchSize: corpusRecipe.batchSize,
    length: maxRowTokens,
    steps,
    learningRate: pretrainLearningRate,
    rows: (step) => corpusBatch(seed, step, heldOut),
    onStep: (step) => onStep(step, steps),
    signal,
  });
  const files = {
    ...tokenizerFiles(),
    'generation_config.json': `${JSON.stringify({ eos_token_id: eosId, pad_token_id: padId, do_sample: true }, null, 2)}\n`,
  };
  const staging = mkdtempSync(join(tmpdir(), 'tinyzero-pretrain-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(staging, name), text);
    await savePretrained(folder, {
      configRecord: { ...modelConfigJson(config), [heldOutField]: options.corpus },
      specs: parameterSpecs(config),
      dtype: 'bfloat16',
      read: (name) => weights[name]!,
      carryFrom: staging,
    });
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
