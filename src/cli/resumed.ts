/**
 * @file Options given together with `--resume`. A resumed run keeps its own options. A given option is accepted if it has
 * the same value, takes effect if it changes no result, and is refused otherwise.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { remoteOptionNames } from '../options/machines.js';
import { everyCommandOptionNames, sftOptionNames, trainingOptionNames } from '../options/names.js';
import { optionsAsFlags } from '../options/settings.js';
import { flag, type OptionName, type OptionValues } from '../options/table.js';
import { runFiles } from '../run/folder.js';
import { holdsPlan, readPlan } from '../run/many/plan.js';
import { readRun, type StoredRun } from '../run/record.js';
import { readSftRun, type StoredSft } from '../run/sft/record.js';
import { exitCodes, UserError } from '../util/errors.js';
import { hasKey } from '../util/keys.js';
import { pageOptions } from './command-spec.js';

/** Options that say where to compute and what to show. */
const always: readonly OptionName[] = [
  ...(['resume', 'dryRun', 'json', 'install', 'gpuMemory'] as const),
  ...pageOptions,
  ...remoteOptionNames,
  ...everyCommandOptionNames,
];
/** Options that take effect because they change no result, for each kind of run and for a set. */
const counting = {
  train: ['force', 'tensorboard', 'workers', 'tinkerUrl', 'samplerUrl', 'apiKeyEnv'],
  sft: [],
  set: ['parallel'],
} as const satisfies Readonly<Record<string, readonly OptionName[]>>;

type Given = ReadonlySet<OptionName>;

/** @throws UserError (wrong usage) for options that the resumed set of runs in `folder` would ignore. */
export function requireOwnOfSet(folder: string, values: Partial<OptionValues>, given: Given): void {
  const { engine } = readPlan(folder);
  requireOwn(folder, { values, given, counting: counting.set, own: { engine } });
}

/**
 * The record of the run in `folder`.
 *
 * @returns undefined if it holds no run, or a set of runs.
 * @throws UserError (wrong usage) for given options that it would ignore.
 */
export function ownRun(folder: string, values: Partial<OptionValues>, given: Given): StoredRun | undefined {
  const stored = recordOf(folder, readRun);
  if (stored === undefined) return undefined;
  const { options, engine } = stored;
  // A server may have moved. A run without a server cannot get one.
  const servers = { tinkerUrl: options.tinkerUrl, samplerUrl: options.samplerUrl, apiKeyEnv: options.samplerUrl };
  const isLocal = (name: OptionName) => hasKey(servers, name) && servers[name] === undefined;
  const own = {
    ...optionsAsFlags({ ...options }, trainingOptionNames),
    engine: engine === 'server' ? values.engine : engine,
  };
  requireOwn(folder, { values, given, counting: counting.train.filter((name) => !isLocal(name)), own });
  return stored;
}

/** As {@link ownRun}, for a run of `sft`. */
export function ownSft(folder: string, values: Partial<OptionValues>, given: Given): StoredSft | undefined {
  const stored = recordOf(folder, readSftRun);
  if (stored === undefined) return undefined;
  const { options, engine } = stored;
  requireOwn(folder, {
    values,
    given,
    counting: counting.sft,
    own: { ...optionsAsFlags({ ...options }, sftOptionNames), engine },
  });
  return stored;
}

function recordOf<Stored>(folder: string, read: (path: string) => Stored): Stored | undefined {
  const path = join(folder, runFiles.config);
  return existsSync(path) && !holdsPlan(folder) ? read(path) : undefined;
}

interface Resumed {
  readonly values: Partial<OptionValues>;
  readonly given: Given;
  readonly counting: readonly OptionName[];
  /** Values of the run's own options, as text. */
  readonly own: Partial<Record<OptionName, string | boolean | undefined>>;
}

function requireOwn(folder: string, { values, given, counting, own }: Resumed): void {
  const counts = [...always, ...counting];
  const asText = optionsAsFlags({ ...values }, [...given]);
  const others = [...given].filter((name) => {
    if (counts.includes(name)) return false;
    if (name === 'engine' && values.engine === 'auto') return false;
    return asText[name] !== own[name];
  });
  if (others.length === 0) return;
  const listed = others.map((name) => {
    const [wanted = 'off', has] = [asText[name], own[name]];
    const word = wanted === true ? flag(name) : `${flag(name)} ${wanted}`;
    return has === undefined || has === true ? word : `${word} (the run has ${has})`;
  });
  const also = ['', ...counting.map((name) => `${flag(name)}, `)].join('');
  throw new UserError(
    {
      problem: `--resume: the run in ${folder} keeps its own options. Found ${listed.join(', ')}.`,
      fix: `Omit these, or start a new run with --out. With --resume, only ${also}and options for the place, the engine and the output can change.`,
    },
    { exitCode: exitCodes.usage },
  );
}
