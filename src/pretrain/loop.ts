/**
 * @file The loop of supervised training, shared by `pretrain` and `sft`: learning rate, update, record, save, stop. Callers choose
 * the rows of an update and handle files, timing and options.
 */
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import { learningRateAt, type Schedule } from '../engine/optim/settings.js';

export interface SupervisedUpdate {
  /** Mean negative log-likelihood of the learned tokens before the update, in nats. */
  readonly loss: number;
  /** Global norm before clipping. */
  readonly gradientNorm: number;
}

/** Number, from 1, and learning rate of an update. */
export interface UpdatePlace {
  readonly step: number;
  readonly learningRate: number;
}

interface SupervisedLoop<Update> {
  /** Number of updates that an earlier process made. Default 0. */
  readonly start?: number;
  /** Number of updates in all. */
  readonly steps: number;
  readonly schedule: Schedule;
  readonly update: (place: UpdatePlace) => Update;
  readonly onStep?: ((step: UpdatePlace & Update) => Promise<void> | void) | undefined;
  /** Called after each update, once Ctrl-C has been received. @param last whether no update follows, also because of a stop. */
  readonly save?: (step: number, last: boolean) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/** @throws the signal's reason when it is aborted, after the current update is saved. */
export async function runSupervised<Update extends SupervisedUpdate>(loop: SupervisedLoop<Update>): Promise<void> {
  const { start = 0, steps, schedule, update, signal } = loop;
  for (let step = start + 1; step <= steps; step += 1) {
    const place = { step, learningRate: learningRateAt(schedule, step) };
    await loop.onStep?.({ ...place, ...update(place) });
    // Ctrl-C is received only between turns of the event loop.
    await eventLoopTurn();
    await loop.save?.(step, step === steps || signal?.aborted === true);
    signal?.throwIfAborted();
  }
}
