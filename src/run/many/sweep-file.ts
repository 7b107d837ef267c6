/**
 * @file Reads the file of a sweep, TOML or JSON, and derives its settings. `[options]` gives each option a list of values, a range,
 * or one value for all settings. The keys above it say how settings are chosen and ranked.
 */
import { closestMatch } from 'leven';
import { flagOf, optionMeant, readTable } from '../../options/config-file.js';
import { alternatives, parseSeeds } from '../../options/spec.js';
import { keyOf, type OptionName, options } from '../../options/table.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { describe, isRecord, type JsonRecord } from '../../util/json.js';
import { keyedRandom, type Random } from '../../util/random.js';
import { type PlannedRun, type RankBy, type RunPlan, rankings, runOptionNames, type TextFlags } from './plan.js';

/** Largest number of runs. A grid grows quickly. */
const maxRuns = 1000;

/** A swept option: its values, or a range to draw from. */
type Candidates =
  | { readonly values: readonly (string | boolean)[] }
  | { readonly min: number; readonly max: number; readonly isLog: boolean; readonly isWhole: boolean };

type Swept = readonly (readonly [name: OptionName, candidates: Candidates])[];

const topKeys = ['command', 'method', 'trials', 'seed', 'seeds', 'rank-by', 'options'];

/** @throws UserError (wrong usage) that lists every error in the file. */
export function readSweep(path: string): RunPlan {
  const table = readTable(path);
  const problems: string[] = [];
  for (const key of Object.keys(table)) {
    if (topKeys.includes(key)) continue;
    const meant = closestMatch(key, topKeys, { maxDistance: 3 });
    problems.push(`${key}: unknown${meant ? `; did you mean ${meant}?` : ''} (options of the runs go under [options])`);
  }
  const choice = <Value extends string>(key: string, choices: readonly Value[]): Value => {
    const value = table[key] ?? choices[0];
    const found = choices.find((each) => each === value);
    if (found === undefined) problems.push(`${key}: expected ${alternatives(choices)}, found ${describe(value)}`);
    return found ?? choices[0]!;
  };
  const command = choice('command', ['train', 'sft'] as const);
  const method = choice('method', ['grid', 'random'] as const);
  const rankBy = choice<RankBy>('rank-by', rankings);
  if (command === 'sft' && rankBy === 'train-exact')
    problems.push('rank-by: train-exact is a metric of `tinyzero train`');
  const seed = wholeNumber(table, 'seed', 0, problems) ?? 0;
  const trials = wholeNumber(table, 'trials', 1, problems);
  if (method === 'random' && trials === undefined)
    problems.push('trials: method = "random" needs the number of settings to try');
  if (method === 'grid' && trials !== undefined)
    problems.push('trials: a grid tries every combination; to try only some, add method = "random"');
  const seeds = seedsOf(table.seeds, problems);

  const { swept, fixed } = readOptions(table.options, command, problems);
  if (swept.length === 0 && problems.length === 0) problems.push('options: no option has a list of values to try');
  if (method === 'grid') {
    for (const [name, candidates] of swept) {
      if (!('values' in candidates))
        problems.push(`options.${keyOf(name)}: a grid needs a list; ranges are for method = "random"`);
    }
  }
  if (seeds !== undefined && 'seed' in fixed) problems.push('options.seed: leave it out; seeds gives the seeds');
  if (problems.length === 0) {
    const settings = method === 'grid' ? grid(swept, problems) : drawn(swept, trials!, seed, problems);
    const plan = planOf({ command, rankBy, swept, settings, fixed, seeds });
    if (plan.runs.length > maxRuns) problems.push(`${plan.runs.length} runs: expected at most ${maxRuns}`);
    if (problems.length === 0) return plan;
  }
  throw new UserError(problems.map((problem) => `${path}: ${problem}`).join('\n'), { exitCode: exitCodes.usage });
}

function wholeNumber(table: JsonRecord, key: string, min: number, problems: string[]): number | undefined {
  const value = table[key];
  if (value === undefined || (Number.isSafeInteger(value) && Number(value) >= min)) {
    return value === undefined ? undefined : Number(value);
  }
  problems.push(`${key}: expected a whole number, at least ${min}, found ${describe(value)}`);
  return undefined;
}

/** `"1..3"`, or a list of numbers. */
function seedsOf(value: unknown, problems: string[]): readonly number[] | undefined {
  if (value === undefined) return undefined;
  const parsed = parseSeeds(Array.isArray(value) ? value.join(',') : String(value));
  if (typeof parsed !== 'string') return parsed;
  problems.push(`seeds: ${parsed}`);
  return undefined;
}

function readOptions(given: unknown, command: RunPlan['command'], problems: string[]) {
  const swept: (readonly [OptionName, Candidates])[] = [];
  const fixed: Record<string, string | boolean> = {};
  if (!isRecord(given)) {
    problems.push(`options: expected a table of options, found ${describe(given)}`);
    return { swept, fixed };
  }
  const names = runOptionNames(command);
  for (const [key, value] of Object.entries(given)) {
    const name = names.find((each) => each === key || keyOf(each) === key);
    if (name === undefined) {
      problems.push(`options.${key}: not an option of \`tinyzero ${command}\`${optionMeant(key, names)}`);
      continue;
    }
    if (Array.isArray(value)) {
      const texts = value.map((item) => flagOf(options[name], item));
      const values = texts.filter((text) => typeof text === 'string' || typeof text === 'boolean');
      if (name === 'seed')
        problems.push(
          'options.seed: a seed cannot be swept; seeds = "1..5" above [options] gives every setting the same seeds',
        );
      else if (values.length < value.length || values.length === 0) problems.push(wrongValue(key, value));
      else if (new Set(values).size < values.length)
        problems.push(`options.${key}: ${describe(value)} contains a value twice`);
      else swept.push([name, { values }]);
    } else if (isRecord(value)) {
      const range = rangeOf(name, value);
      if (range === undefined) problems.push(wrongValue(key, value));
      else swept.push([name, range]);
    } else {
      const text = flagOf(options[name], value);
      if (typeof text === 'string' || typeof text === 'boolean') fixed[name] = text;
      else problems.push(wrongValue(key, value));
    }
  }
  return { swept, fixed };
}

function wrongValue(key: string, value: unknown): string {
  return `options.${key}: expected a value, a list of values, or { min = …, max = …, scale = "log" }, found ${describe(value)}`;
}

function rangeOf(name: OptionName, { min, max, scale = 'linear', ...rest }: JsonRecord): Candidates | undefined {
  const { type } = options[name];
  if ((type !== 'integer' && type !== 'number') || Object.keys(rest).length > 0) return undefined;
  if (typeof min !== 'number' || typeof max !== 'number' || !(min < max)) return undefined;
  if ((scale !== 'linear' && scale !== 'log') || (scale === 'log' && min <= 0)) return undefined;
  return { min, max, isLog: scale === 'log', isWhole: type === 'integer' };
}

/** All combinations; the last option varies fastest. */
function grid(swept: Swept, problems: string[]): TextFlags[] {
  const counts = swept.map(([, candidates]) => ('values' in candidates ? candidates.values.length : 1));
  const total = counts.reduce((product, count) => product * count, 1);
  if (total > maxRuns) {
    problems.push(
      `options: ${total} combinations exceed the limit of ${maxRuns}; method = "random" tries some of them`,
    );
    return [];
  }
  let settings: TextFlags[] = [{}];
  for (const [name, candidates] of swept) {
    const values = 'values' in candidates ? candidates.values : [];
    settings = settings.flatMap((setting) => values.map((value) => ({ ...setting, [name]: value })));
  }
  return settings;
}

/** After so many repeated settings in a row, all settings have almost certainly been drawn. */
const maxRepeats = 1000;

/** Distinct random settings. The first n do not depend on the number of trials. */
function drawn(swept: Swept, trials: number, seed: number, problems: string[]): TextFlags[] {
  const random = keyedRandom(seed, 'sweep');
  const known = new Map<string, TextFlags>();
  for (let repeats = 0; known.size < Math.min(trials, maxRuns + 1) && repeats < maxRepeats; repeats++) {
    const setting = Object.fromEntries(swept.map(([name, candidates]) => [name, draw(candidates, random)]));
    const key = JSON.stringify(setting);
    if (known.has(key)) continue;
    known.set(key, setting);
    repeats = -1;
  }
  if (known.size < trials && known.size <= maxRuns) {
    problems.push(`trials: ${trials} exceeds the number of different settings, ${known.size}`);
  }
  return [...known.values()];
}

function draw(candidates: Candidates, random: Random): string | boolean {
  if ('values' in candidates) return candidates.values[random.int(0, candidates.values.length - 1)]!;
  const { min, max, isLog, isWhole } = candidates;
  const share = random.uniform();
  const value = isLog ? min * (max / min) ** share : min + share * (max - min);
  // Three digits distinguish settings and are short enough to type.
  return String(isWhole ? Math.round(value) : Number(value.toPrecision(3)));
}

function planOf({
  command,
  rankBy,
  swept,
  settings,
  fixed,
  seeds,
}: Pick<RunPlan, 'command'> & {
  readonly rankBy: RankBy;
  readonly swept: Swept;
  readonly settings: readonly TextFlags[];
  readonly fixed: TextFlags;
  readonly seeds: readonly number[] | undefined;
}): RunPlan {
  const digits = String(settings.length).length;
  const nameOf = (i: number) => `trial-${String(i + 1).padStart(digits, '0')}`;
  const used = seeds ?? [Number(fixed.seed ?? options.seed.default)];
  const runs = settings.flatMap((values, setting) =>
    used.map((seed): PlannedRun => {
      const name = used.length === 1 ? nameOf(setting) : `${nameOf(setting)}-seed-${seed}`;
      return { name, seed, setting, flags: { ...fixed, ...values, seed: String(seed) } };
    }),
  );
  return {
    kind: 'sweep',
    command,
    swept: swept.map(([name]) => name),
    settings: settings.map((values, i) => ({ name: nameOf(i), values })),
    rankBy,
    runs,
  };
}
