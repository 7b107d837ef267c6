/**
 * @file The settings of a run: the given options, completed by defaults that depend on the model and the preset (defaults.ts).
 * Since they depend on nothing else, a stored run gets the same settings on resuming.
 */
import { parseColumnMap } from '../data/column-map.js';
import { type HeldOutSplit, heldOutSplits } from '../data/multiplication.js';
import type { PromptStyle, Wording } from '../data/prompt.js';
import type { AdamWOptions } from '../engine/optim/settings.js';
import { isDatasetId } from '../model/hub/dataset.js';
import { type LoraOptions, loraTargets } from '../model/network/params.js';
import { builtinModel, heldOutField } from '../model/shipped.js';
import { type Algorithm, algorithmNames, algorithms } from '../stage2/algorithm.js';
import { exitCodes, UserError } from '../util/errors.js';
import type { JsonRecord } from '../util/json.js';
import { hasKey } from '../util/keys.js';
import {
  type Defaults,
  defaultsTable,
  type FollowingDefaults,
  type FollowingSettings,
  type ModelKind,
  optimizer,
} from './defaults.js';
import { trainingOptionNames } from './names.js';
import { resolveOptions } from './spec.js';
import { flag, type OptionName, type OptionValues } from './table.js';

export type TrainingOptions = OptionValues<(typeof trainingOptionNames)[number]>;

/** All training options, with defaults for those not `given`. */
export function defaultOptions(given: Partial<TrainingOptions> = {}): TrainingOptions {
  return { ...resolveOptions(trainingOptionNames, {}, {}, []), ...given };
}

/** Options that always have a value in settings. */
type Completed = {
  readonly [Name in Exclude<keyof FollowingDefaults, 'lr'> | 'lr' | 'maxNewTokens' | 'model' | 'shots']: NonNullable<
    TrainingOptions[Name]
  >;
};

export type Settings = Omit<TrainingOptions, keyof Completed | 'wording'> &
  Completed &
  Omit<FollowingSettings, 'wordings' | 'shots'> & {
    readonly modelKind: ModelKind;
    /** Wording of the built-in task: the first of {@link Settings.wordings} until a probe has chosen. */
    readonly wording: Wording;
    /** The wordings to choose from; a single one if there is no choice. */
    readonly wordings: readonly Wording[];
    readonly promptStyle: PromptStyle;
    /** Absent: all weights are trained. */
    readonly lora?: LoraOptions;
    readonly optimizer: AdamWOptions;
    readonly maxGradientNorm: number;
  };

/** The properties of a model that defaults depend on. */
export interface ModelFacts {
  /** The held-out split of a built-in model or of one trained from it. */
  readonly heldOut: HeldOutSplit | undefined;
  readonly hasChatTemplate: boolean;
  /** Number of parameters. */
  readonly parameters: number;
}

export function heldOutSplitOf(configRecord: JsonRecord): HeldOutSplit | undefined {
  const name = configRecord[heldOutField];
  return typeof name === 'string' && hasKey(heldOutSplits, name) ? name : undefined;
}

export function modelKindOf({ heldOut, hasChatTemplate }: Omit<ModelFacts, 'parameters'>): ModelKind {
  if (heldOut !== undefined) return 'builtin';
  return hasChatTemplate ? 'instruct' : 'base';
}

/** Completes the options of a run. @throws UserError (wrong usage) that lists every invalid combination of options. */
export function completeSettings(options: TrainingOptions, model: ModelFacts): Settings {
  const modelKind = modelKindOf(model);
  const column = options.preset === 'seed' ? 'seed' : modelKind;
  const defaults: Defaults = defaultsTable[column];
  const promptStyle =
    options.questionStyle === 'auto' ? (model.hasChatTemplate ? 'chat' : 'raw') : options.questionStyle;
  // The built-in models can spell only their own wording.
  const offered: readonly Wording[] = modelKind === 'builtin' ? ['builtin'] : defaults.wordings;
  const candidates = options.wording === 'auto' ? offered : [options.wording];
  const wording = candidates[0]!;
  const isBuiltinTask = options.task === undefined && options.problems === undefined;
  const byWording = (values: Defaults['shots']) => (isBuiltinTask ? values[wording] : undefined) ?? values.other;
  const loraProblems: string[] = [];
  const lora =
    options.tinkerUrl !== undefined ? tinkerAdapters(options, loraProblems) : loraOptions(options, loraProblems);
  // Adapters leave all weights as they are, and another reference has weights of its own.
  const freeze = options.freeze ?? (lora === undefined && options.reference === undefined ? defaults.freeze : 'none');
  const numSamples = options.numSamples ?? defaults.numSamples;
  const group = algorithms[options.algo].groupSize({ numSamples });
  const settings: Settings = {
    ...options,
    model: options.model ?? builtinModel,
    numTrain: options.numTrain ?? defaults.numTrain,
    epochs: options.epochs ?? defaults.epochs,
    numSamples,
    evalSamples: options.evalSamples ?? defaults.evalSamples,
    // Whole groups: those of GRPO and others are the samples of one problem.
    batchSize: options.batchSize ?? group * Math.ceil(defaults.batchSize / group),
    lr: options.lr ?? defaults.lr(model.parameters, { lora: lora !== undefined, freeze }),
    beta1: options.beta1 ?? defaults.beta1,
    beta2: options.beta2 ?? defaults.beta2,
    temperature: options.temperature ?? defaults.temperature,
    maxNewTokens: options.maxNewTokens ?? byWording(defaults.maxNewTokens),
    reward: options.reward ?? defaults.reward,
    curriculum: options.curriculum ?? (canDrawByPassRates(algorithms[options.algo]) ? defaults.curriculum : 'none'),
    // Other tasks need solution(problem) for examples, so there they are used only on request.
    shots: options.shots ?? byWording(defaults.shots),
    modelKind,
    wording,
    wordings: isBuiltinTask ? candidates : [wording],
    promptStyle,
    rewardReads: defaults.rewardReads,
    warmupShare: defaults.warmupShare,
    decayTo: defaults.decayTo,
    trainOn: options.trainOn ?? defaults.trainOn,
    freeze,
    optimizer,
    maxGradientNorm: 1,
  };
  refuseContradictions(settings, model, loraProblems);
  return lora === undefined ? settings : { ...settings, lora };
}

/** Settings of the adapters; undefined without `--lora-rank`. @param problems receives invalid combinations. */
export function loraOptions(
  options: Pick<TrainingOptions, 'loraRank' | 'loraAlpha' | 'loraTargets'> & {
    readonly reference?: string | undefined;
  },
  problems: string[],
): LoraOptions | undefined {
  const { loraRank: rank, loraAlpha, loraTargets: names, reference } = options;
  if (rank === undefined) {
    if (loraAlpha !== undefined) problems.push('--lora-alpha: needs --lora-rank, which trains adapters');
    if (names !== undefined) problems.push('--lora-targets: needs --lora-rank, which trains adapters');
    return undefined;
  }
  if (reference !== undefined)
    problems.push('--reference: with --lora-rank, the reference is the model without its adapters');
  const wanted = names?.split(',').map((name) => name.trim());
  const unknown = wanted?.filter((name) => !loraTargets.some((target) => target === name)) ?? [];
  if (unknown.length > 0) {
    problems.push(`--lora-targets: expected some of ${loraTargets.join(', ')}, found ${unknown.join(', ')}`);
  }
  const targets = loraTargets.filter((target) => wanted?.includes(target) ?? true);
  return { rank, alpha: loraAlpha ?? 2 * rank, targets };
}

/** Default rank of adapters on a Tinker server, and their alpha, which these servers fix. */
const tinkerLora = { rank: 32, alpha: 32 } as const;

/** The adapter that a Tinker server trains. @param problems receives what such servers do not support. */
function tinkerAdapters(
  {
    loraRank: rank = tinkerLora.rank,
    loraAlpha,
    loraTargets: names,
    precision,
    microBatch,
    reference,
  }: TrainingOptions,
  problems: string[],
): LoraOptions {
  const fixed = 'with --on tinker, the server decides this';
  if (loraAlpha !== undefined) problems.push(`--lora-alpha: ${fixed}`);
  if (names !== undefined) problems.push(`--lora-targets: ${fixed}`);
  if (microBatch !== undefined) problems.push(`--micro-batch: ${fixed}`);
  if (precision !== 'f32') problems.push(`--precision: ${fixed}`);
  if (reference !== undefined)
    problems.push('--reference: with --on tinker, the reference is the model without its adapters');
  return { rank, alpha: tinkerLora.alpha, targets: loraTargets };
}

/** Whether the loss depends only on log-probs under the policy and the reference, which is all that servers report. */
const isOnLogProbs = ({ anchor, addsValue }: Algorithm) => anchor === 'reference' && !addsValue;

/** Options that contradict the place where the run computes. */
function placeProblems({ tinkerUrl, tinkerModel, temperature, samplerUrl, algo, refreshEvery }: Settings): string[] {
  if (tinkerUrl === undefined) return tinkerModel === undefined ? [] : ['--tinker-model: needs --on tinker'];
  return [
    ...(temperature === 1 ? [] : ['--temperature: must be 1 with --on tinker, whose servers compute log-probs at 1']),
    ...(samplerUrl === undefined ? [] : ['--sampler-url: with --on tinker, that server samples']),
    ...(isOnLogProbs(algorithms[algo]) ? [] : [`--algo: ${algo} is not available with --on tinker`]),
    ...(refreshEvery === 1 ? [] : ['--refresh-every: with --on tinker, the server always samples from the policy']),
  ];
}

/** Without stage 1 there are no pass rates; an algorithm that tracks values draws by them. */
const canDrawByPassRates = ({ hasStage1, tracksValues }: Algorithm) => hasStage1 && !tracksValues;

function refuseContradictions(settings: Settings, { hasChatTemplate }: ModelFacts, found: readonly string[]): void {
  const { task, problems, temperature, algo, vStar, curriculum, promptStyle, control, batchSize } = settings;
  const refused: string[] = [...found];
  if (task !== undefined && problems !== undefined) refused.push('--problems: --task already provides the problems');
  refused.push(...sourceProblems(settings));
  refused.push(...keepProblems(settings));
  refused.push(...freezeProblems(settings));
  refused.push(...placeProblems(settings));
  refused.push(...serverProblems(settings));
  refused.push(...samplerProblems(settings));
  if (temperature === 0) refused.push('--temperature: must be above 0, since training samples');
  const algorithm: Algorithm = algorithms[algo];
  refused.push(...algorithm.problems(settings));
  if (control !== 'none' && batchSize < 2) {
    refused.push(`--control: ${control} needs updates of at least 2 rollouts (--batch-size)`);
  }
  if (!algorithm.hasStage1 && vStar !== undefined) refused.push(`--v-star: ${algorithm.title} does not use V*`);
  if (!canDrawByPassRates(algorithm) && curriculum === 'mixed') {
    refused.push(
      algorithm.hasStage1
        ? `--curriculum: ${algorithm.title} draws the problems of each update itself`
        : `--curriculum: mixed needs the pass rates of stage 1, and ${algorithm.title} has none`,
    );
  }
  if (promptStyle === 'chat' && !hasChatTemplate) {
    refused.push('--prompt-style: chat needs a model with a chat template');
  }
  if (refused.length > 0) throw new UserError(refused.join('\n'), { exitCode: exitCodes.usage });
}

/** The default split of a dataset. */
export const defaultSplit = 'train';

/** Errors in the options about how `--problems` is read. */
function sourceProblems({ problems, map, ...options }: Settings): string[] {
  const found: string[] = [];
  parseColumnMap(map, found);
  if (map !== undefined && problems === undefined) found.push('--map: needs --problems, whose columns it names');
  const splits = (['split', 'testSplit', 'subset'] as const).filter((name) => options[name] !== undefined);
  if (splits.length > 0 && (problems === undefined || !isDatasetId(problems))) {
    const needs = 'needs --problems with a dataset of the hub, such as org/name';
    found.push(...splits.map((name) => `${flag(name)}: ${needs}`));
  }
  if (options.testSplit !== undefined && options.testSplit === (options.split ?? defaultSplit)) {
    found.push(`--test-split: ${options.testSplit} is also the split to train on`);
  }
  return found;
}

function serverProblems({ samplerUrl, samplerModel, apiKeyEnv }: Settings): string[] {
  if (samplerUrl !== undefined) return [];
  const given = { samplerModel, apiKeyEnv };
  const names = (['samplerModel', 'apiKeyEnv'] as const).filter((name) => given[name] !== undefined);
  return names.map((name) => `${flag(name)}: needs --sampler-url, whose server it describes`);
}

function samplerProblems({ samplerWeights, samplerUrl, tinkerUrl, algo }: Settings): string[] {
  if (samplerWeights === 'full') return [];
  const refused: string[] = [];
  if (samplerUrl ?? tinkerUrl) refused.push('--sampler-weights: a server samples with its own weights');
  if (!algorithms[algo].anySampler) {
    const others = algorithmNames.filter((name) => algorithms[name].anySampler).join(', ');
    refused.push(
      `--sampler-weights: ${algorithms[algo].title} needs samples from the unrounded policy; int8 works with ${others}`,
    );
  }
  return refused;
}

function freezeProblems({ freeze, reference, loraRank, tinkerUrl }: Settings): string[] {
  if (freeze === 'none') return [];
  const frozen = loraRank !== undefined || tinkerUrl !== undefined;
  return [
    ...(frozen ? ['--freeze: adapters leave all weights as they are'] : []),
    ...(reference === undefined ? [] : ['--freeze: a reference has weights of its own; use `--freeze none`']),
  ];
}

function keepProblems({ keep, numValidation, evalEvery }: Settings): string[] {
  if (keep !== 'best') return [];
  return [
    ...(numValidation === 0 ? ['--keep: best needs validation problems (--num-validation)'] : []),
    ...(evalEvery === 0 ? ['--keep: best needs evaluations during training (--eval-every above 0)'] : []),
  ];
}

/** Number of checkpoints to keep for resuming; `best` keeps the best model in addition to two of them. */
export function newestKept(keep: TrainingOptions['keep']): number {
  return keep === 'best' ? 2 : keep;
}

/** Number of updates, of `updates` in total, during which the learning rate rises; 0 if there are only a few updates. */
export function warmupSteps({ warmup, warmupShare }: Pick<Settings, 'warmup' | 'warmupShare'>, updates: number) {
  return warmup ?? Math.ceil(warmupShare * updates);
}

/** Stored options as command-line texts, so that they are checked by the same rules. */
export function optionsAsFlags(
  stored: JsonRecord,
  names: readonly OptionName[] = trainingOptionNames,
): Partial<Record<OptionName, string | boolean>> {
  const flags: Partial<Record<OptionName, string | boolean>> = {};
  for (const name of names) {
    const value = Object.hasOwn(stored, name) ? stored[name] : undefined;
    // A true boolean corresponds to a given flag, a false one to an absent flag.
    if (value === undefined || value === null || value === false) continue;
    flags[name] = value === true ? true : String(value);
  }
  return flags;
}

/** @throws UserError if adapters would be trained on top of an adapter. */
export function requireNoAdapter(
  { lora }: { readonly lora?: LoraOptions | undefined },
  { adapterFolder }: { readonly adapterFolder?: string | undefined },
): void {
  if (lora === undefined || adapterFolder === undefined) return;
  throw new UserError({
    problem: `${adapterFolder} is an adapter, and --lora-rank would train another adapter on top of it.`,
    fix: `Merge it first with \`tinyzero merge ${adapterFolder} --out FOLDER\`.`,
  });
}
