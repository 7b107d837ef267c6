/**
 * @file A whole run of supervised training: measure the loss on held-out lines, train, measure again. Each part writes
 * its file into the run folder and is skipped if that file exists. A run that is stopped at any moment and resumed therefore
 * ends with the same bytes as an uninterrupted one.
 */
import { existsSync } from 'node:fs';
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import type { Engine } from '../../engine/backend.js';
import { fingerprintModel } from '../../model/checkpoint/pretrained.js';
import { roomOf } from '../../model/load.js';
import { completionTokens } from '../../model/network/log-probs.js';
import { type OpenModel, openModel, openRequestedEngine } from '../../model/open.js';
import type { TokenRow } from '../../model/prompt-input.js';
import { builtinModel } from '../../model/shipped.js';
import { newestKept, warmupSteps } from '../../options/settings.js';
import type { SftSettings } from '../../options/sft-settings.js';
import { createLearner, type Learner } from '../../policy/learner.js';
import type { TokenLoss } from '../../policy/row-loss.js';
import { shapeOfBatches } from '../../policy/update-shape.js';
import { loadCheckpoint, loadPolicy } from '../../stage2/checkpoint.js';
import { emptyChecksum } from '../../util/checksum.js';
import type { Reporter } from '../../util/reporter.js';
import { checkpointModel, saveFinal, saveNewest, startOf } from '../checkpoints.js';
import type { SftEvent, SftMetrics, SftRequest, SftResult } from '../events.js';
import { createRunFolder, openRunFolder, type RunFolder, stoppedRun } from '../folder.js';
import { type LogWriter, openLog, readLog } from '../logs.js';
import { requireSameModel } from '../record.js';
import { type ExampleSet, openExamples, readData } from './examples.js';
import { planSft, runSft, type SftBatch } from './loop.js';
import {
  readLoss,
  readSftRun,
  readStoredExamples,
  repairSftRun,
  type StoredSft,
  writeLoss,
  writeSftRun,
} from './record.js';

/** @throws UserError when the run fails or stops; with exit code 130 after the signal. */
export async function sft(
  request: SftRequest,
  onEvent: (event: SftEvent) => void,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<SftResult> {
  const { engine, install, resume, options } = request;
  const folder = resume ? openRunFolder(request.folder) : createRunFolder(request.folder);
  try {
    const stored = resume ? readSftRun(folder.file('config')) : undefined;
    const content = stored ? readStoredExamples(folder.file('examples'), stored) : await readData(options, signal);
    const given = stored?.options ?? options;
    const open = await openModel(given.model ?? builtinModel, reporter, signal);
    try {
      const opened = openExamples(given, content, open);
      const { precision } = opened.settings;
      const opening = { engine: stored?.engine ?? engine, install, precision };
      const job = { ...opened, ...open, content, folder, reporter, signal, onEvent };
      return await runJob({ ...job, engine: await openRequestedEngine(opening, reporter, signal) }, stored);
    } finally {
      open.pretrained.weights.close();
    }
  } catch (error) {
    throw signal.aborted ? stoppedRun('sft', request.folder, error) : error;
  } finally {
    folder.release();
  }
}

interface SftJob extends OpenModel {
  readonly settings: SftSettings;
  readonly examples: ExampleSet;
  readonly content: string;
  readonly engine: Engine;
  readonly folder: RunFolder;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  readonly onEvent: (event: SftEvent) => void;
}

async function runJob(job: SftJob, stored: StoredSft | undefined): Promise<SftResult> {
  const { settings, examples, engine, folder, pretrained, onEvent } = job;
  const { train, heldOut, lines } = examples;
  const plan = planSft(train.length, settings);
  describeRun(job, stored, plan.length);
  const tokens = completionTokens(train);
  onEvent({ kind: 'opened', model: settings.model, engine: engine.description, lines, tokens });

  const batches = plan.map(({ rows }) => rows.map((row) => train[row]!));
  const { precision, optimizer, maxGradientNorm, lora, seed } = settings;
  const learner = createLearner(engine, pretrained.config, {
    shape: shapeOfBatches(pretrained.config, [...batches, heldOut], { ...settings, room: roomOf(engine) }),
    precision,
    optimizer,
    maxGradientNorm,
    lora,
    seed,
    dtypeOf: pretrained.weights.dtypeOf,
  });
  const timings = openLog(folder.file('timings'));
  try {
    learner.load(pretrained.weights.read);
    const before = await measured(job, learner, timings, 'before');
    await trainOrLoad(job, learner, timings, plan);
    const after = await measured(job, learner, timings, 'after');
    folder.requirePresent();
    return { folder: folder.path, updates: plan.length, lines, before, after };
  } finally {
    timings.close();
    learner.dispose();
  }
}

/** Writes the run's record, or checks that the model is the recorded one. */
function describeRun(
  { settings, engine, content, folder, pretrained, reporter }: SftJob,
  stored: StoredSft | undefined,
  updates: number,
): void {
  const modelHash = fingerprintModel(pretrained);
  if (stored === undefined) {
    writeSftRun(folder, { settings, engine, modelHash, content, updates });
  } else {
    requireSameModel(folder, stored, settings.model, modelHash);
    repairSftRun(folder, stored).forEach(reporter.line);
  }
}

/** The held-out loss before or after training: read from its file, or measured now. */
async function measured(
  { examples, folder, reporter, signal, onEvent }: SftJob,
  learner: Learner,
  timings: LogWriter,
  when: 'before' | 'after',
): Promise<TokenLoss | null> {
  const { heldOut } = examples;
  if (heldOut.length === 0) return null;
  const path = folder.file(when === 'before' ? 'evalBefore' : 'evalAfter');
  let loss = existsSync(path) ? readLoss(path) : undefined;
  if (loss === undefined) {
    const start = performance.now();
    const work = reporter.work(`Loss on held-out lines, ${when} training`, 'lines');
    loss = await learner
      .measure(heldOut, async (done) => {
        work.update({ done, total: heldOut.length });
        await eventLoopTurn();
        signal.throwIfAborted();
      })
      .finally(work.end);
    timings.append({ phase: `eval-${when}`, seconds: (performance.now() - start) / 1000 });
    folder.requirePresent();
    writeLoss(path, loss);
  }
  onEvent({ kind: 'measured', when, loss });
  return loss;
}

/** Trains from the newest undamaged checkpoint, or from the start. A finished run only loads its model. */
async function trainOrLoad(
  job: SftJob,
  learner: Learner,
  timings: LogWriter,
  plan: readonly SftBatch[],
): Promise<void> {
  const { settings, examples, folder, reporter, pretrained, signal, onEvent } = job;
  const { finished, state } = startOf(folder, reporter, plan.length);
  if (finished) {
    loadPolicy(folder.file('final'), learner);
    return;
  }
  if (state === undefined) learner.loadMoments();
  else loadCheckpoint(folder.checkpointPath(state.progress.step), learner);
  const metrics = openLog(folder.file('metrics'), state?.logs.metrics ?? emptyChecksum);
  const { step = 0, sampledTokens: trainedTokens = 0 } = state?.progress ?? {};
  if (step > 0) {
    const history = [...readLog(folder.file('metrics'))] as unknown as SftMetrics[];
    onEvent({ kind: 'resumed', step, history });
  }
  onEvent({ kind: 'training', updates: plan.length });
  const model = checkpointModel(settings, pretrained);
  const isDue = (every: number, at: number) => every > 0 && at % every === 0;
  const { evalEvery, saveEvery, keep, lr, decayTo } = settings;
  let last = performance.now();
  try {
    await runSft({
      learner,
      plan,
      signal,
      rows: examples.train,
      start: { step, trainedTokens },
      schedule: {
        peak: lr,
        warmupSteps: warmupSteps(settings, plan.length),
        cosine: { steps: plan.length, floor: decayTo },
      },
      measureHeldOut: (at) => (isDue(evalEvery, at) ? heldOutLoss(learner, examples.heldOut) : undefined),
      onStep: (record) => {
        metrics.append({ ...record });
        const seconds = (performance.now() - last) / 1000;
        last = performance.now();
        timings.append({ step: record.step, seconds });
        onEvent({ kind: 'step', metrics: record, updates: plan.length });
      },
      saveDue: (at) => isDue(saveEvery, at),
      save: (progress) => {
        const kept = { step: progress.step, baseline: null, sampledTokens: progress.trainedTokens };
        return saveNewest(folder, newestKept(keep), learner, model, kept, { metrics });
      },
    });
  } finally {
    metrics.close();
  }
  folder.requirePresent();
  await saveFinal(folder, learner, model);
}

function heldOutLoss(learner: Learner, rows: readonly TokenRow[]): Promise<number> | undefined {
  return rows.length === 0 ? undefined : learner.measure(rows).then(({ loss }) => loss);
}
