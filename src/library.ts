/**
 * @file The commands as functions, for programs: options with the same names and defaults, results as values. The tensor
 * library is loaded when one is called.
 */
import { defaultOptions } from './defaults.js';
import type { EvalSummary } from './eval-summary.js';
import type { TrainingOptions } from './settings.js';
import type { TrainEvent, TrainResult } from './train.js';
import { type Reporter, silentReporter } from './util/reporter.js';

export interface CallOptions extends Partial<TrainingOptions> {
  readonly engine?: 'auto' | 'tensorflow' | 'wasm';
  /** False: take WebAssembly where the native engine is not installed. */
  readonly install?: boolean;
  readonly reporter?: Reporter;
  /** Stops the work; what a run saved can be resumed. */
  readonly signal?: AbortSignal;
}

export interface TrainCall extends CallOptions {
  /** Of a new run, or the one to continue. */
  readonly folder: string;
  readonly resume?: boolean;
}

/** `tinyzero train`. @throws UserError for whatever stops the run. */
export async function train(call: TrainCall, onEvent: (event: TrainEvent) => void = () => {}): Promise<TrainResult> {
  const { folder, resume = false, engine, install, reporter, signal, ...given } = withDefaults(call);
  const run = await import('./train.js');
  const request = { options: defaultOptions(given), folder, resume, engine, install };
  return await run.train(request, onEvent, reporter, signal);
}

/** `tinyzero eval`: greedy, and `evalSamples` samples of each held-out problem. */
export async function evaluate(call: CallOptions): Promise<EvalSummary> {
  const { engine, install, reporter, signal, ...given } = withDefaults(call);
  const options = defaultOptions(given);
  const [{ openJob, openPolicy }, evaluation] = await Promise.all([import('./job.js'), import('./evaluate.js')]);
  const job = await openJob({ options, wish: { engine, install }, reporter, signal });
  try {
    const { policy, kit } = openPolicy(job, job.problems.test);
    try {
      const { model, evalSamples: samples } = job.settings;
      return await evaluation.evaluate(kit, job.problems.test, { model, samples, signal });
    } finally {
      policy.dispose();
    }
  } finally {
    job.close();
  }
}

function withDefaults<Call extends CallOptions>(call: Call) {
  const never = new AbortController().signal;
  return { engine: 'auto' as const, install: true, reporter: silentReporter, signal: never, ...call };
}
