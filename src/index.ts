/**
 * @file The library's public API: the commands as functions, with the same option names and defaults, and everything that a
 * `--task` file can import from `tinyzero`. The tensor library is loaded on the first call that needs it.
 */
import type { ProblemSet } from './data/problem.js';
import type { TaskApi } from './data/task-file.js';
import type { EngineSetting, Precision, SamplerWeights } from './engine/choices.js';
import type {
  LoadedModel,
  SampleCall,
  SampledText,
  ScoreCall,
  ScoredCompletion,
  ScoreInput,
} from './model/loaded-model.js';
import { builtinModel } from './model/shipped.js';
import { defaultOptions, type TrainingOptions } from './options/settings.js';
import { defaultSftOptions, type SftOptions } from './options/sft-settings.js';
import type { EvalSummary } from './policy/eval-summary.js';
import type { ReportRequest } from './report/page.js';
import type { Verdict } from './report/verdict.js';
import type { SftEvent, SftResult, TrainEvent, TrainResult } from './run/events.js';
import type { VStarFile } from './stage1/v-star-file.js';
import { type Reporter, silentReporter } from './util/reporter.js';

export type { Problem, ProblemSet } from './data/problem.js';
export { defineTask, type Task } from './data/task.js';
export type {
  LoadedModel,
  SampleCall,
  SampledText,
  ScoreCall,
  ScoredCompletion,
  ScoreInput,
} from './model/loaded-model.js';
export type { EvalSummary } from './policy/eval-summary.js';
export type { ReportRequest } from './report/page.js';
export type { Verdict } from './report/verdict.js';
export { parseAnswer } from './reward/answer.js';
export { multiplicationReward } from './reward/multiplication.js';
export type { CompletionInfo, Score } from './reward/score.js';
export type { SftEvent, SftResult, TrainEvent, TrainResult } from './run/events.js';
export type { VStarEntry, VStarFile } from './stage1/v-star-file.js';
export { vStar } from './stage1/vstar.js';
export { type ApoRow, apoLoss } from './stage2/loss.js';
export type { Random } from './util/random.js';

export interface EngineCall {
  readonly engine?: EngineSetting;
  /** False: use WebAssembly if the native engine is not installed. */
  readonly install?: boolean;
  readonly reporter?: Reporter;
  /** Aborting it stops the work. A run can then be resumed. */
  readonly signal?: AbortSignal;
}

export interface CallOptions extends EngineCall, Partial<TrainingOptions> {}

export interface TrainCall extends CallOptions {
  /** The folder of a new run, or of the run to resume. */
  readonly folder: string;
  readonly resume?: boolean;
}

/** `tinyzero train`. @throws UserError for whatever stops the run. */
export async function train(
  call: TrainCall,
  onEvent: (event: TrainEvent) => void = () => {},
): Promise<TrainResult & { readonly report: string }> {
  const { folder, resume = false, engine, install, reporter, signal, ...given } = withDefaults(call);
  const run = await import('./run/train.js');
  const request = { options: defaultOptions(given), folder, resume, engine, install, taskApi };
  const result = await run.train(request, onEvent, reporter, signal);
  const [{ writeReport }, { whileThere }] = await Promise.all([import('./report/page.js'), import('./run/folder.js')]);
  return { ...result, report: whileThere(folder, () => writeReport({ folder }).path) };
}

export interface SftCall extends EngineCall, Partial<SftOptions> {
  /** The folder of a new run, or of the run to resume. */
  readonly folder: string;
  readonly resume?: boolean;
}

/** `tinyzero sft`; a new run needs `data`, the path of its lines. @throws UserError for whatever stops the run. */
export async function sft(
  call: SftCall,
  onEvent: (event: SftEvent) => void = () => {},
): Promise<SftResult & { readonly report: string }> {
  const { folder, resume = false, engine, install, reporter, signal, ...given } = withDefaults(call);
  const [run, { writeSftReport }, { whileThere }] = await Promise.all([
    import('./run/sft/train.js'),
    import('./report/sft-page.js'),
    import('./run/folder.js'),
  ]);
  const request = { options: defaultSftOptions(given), folder, resume, engine, install };
  const result = await run.sft(request, onEvent, reporter, signal);
  return { ...result, report: whileThere(folder, () => writeSftReport({ folder })) };
}

/** `tinyzero eval`: one greedy completion and `evalSamples` samples of each held-out problem. */
export async function evaluate(call: CallOptions): Promise<EvalSummary> {
  const { engine, install, reporter, signal, ...given } = withDefaults(call);
  const { evaluateModel } = await import('./run/job.js');
  return await evaluateModel({
    options: defaultOptions(given),
    engineRequest: { engine, install },
    reporter,
    signal,
    taskApi,
  });
}

/** `tinyzero report`: writes the report of a run, finished or not. @throws UserError when there is no run to report. */
export async function report(request: ReportRequest): Promise<{ path: string; verdict: Verdict }> {
  const { writeReport } = await import('./report/page.js');
  return writeReport(request);
}

export interface EstimateCall extends CallOptions {
  /** Saved after each group of problems; an existing file is resumed. Absent: nothing is written. */
  readonly out?: string;
  /** `i/n`: only the i-th of n parts of the problems. */
  readonly shard?: string;
}

/** `tinyzero estimate-vstar`: the rewards of every sample of every training problem, from which `vStar` follows. */
export async function estimateVStar(call: EstimateCall = {}): Promise<VStarFile> {
  const { engine, install, reporter, signal, out, shard, ...given } = withDefaults(call);
  const estimation = await import('./run/estimate.js');
  const request = { options: defaultOptions(given), engine, install, taskApi, out, shard };
  return await estimation.estimateVStar(request, reporter, signal);
}

/**
 * The problems that `train` draws with these options: distinct training problems, the rows drawn from them, held-out
 * problems. Reads only the model's config and tokenizer.
 */
export async function generateProblems(
  call: Partial<TrainingOptions> & Pick<EngineCall, 'reporter' | 'signal'> = {},
): Promise<ProblemSet> {
  const { reporter, signal, engine: _, install: __, ...given } = withDefaults(call);
  const [{ describeModel }, { openProblems }] = await Promise.all([
    import('./model/open.js'),
    import('./options/problems.js'),
  ]);
  const model = await describeModel(given.model ?? builtinModel, reporter, signal);
  return (await openProblems(defaultOptions(given), model, { taskApi, reporter, signal })).problems;
}

/** Opens a model folder, a run folder, a hub id or `builtin`. The first call that needs the weights loads them. */
export async function loadModel(
  reference: string,
  call: EngineCall & { readonly precision?: Precision; readonly samplerWeights?: SamplerWeights } = {},
): Promise<LoadedModel> {
  const { engine, install, reporter, signal, precision = 'f32', samplerWeights } = withDefaults(call);
  const model = await import('./model/loaded-model.js');
  const { trainedModel } = await import('./run/checkpoints.js');
  return await model.loadModel(
    trainedModel(reference),
    { engine, install, precision, samplerWeights },
    reporter,
    signal,
  );
}

/** `tinyzero generate`: completions of each prompt, in order. @throws UserError for an invalid prompt. */
export async function sample(
  model: LoadedModel,
  prompts: readonly (string | readonly number[])[],
  call: SampleCall = {},
): Promise<SampledText[][]> {
  return await (await import('./model/loaded-model.js')).sample(model, prompts, call);
}

/** `tinyzero score`: log-probs of given completions, in order. @throws UserError for an invalid prompt or completion. */
export async function score(
  model: LoadedModel,
  inputs: readonly ScoreInput[],
  call: ScoreCall = {},
): Promise<ScoredCompletion[]> {
  return await (await import('./model/loaded-model.js')).score(model, inputs, call);
}

/** A task file that imports 'tinyzero' gets this module instance. */
const taskApi: TaskApi = () => import('./index.js');

function withDefaults<Call extends EngineCall>(call: Call) {
  const never = new AbortController().signal;
  return { engine: 'auto' as const, install: true, reporter: silentReporter, signal: never, ...call };
}
