/**
 * @file Plans a run on Modal from the options alone, and describes the plan: its command line, the files to upload, where its
 * results go, and its maximum cost. Sends and starts nothing.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { shippedModel } from '../../model/shipped.js';
import { type ModalGpu, modalGpus, remoteOptionNames } from '../../options/machines.js';
import type { OptionSpec } from '../../options/spec.js';
import { flag, type OptionName, type OptionValues, options } from '../../options/table.js';
import { shellWord } from '../../report/command.js';
import { newFolder, runFiles } from '../../run/folder.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';
import { isRecord, readJsonRecord } from '../../util/json.js';
import { imagePlan } from './image.js';
import { makesRun, type RemoteCommand, savingSeconds, type Target } from './layout.js';
import { type Input, inputOf } from './transfer.js';

export type RemoteValues = OptionValues<(typeof remoteOptionNames)[number]>;

export interface RemoteJob {
  readonly command: RemoteCommand;
  /** The name of the run, of its folder on the volume and of its sandbox. */
  readonly name: string;
  /** Arguments after `tinyzero` there, with paths of this machine. */
  readonly args: readonly string[];
  /** Its output; an evaluation only prints. */
  readonly target: Target | undefined;
  /** Local files that its options name. */
  readonly inputs: readonly Input[];
  /** A local run that is resumed on Modal, unless the volume has it. */
  readonly resumed?: Input;
  readonly resume: boolean;
  readonly gpu: ModalGpu;
  readonly timeoutSeconds: number;
  readonly volume: string;
  readonly detach: boolean;
  /** Folder or file of the results here. */
  readonly output: string;
  /** Dollars for the GPU until the timeout. */
  readonly mostDollars: number;
}

/** Options that name files of this machine, if they exist here. */
const inputOptions: readonly OptionName[] = [
  ...(['model', 'reference', 'task', 'problems', 'data', 'vStar', 'fromVStar', 'compare'] as const),
];
/** Options that say how this command itself behaves. */
const ownOptions: readonly OptionName[] = [
  ...remoteOptionNames,
  ...(['out', 'resume', 'dryRun', 'engine', 'install', 'json', 'quiet', 'color', 'config', 'port', 'open'] as const),
];
/** Options that need the run's files on this machine. */
const refused: readonly OptionName[] = ['seeds', 'parallel', 'watch', 'workers'];

/** Modal's own limit on a sandbox. */
const longestSeconds = 24 * 3600;
/** A shorter limit would be spent on starting and saving. */
const shortestSeconds = 20;

/** @throws UserError (wrong usage) that lists what is wrong with the options. */
export function planJob(
  command: RemoteCommand,
  values: RemoteValues & Partial<OptionValues>,
  given: ReadonlySet<OptionName>,
): RemoteJob {
  const found: string[] = [];
  for (const name of refused) {
    if (given.has(name)) found.push(`${flag(name)}: cannot be combined with --on modal; ${insteadOf[name]}`);
  }
  if (values.data === '-') found.push('--data: standard input cannot be sent to Modal; give a file');
  const timeoutSeconds = parseDuration(values.timeout);
  if (timeoutSeconds === undefined || timeoutSeconds > longestSeconds || timeoutSeconds < shortestSeconds) {
    found.push(`--timeout: expected from ${shortestSeconds}s to 24h, such as 90m or 8h, found '${values.timeout}'`);
  }
  const resume = values.resume !== undefined;
  const flags = flagsOf(values, given);
  const { name, output } = nameOf(command, values, flags);
  if (!/^[\w.-]{1,64}$/.test(name) || name.startsWith('.')) {
    found.push(
      `${resume ? '--resume' : '--out'}: the last part names the run on Modal, so it must have 1 to 64 letters, digits, '.', '-' and '_', and must not begin with '.'; found '${name}'`,
    );
  }
  if (found.length > 0) throw new UserError(found.join('\n'), { exitCode: exitCodes.usage });
  // A resumed run has its own.
  const engine = given.has('engine') ? [values.engine!] : resume ? [] : ['tensorflow'];
  const gpu = values.remoteGpu;
  const local = resume ? recordOf(values.resume!) : undefined;
  const named = local === undefined ? pathsIn(values, given) : pathsIn(local, new Set(inputOptions));
  return {
    ...{ command, name, resume, gpu, output, timeoutSeconds: timeoutSeconds! },
    args: [command, ...flags, ...engine.flatMap((name) => ['--engine', name]), '--no-install', '--json', '--quiet'],
    target: targetOf(command, name, resume),
    inputs: named.map((path) => inputOf(path)),
    ...(local !== undefined && { resumed: inputOf(values.resume!, true) }),
    volume: values.volume,
    detach: values.detach,
    mostDollars: (timeoutSeconds! / 3600) * modalGpus[gpu].dollarsPerHour,
  };
}

/** The options of a run on this machine; undefined if it is not here. */
function recordOf(folder: string): Partial<OptionValues> | undefined {
  const path = join(folder, runFiles.config);
  if (!existsSync(path)) return undefined;
  const { options: recorded } = readJsonRecord(path);
  return isRecord(recorded) ? (recorded as Partial<OptionValues>) : {};
}

const insteadOf: Readonly<Partial<Record<OptionName, string>>> = {
  seeds: 'start a run for each seed with --seed and --detach',
  parallel: 'each run has its own GPU',
  workers: 'a run on Modal is one process',
  watch: 'fetch the files with `tinyzero modal get RUN`, then watch them',
};

function targetOf(command: RemoteCommand, name: string, resume: boolean): Target | undefined {
  if (command === 'eval') return undefined;
  if (makesRun(command)) return { flag: resume ? '--resume' : '--out', path: name };
  return { flag: '--out', path: `${name}/${runFiles.vStar}` };
}

/** Files and folders of this machine that options name, each once; and those that the options of a named run name. */
function pathsIn(values: Partial<OptionValues>, given: ReadonlySet<OptionName>): string[] {
  const texts = inputOptions.filter((name) => given.has(name)).map((name) => values[name]);
  const isLocal = (text: unknown): text is string =>
    typeof text === 'string' && shippedModel(text) === text && existsSync(text);
  const paths = texts.filter(isLocal);
  const ofRuns = paths.flatMap((path) => pathsIn(recordOf(path) ?? {}, new Set(inputOptions)));
  return [...new Set([...paths, ...ofRuns])];
}

/** The given options as arguments. */
function flagsOf(values: Partial<OptionValues>, given: ReadonlySet<OptionName>): string[] {
  return [...given].flatMap((name): string[] => {
    const value = values[name];
    if (ownOptions.includes(name) || refused.includes(name) || value === undefined) return [];
    const spec: OptionSpec = options[name];
    if (spec.type === 'boolean') return value === spec.default ? [] : [flag(name)];
    return [flag(name), ...[value].flat().map(String)];
  });
}

/** A run is named by its folder; anything else by what it computes, so that the same command resumes from the same files. */
function nameOf(
  command: RemoteCommand,
  { resume, out, name, model }: Partial<OptionValues>,
  flags: readonly string[],
): { name: string; output: string } {
  const what = model ?? 'builtin';
  if (makesRun(command)) {
    const folder = resume ?? out ?? newFolder(name ?? (command === 'sft' ? `sft-${basename(what)}` : what));
    return { name: basename(folder), output: folder };
  }
  const hash = createHash('sha256').update(flags.join('\0')).digest('hex').slice(0, 8);
  const short = basename(what)
    .replace(/[^\w-]+/g, '-')
    .slice(0, 40);
  const kind = command === 'eval' ? 'eval' : 'vstar';
  return { name: `${kind}-${short}-${hash}`, output: out ?? (command === 'eval' ? '' : runFiles.vStar) };
}

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds; undefined unless it is a positive number with a unit. The default unit is the second. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)([smhd])?$/.exec(text.trim()) ?? [];
  const seconds = Math.round(Number(number) * units[unit]!);
  return seconds > 0 ? seconds : undefined;
}

/** `8 h`, `90 min`, `45 s`. */
export function formatDuration(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

/** The plan as data: what `--dry-run --json` prints. */
export function planOf(job: RemoteJob) {
  const { command, name, args, target, gpu, timeoutSeconds, volume, output, mostDollars, inputs, resumed } = job;
  return {
    where: 'modal',
    run: name,
    command: ['tinyzero', ...args, ...(target === undefined ? [] : [target.flag, target.path])],
    kind: command,
    gpu: { name: gpu, ...modalGpus[gpu] },
    timeoutSeconds,
    mostDollars,
    volume,
    image: imagePlan,
    sends: [...inputs, ...(resumed === undefined ? [] : [resumed])].map(({ path, bytes }) => ({ path, bytes })),
    resultsIn: output,
  };
}

const dollars = (amount: number) => `$${amount.toFixed(2)}`;

/** `A100 40 GB for at most 8 h: $2.10 an hour, at most $16.80, …` */
function describeCost({ gpu, timeoutSeconds, mostDollars }: RemoteJob): string {
  const { memory, dollarsPerHour } = modalGpus[gpu];
  return (
    `${gpu}, ${memory}, for at most ${formatDuration(timeoutSeconds)}: ${dollars(dollarsPerHour)} an hour, at most ` +
    `${dollars(mostDollars)}, plus 4 cores and 16 GB of memory (list prices of June 2026; https://modal.com/pricing).`
  );
}

export function describePlan(job: RemoteJob): string[] {
  const { run, command, sends, volume, resultsIn, image } = planOf(job);
  return [
    `${run} on Modal: ${describeCost(job)}`,
    `  runs     ${command.map(shellWord).join(' ')}`,
    `  image    ${image.join('; ')}`,
    `  volume   ${volume}, which keeps the files of every run`,
    ...sends.map(({ path, bytes }) => `  sends    ${path} (${formatBytes(bytes)})`),
    `  saves    ${formatDuration(savingSeconds(job.timeoutSeconds))} before the time limit, so that it can be resumed`,
    `  results  ${resultsIn === '' ? 'printed here' : resultsIn}`,
  ];
}
