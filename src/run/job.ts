/**
 * @file Everything that stage 1, training and evaluation share: the model, the complete settings, the task and its problems,
 * the engine, the policy, and the kit that turns problems into graded rollouts. {@link withJob} and {@link withPolicy} open
 * and close them.
 */
import type { Problem, ProblemSet } from '../data/problem.js';
import type { PromptForm, Wording } from '../data/prompt.js';
import type { Task } from '../data/task.js';
import type { TaskApi } from '../data/task-file.js';
import { fingerprintModel, type Pretrained } from '../model/checkpoint/pretrained.js';
import type { Tokenizer } from '../model/checkpoint/tokenizer.js';
import { parameterState, stateBytes } from '../model/load.js';
import { type EngineRequest, openModel, openRequestedEngine } from '../model/open.js';
import { type SamplingServer, sampleOnServer } from '../model/server/sampler.js';
import { type JobProblems, openProblems } from '../options/problems.js';
import { requireNoAdapter, type Settings, type TrainingOptions } from '../options/settings.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { evaluate } from '../policy/evaluate.js';
import type { PlacedPolicy } from '../policy/placed.js';
import type { TrainingOptions as PolicyTraining } from '../policy/policy.js';
import { endIdsOf, promptIds, type RolloutKit } from '../policy/rollout.js';
import { type Fingerprint, requireFingerprint } from '../stage1/fingerprint.js';
import { chooseWording, probe, probeSize } from '../stage1/probe.js';
import type { Probe, ProbeRecord } from '../stage1/probe-file.js';
import { deriveVStar, readVStarFile, type VStarFile } from '../stage1/v-star-file.js';
import { UserError } from '../util/errors.js';
import { formatPercent } from '../util/format.js';
import { packageVersion } from '../util/machine.js';
import type { Reporter } from '../util/reporter.js';
import { policySizes } from './core/plan.js';
import { enginePlace, openJobModel, type Place, tinkerPlace } from './server/place.js';
import { checkServer, drawnBy, openSampler } from './server/samplers.js';

export interface Job {
  readonly settings: Settings;
  /** The model that is trained or evaluated. */
  readonly pretrained: Pretrained;
  /** The model that V* and the loss refer to; often the same object. */
  readonly reference: Pretrained;
  readonly tokenizer: Tokenizer;
  readonly task: Task;
  readonly problems: ProblemSet;
  /** How each question becomes a prompt. */
  readonly form: PromptForm;
  /** Present when the wording was chosen by trying several. */
  readonly probes?: WordingProbes;
  /** The settings that the rewards depend on. */
  readonly fingerprint: Fingerprint;
  /** The samples of `--v-star`; without that option, an empty file. */
  readonly vStar: VStarFile;
  readonly engine: Place;
  /** Samples instead of this process. */
  readonly server?: SamplingServer;
  /** Receives progress. */
  readonly reporter: Reporter;
}

/** How the reference answered with each wording that was tried. */
export interface WordingProbes {
  readonly chosen: Wording;
  readonly byWording: Readonly<Partial<Record<Wording, Probe>>>;
}

/** The form stored in a run. */
export function probeRecord({ chosen, byWording }: WordingProbes): ProbeRecord {
  return { probe: byWording[chosen]!, wordings: byWording as Record<string, Probe> };
}

export interface JobRequest {
  readonly options: TrainingOptions;
  readonly engineRequest: Pick<EngineRequest, 'engine' | 'install' | 'workers'>;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  readonly taskApi: TaskApi;
}

/**
 * Opens a job, runs `work` and closes the job. The engine is opened last, so that invalid options are reported at once.
 *
 * @throws UserError
 */
export async function withJob<T>(
  { options, engineRequest, reporter, signal, taskApi }: JobRequest,
  work: (job: Job) => Promise<T>,
): Promise<T> {
  const { pretrained, tokenizer } = await openJobModel(options, reporter, signal);
  let reference = pretrained;
  let engine: Place | undefined;
  try {
    if (options.reference !== undefined) {
      ({ pretrained: reference } = await openModel(options.reference, reporter, signal));
      requireSameShape(pretrained, reference);
    }
    const open = (given: TrainingOptions) =>
      openProblems(given, { pretrained, tokenizer }, { taskApi, reporter, signal });
    let opened = await open(options);
    const { precision, samplerWeights, wordings } = opened.settings;
    const serverWork = () => {
      const { settings, problems, form } = opened;
      const all = [...problems.train, ...problems.test, ...(problems.validation ?? [])];
      const endIds = endIdsOf({ tokenizer, pretrained, form });
      return { ...settings, tokenizer, form, endIds, problems: all, vocabSize: pretrained.config.vocabSize };
    };
    const server = await openSampler(opened.settings, serverWork(), reporter, signal);
    const openPlace = async () =>
      opened.settings.tinkerUrl !== undefined
        ? await tinkerPlace(opened.settings, reporter)
        : enginePlace(await openRequestedEngine({ ...engineRequest, precision, samplerWeights }, reporter, signal));
    let probes: WordingProbes | undefined;
    if (wordings.length > 1) {
      engine = await openPlace();
      probes = await probeWordings(open, options, {
        reference,
        tokenizer,
        engine,
        reporter,
        signal,
        ...(server && { server }),
      });
      opened = await open({ ...options, wording: probes.chosen });
    }
    const { settings, task, problems, form, sampledWith } = opened;
    requireNoAdapter(settings, pretrained);
    for (const note of problems.notes) reporter.line(note);
    const sampling = `${sampledWith.sampling}${drawnBy(server)}`;
    const fingerprint = { model: fingerprintModel(reference), ...sampledWith, sampling };
    const vStar = readGivenVStar(settings, fingerprint) ?? emptyVStar(settings, fingerprint);
    engine ??= await openPlace();
    if (server !== undefined && engine.engine !== undefined) {
      await checkServer(server, { engine: engine.engine, pretrained: reference }, serverWork(), reporter, signal);
    }
    const material = { settings, pretrained, reference, tokenizer, task, problems, form, ...(server && { server }) };
    return await work({ ...material, ...(probes && { probes }), fingerprint, vStar, engine, reporter });
  } finally {
    engine?.close();
    pretrained.weights.close();
    if (reference !== pretrained) reference.weights.close();
  }
}

/** Tries each wording on a few training problems, with a separate policy, since prompt lengths depend on the wording. */
async function probeWordings(
  open: (options: TrainingOptions) => Promise<JobProblems>,
  options: TrainingOptions,
  job: Pick<Job, 'reference' | 'tokenizer' | 'engine' | 'reporter' | 'server'> & { readonly signal: AbortSignal },
): Promise<WordingProbes> {
  const { reference, reporter, signal } = job;
  const { wordings } = (await open(options)).settings;
  const work = reporter.work('Trying wordings', 'wordings');
  try {
    let done = 0;
    const { chosen, probes } = await chooseWording(wordings, async (wording) => {
      const opened = await open({ ...options, wording });
      const tried = opened.problems.train.slice(0, probeSize.problems);
      const settings = { ...opened.settings, numSamples: probeSize.samples, evalSamples: 0 };
      const material = { ...job, ...opened, settings, pretrained: reference };
      return await withSampler(material, tried, async (kit) => {
        const seen = await probe(kit, tried, probeSize.samples, signal);
        work.update({ done: ++done, total: wordings.length });
        return seen;
      });
    });
    reporter.line(describeProbes(chosen, probes));
    return { chosen, byWording: Object.fromEntries(probes) };
  } finally {
    work.end();
  }
}

function describeProbes(chosen: Wording, probes: ReadonlyMap<Wording, Probe>): string {
  const tried = [...probes].map(
    ([wording, { sampledExact, greedyExact }]) =>
      `${wording} (${formatPercent(sampledExact)} of the samples exact, ${formatPercent(greedyExact)} greedy)`,
  );
  return `Chose the wording "${chosen}". Tried on ${probes.get(chosen)!.problems} training problems: ${tried.join(', ')}.`;
}

/**
 * The V* file of `--v-star`, with the settings' beta1 and number of samples; undefined without that option.
 *
 * @throws UserError when the file cannot be used with these settings.
 */
export function readGivenVStar(
  { vStar, beta1, numSamples: samples }: Settings,
  fingerprint: Partial<Fingerprint>,
): VStarFile | undefined {
  if (vStar === undefined) return undefined;
  const file = readVStarFile(vStar);
  requireFingerprint(vStar, file, fingerprint);
  const { shards: _, ...derived } = deriveVStar(vStar, file, { beta1, samples });
  return derived;
}

function emptyVStar({ beta1, numSamples: samples }: Settings, fingerprint: Fingerprint): VStarFile {
  return { createdBy: `tinyzero ${packageVersion()}`, fingerprint, beta1, samples, entries: new Map() };
}

/** @throws UserError when the two models have different architectures. */
function requireSameShape(model: Pretrained, reference: Pretrained): void {
  const shape = ({ config }: Pretrained) => JSON.stringify({ ...config, dtype: undefined });
  if (shape(model) === shape(reference)) return;
  throw new UserError({
    problem: `${reference.folder} cannot be the reference of ${model.folder}: their config.json files differ.`,
    fix: 'The reference must have the same architecture, like the checkpoint that the model was trained from.',
  });
}

/** The parts of a job that a policy needs. */
type PolicyJob = Pick<
  Job,
  'settings' | 'pretrained' | 'reference' | 'tokenizer' | 'task' | 'form' | 'engine' | 'reporter' | 'server'
>;

export interface OpenPolicy {
  readonly policy: PlacedPolicy;
  /** Samples from the policy and grades the completions. */
  readonly kit: RolloutKit;
}

/** Runs `work` with a sampler of the model: the server, or a policy that completes `problems` and cannot be trained. */
export async function withSampler<T>(
  job: PolicyJob,
  problems: readonly Problem[],
  work: (kit: RolloutKit) => Promise<T>,
): Promise<T> {
  const { server } = job;
  if (server === undefined) return await withPolicy(job, problems, undefined, ({ kit }) => work(kit));
  const sample: PlacedPolicy['sample'] = (rollouts, options) => sampleOnServer(server, server.model, rollouts, options);
  return await work({ policy: { sample }, ...kitOf(job) });
}

/** Runs `work` with a policy that has the model's parameters and completes `problems`. Without `training` it can only sample. */
export async function withPolicy<T>(
  job: PolicyJob,
  problems: readonly Problem[],
  training: PolicyTraining | undefined,
  work: (open: OpenPolicy) => Promise<T>,
): Promise<T> {
  const open = openPolicy(job, problems, training);
  try {
    return await work(open);
  } finally {
    open.policy.dispose();
  }
}

/** Evaluates a model on its held-out problems. @param name name of the model in the summary; default: that of the options. */
export async function evaluateModel(request: JobRequest, name?: string): Promise<EvalSummary> {
  const { reporter, signal } = request;
  return await withJob(request, (job) =>
    withSampler(job, job.problems.test, (kit) => {
      const { model, evalSamples: samples } = job.settings;
      return evaluate(kit, job.problems.test, { model: name ?? model, samples, signal, reporter });
    }),
  );
}

function openPolicy(job: PolicyJob, problems: readonly Problem[], training: PolicyTraining | undefined): OpenPolicy {
  const { settings, pretrained, reference, tokenizer, form, engine, reporter } = job;
  const { precision, samplerWeights } = settings;
  const sizes = policySizes(settings, { tokenizer, form }, problems, training);
  const policy = engine.createPolicy(
    pretrained.config,
    {
      sizes,
      precision,
      samplerWeights,
      // What is frozen in training is the reference.
      dtypeOf: (training ? reference : pretrained).weights.dtypeOf,
      ...(training && { training }),
    },
    promptIds({ tokenizer, form }, problems[0]!),
  );
  if (policy.server === undefined) loadWithProgress(policy, pretrained, reporter);
  return { policy, kit: { policy, ...kitOf(job) } };
}

function kitOf({ settings, pretrained, tokenizer, task, form }: PolicyJob): Omit<RolloutKit, 'policy'> {
  const { maxNewTokens, temperature, seed } = settings;
  return { tokenizer, task, form, endIds: endIdsOf({ tokenizer, pretrained, form }), maxNewTokens, temperature, seed };
}

function loadWithProgress(policy: PlacedPolicy, { config, weights }: Pretrained, reporter: Reporter): void {
  const work = reporter.work('Loading the model', 'bytes');
  const total = stateBytes(parameterState(config));
  let done = 0;
  policy.load((name) => {
    const values = weights.read(name);
    done += values.byteLength;
    work.update({ done, total });
    return values;
  });
  work.end();
}
