/**
 * @file A set of runs in one folder: those of `--seeds`, or the trials of a sweep. `plan.json` lists its members, each of which
 * is an ordinary run in its own folder. The plan is written before the first run starts and never changed.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type EngineName, engineNames } from '../../engine/choices.js';
import { sftOptionNames, trainingOptionNames } from '../../options/names.js';
import { optionsAsFlags } from '../../options/settings.js';
import { resolveOptions } from '../../options/spec.js';
import { flag, type OptionName, options } from '../../options/table.js';
import { requireSeal, sealJson } from '../../util/checksum.js';
import { UserError } from '../../util/errors.js';
import { explainWrites, writeFileAtomic } from '../../util/file.js';
import { readJsonRecord } from '../../util/json.js';
import { packageVersion } from '../../util/machine.js';
import { flag as bool, check, integer, list, mapOf, object, oneOf, optional, text, union } from '../../util/schema.js';

/** Names in the folder of a set. */
export const setFiles = {
  plan: 'plan.json',
  /** The combined results of the runs: the object that `--json` prints. */
  summary: 'summary.json',
  /** The table of runs in Markdown. */
  table: 'table.md',
  report: 'report.html',
  /** The output of each member, one file each. */
  logs: 'logs',
} as const;

/** Options as command-line text. */
export type TextFlags = Readonly<Record<string, string | boolean>>;

export interface PlannedRun {
  /** Name of its folder inside the set's folder. */
  readonly name: string;
  readonly seed: number;
  /** Index into {@link RunPlan.settings}. */
  readonly setting: number;
  readonly flags: TextFlags;
}

export interface RunPlan {
  readonly kind: 'seeds' | 'sweep';
  readonly command: 'train' | 'sft';
  /** Swept options; empty for a set of seeds. */
  readonly swept: readonly OptionName[];
  /** Values of the swept options in each setting; a set of seeds has one setting without values. */
  readonly settings: readonly { readonly name: string; readonly values: TextFlags }[];
  /** The metric that ranks the settings of a sweep. */
  readonly rankBy?: RankBy;
  readonly runs: readonly PlannedRun[];
  /** Engine of all runs, recorded when the first starts; absent if a server computes all of them. */
  readonly engine?: EngineName;
}

export const rankings = ['train-reward', 'train-exact', 'held-out'] as const;
export type RankBy = (typeof rankings)[number];

const format = 'tinyzero-plan-1';
const flagsShape = mapOf(union([text, bool], 'a string or true'));
const planShape = object({
  format: oneOf([format]),
  kind: oneOf(['seeds', 'sweep']),
  command: oneOf(['train', 'sft']),
  swept: list(text),
  settings: list(object({ name: text, values: flagsShape })),
  rankBy: optional(oneOf(rankings)),
  engine: optional(oneOf(engineNames)),
  runs: list(object({ name: text, seed: integer({ min: 0 }), setting: integer({ min: 0 }), flags: flagsShape })),
});

/** Whether the folder holds a set of runs. */
export function holdsPlan(folder: string): boolean {
  return existsSync(join(folder, setFiles.plan));
}

export function writePlan(folder: string, plan: RunPlan): void {
  const path = join(folder, setFiles.plan);
  const content = { format, createdBy: `tinyzero ${packageVersion()}`, ...plan };
  explainWrites(path, () => writeFileAtomic(path, sealJson(`${JSON.stringify(content, null, 2)}\n`)));
}

/** @throws UserError when there is no plan, or it is damaged. */
export function readPlan(folder: string): RunPlan {
  const path = join(folder, setFiles.plan);
  const fix = 'Start a new set of runs. Each finished run in the folder can still be used by itself.';
  const source = { path, what: 'the plan of a set of runs', fix };
  const { kind, command, swept, settings, rankBy, runs, engine } = check(planShape, readJsonRecord(path, fix), source);
  requireSeal(path, fix);
  const isOption = (name: string): name is OptionName => Object.hasOwn(options, name);
  const members = runs.map((run) => ({ ...run, flags: Object.fromEntries(run.flags) }));
  const tried = settings.map(({ name, values }) => ({ name, values: Object.fromEntries(values) }));
  const isWrong = runs.some(({ name, setting }) => setting >= settings.length || !/^[\w.-]+$/.test(name));
  if (isWrong || !swept.every(isOption)) {
    throw new UserError({ problem: `${path} has an invalid run, setting or option.`, fix });
  }
  const chosen = { ...(rankBy && { rankBy }), ...(engine && { engine }) };
  return { kind, command, swept: swept.filter(isOption), settings: tried, ...chosen, runs: members };
}

/** The plan of `--seeds`: runs that differ only in their seed. @param values the options of every run; their seed is ignored. */
export function planSeeds(command: RunPlan['command'], values: object, seeds: readonly number[]): RunPlan {
  const flags = optionsAsFlags({ ...values }, runOptionNames(command));
  return {
    kind: 'seeds',
    command,
    swept: [],
    settings: [{ name: 'all', values: {} }],
    runs: seeds.map(
      (seed): PlannedRun => ({ name: `seed-${seed}`, seed, setting: 0, flags: { ...flags, seed: `${seed}` } }),
    ),
  };
}

/** The command that resumes a set, without the folder. */
export function resumeCommand({ kind, command }: RunPlan): string {
  return `${kind === 'sweep' ? 'sweep' : command} --resume`;
}

/** The names of the options of a command's runs. */
export function runOptionNames(command: RunPlan['command']): readonly OptionName[] {
  return command === 'train' ? trainingOptionNames : sftOptionNames;
}

/** Arguments of the command line that starts a run with these options. */
export function argumentsOf(flags: TextFlags): string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    const option = flag(name as OptionName);
    return value === true ? [option] : value === false ? [] : [`${option}=${value}`];
  });
}

/** The checked options of a member. @throws UserError that lists every value that is not allowed. */
export function optionsOf<Name extends OptionName>(names: readonly Name[], { name, flags }: PlannedRun) {
  const problems: string[] = [];
  const values = resolveOptions(names, flags, {}, problems);
  if (problems.length > 0) throw new UserError(`${name}: ${problems.join('; ')}`, { exitCode: 2 });
  return values;
}
