/** @file The files of a page that trains, beside those of a web export. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { drawHeldOut, heldOutSplits } from '../../../data/multiplication.js';
import type { OpenModel } from '../../../model/open.js';
import { endTokens } from '../../../model/prompt-input.js';
import { heldOutSplitOf, type Settings } from '../../../options/settings.js';
import { type Algorithm, algorithms } from '../../../stage2/algorithm.js';
import { UserError } from '../../../util/errors.js';
import { readRegularFile } from '../../../util/file.js';
import { keyedRandom } from '../../../util/random.js';
import type { PageJob } from './job.js';
import { trainingPage, trainingScript } from './page.js';

export interface Trainer {
  readonly model: OpenModel;
  readonly name: string;
  /** Folder of the model, relative to the page. */
  readonly place: string;
  readonly settings: Settings;
  /** A sentence about the reward. */
  readonly note: string;
}

/** The files, by name. @throws UserError when a page cannot train so. */
export function trainingFiles({ model, name, place, settings, note }: Trainer): Record<string, string | Uint8Array> {
  requireTrainable(settings);
  const { pretrained, tokenizer, tokenizerFolder } = model;
  const { min, max, numTest, overlap, seed, reward, rewardReads, wording, promptStyle, system, beta1 } = settings;
  const split = heldOutSplitOf(pretrained.configRecord);
  const heldOut =
    overlap === 'seed'
      ? []
      : split === undefined
        ? drawHeldOut(min, max, numTest, keyedRandom(seed, 'held out'))
        : heldOutSplits[split];
  const job: PageJob = {
    model: `./${place}`,
    settings: { ...settings, beta1: Number.isFinite(beta1) ? beta1 : 'Infinity' },
    config: pretrained.config,
    form: { style: promptStyle, system },
    task: { min, max, heldOut, wording, reward: { kind: reward, read: rewardReads } },
    endIds: [...endTokens({ pretrained, tokenizer })],
  };
  const algorithm: Algorithm = algorithms[settings.algo];
  const packages = createRequire(import.meta.url);
  const wasm = packages.resolve('@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm');
  // With the downloaded weights, the folder of the model is one that every command takes.
  const carried = ['config.json', 'generation_config.json'].filter((file) => existsSync(join(tokenizerFolder, file)));
  return {
    ...Object.fromEntries(carried.map((file) => [`${place}/${file}`, readRegularFile(join(tokenizerFolder, file))])),
    'train.json': `${JSON.stringify(job, null, 2)}\n`,
    'train-worker.js': readFileSync(new URL('./worker.bundle.js', import.meta.url)),
    'train.js': trainingScript,
    'tfjs-backend-wasm-simd.wasm': readFileSync(wasm),
    'train.html': trainingPage(name, algorithm.title, note),
  };
}

/** @throws UserError naming everything that only tinyzero itself can do. */
function requireTrainable(settings: Settings): void {
  const { modelKind, task, problems, reference, loraRank, tinkerUrl, samplerUrl, precision } = settings;
  const { numValidation, refreshEvery, shots, promptStyle } = settings;
  const reasons = [
    modelKind !== 'builtin' && 'the model is not a built-in one, or one trained from it',
    (task !== undefined || problems !== undefined) && 'its problems are not those of the built-in task',
    reference !== undefined && reference !== settings.model && 'the reference is another model (--reference)',
    loraRank !== undefined && 'adapters are trained (--lora-rank)',
    (tinkerUrl !== undefined || samplerUrl !== undefined) && 'a server computes',
    precision !== 'f32' && 'products are rounded to bfloat16 (--precision)',
    settings.samplerWeights === 'int8' && 'the sampler has weights of 8 bits (--sampler-weights)',
    numValidation > 0 && 'problems are set aside for validation (--num-validation)',
    refreshEvery > 1 && 'the sampler lags behind (--refresh-every)',
    (shots > 0 || promptStyle === 'chat') && 'prompts are more than the question',
  ].filter((reason) => reason !== false);
  if (reasons.length === 0) return;
  throw new UserError({
    problem: `--train: a page cannot repeat this run: ${reasons.join('; ')}.`,
    expected: 'a built-in model, or a run of one, with the built-in task and all weights trained in float32',
    fix: 'Export without --train, or train with `tinyzero train`.',
  });
}
