/**
 * @file `sft --dry-run`: the work and resources that a run needs. Rejects whatever the run would reject. Computes, writes and
 * installs nothing; downloads a hub model's files except the weights.
 */

import { completionTokens, tokensOf } from '../../model/network/log-probs.js';
import { parameterCount } from '../../model/network/params.js';
import { describeModel } from '../../model/open.js';
import { builtinModel } from '../../model/shipped.js';
import { newestKept } from '../../options/settings.js';
import { shapeOfBatches } from '../../policy/update-shape.js';
import type { Reporter } from '../../util/reporter.js';
import { missingBytes, planDisk } from '../disk.js';
import type { SftRequest } from '../events.js';
import { type Needs, planLearnerMemory, plannedDevice, requireEngine, weighNeeds } from '../needs.js';
import { type ExampleSet, openExamples, readData } from './examples.js';
import { planSft } from './loop.js';

export interface SftDryRun extends Needs {
  readonly model: string;
  readonly parameters: number;
  readonly lines: ExampleSet['lines'];
  /** Completion tokens trained on in each epoch. */
  readonly tokens: number;
  /** Tokens of the longest row, prompt and completion. */
  readonly longest: number;
  readonly updates: number;
}

/** @throws UserError for options, a model or lines that a run would reject. */
export async function sftDryRun(
  { options, folder, engine, install }: SftRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<SftDryRun> {
  const content = await readData(options, signal);
  const name = options.model ?? builtinModel;
  const model = await describeModel(name, reporter, signal);
  const { settings, examples } = openExamples(options, content, model);
  const chosen = await requireEngine({ engine, install, precision: settings.precision }, reporter, signal);
  const device = await plannedDevice(chosen, signal);
  const { train, heldOut, lines } = examples;
  const { config } = model.pretrained;
  const plan = planSft(train.length, settings);
  const batches = plan.map(({ rows }) => rows.map((row) => train[row]!));
  const shape = shapeOfBatches(config, [...batches, heldOut], { ...settings, room: device.room });
  const memory = planLearnerMemory(config, shape, settings.lora, device);
  const disk = planDisk(config, {
    keep: newestKept(settings.keep),
    lora: settings.lora,
    download: missingBytes(name, model.pretrained),
  });
  const longest = [...train, ...heldOut].reduce((most, row) => Math.max(most, tokensOf(row)), 0);
  return {
    model: name,
    parameters: parameterCount(config),
    lines,
    tokens: completionTokens(train),
    longest,
    updates: plan.length,
    ...weighNeeds({ memory, disk }, { device, folder }),
  };
}
