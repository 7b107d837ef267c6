/** @file Names on Modal: the app, the files on its volume, the program of a sandbox. Paths are relative to the volume. */
import { isAbsolute, normalize } from 'node:path';
import { shellWord } from '../../report/command.js';
import { parseJson } from '../../util/json.js';
import { check, list, number, object, oneOf, text } from '../../util/schema.js';

/** The app that all sandboxes of tinyzero belong to. */
export const appName = 'tinyzero';
/** Where a sandbox sees the volume; every command runs there, with relative paths. */
export const mountPath = '/outputs';

/** Files that do not belong to a single run's folder. */
const ownFolder = '.modal';
export const inputFolder = `${ownFolder}/inputs`;
/** Downloads from the hub, for all runs. */
export const hubCache = `${ownFolder}/huggingface`;

/** Files about a run outside its folder. */
export function filesOf(name: string) {
  const folder = `${ownFolder}/${name}`;
  return {
    folder,
    /** {@link JobRecord} */
    job: `${folder}/job.json`,
    /** Process id of the program in its sandbox. */
    pid: `${folder}/pid`,
    /** Everything that the program printed, over all its sandboxes. */
    log: `${folder}/log.jsonl`,
    /** Exit code of the program; absent while it runs and if it was cut off. */
    exit: `${folder}/exit`,
  };
}

/** The record of a run on its volume. */
export interface JobRecord {
  readonly name: string;
  readonly command: RemoteCommand;
  readonly gpu: string;
  readonly timeoutSeconds: number;
  /** Of the newest sandbox, ISO 8601. */
  readonly started: string;
  readonly version: string;
  /** Files that its options name. */
  readonly links: readonly Link[];
}

const remoteCommands = ['train', 'sft', 'estimate-vstar', 'eval'] as const;
export type RemoteCommand = (typeof remoteCommands)[number];

const jobRecordShape = object({
  name: text,
  command: oneOf(remoteCommands),
  gpu: text,
  timeoutSeconds: number({ min: 0 }),
  started: text,
  version: text,
  links: list(object({ path: text, place: text })),
});

/** @param json the content of a run's `job.json` on the volume. @throws UserError when it is damaged. */
export function parseJobRecord(json: string): JobRecord {
  return check(jobRecordShape, parseJson(json), { path: 'job.json on the volume', what: 'the record of a run' });
}

/** Whether a command makes a run: a folder that can be resumed. */
export function makesRun(command: RemoteCommand): boolean {
  return command === 'train' || command === 'sft';
}

/** Exit codes that tinyzero itself never uses. */
export const timedOutCode = 124;
export const killedCode = 137;

/** Seconds that a run has to save itself before its sandbox ends. */
export function savingSeconds(timeoutSeconds: number): number {
  return Math.min(120, Math.ceil(timeoutSeconds / 4));
}

/** A local path, as given in the options, and its path on the volume. */
export interface Link {
  readonly path: string;
  readonly place: string;
}

/** The command line of a run there. */
export interface RemoteProgram extends Pick<JobRecord, 'name' | 'command' | 'timeoutSeconds' | 'links'> {
  /** Arguments after `tinyzero`, with paths of this machine. */
  readonly args: readonly string[];
  /** Its output on the volume. */
  readonly target?: Target | undefined;
}

export interface Target {
  readonly flag: '--out' | '--resume';
  readonly path: string;
}

/**
 * The program of a sandbox, for bash: runs a command line, keeps what it prints on the volume too, and asks it to save before the
 * time is up (SIGTERM, as Ctrl-C). It runs in an empty folder where the paths of this machine lead to the volume, so the run records
 * paths that are right on both. A lock that a killed sandbox left behind is removed: Modal lets only one sandbox have the name of a
 * run.
 */
export function sandboxProgram({ name, command, timeoutSeconds, links, args, target }: RemoteProgram): string[] {
  const { folder, pid, log, exit } = filesOf(name);
  const saving = savingSeconds(timeoutSeconds);
  const words = ['tinyzero', ...args].map(shellWord);
  if (target !== undefined) words.push(target.flag, `"$root"/${target.path}`);
  // If relative paths lead up, the folder is at least that deep.
  const ups = Math.max(
    0,
    ...links.map(({ path }) => (isAbsolute(path) ? 0 : normalize(path).split(/\.\.[/\\]/).length - 1)),
  );
  return [
    'bash',
    '-o',
    'pipefail',
    '-c',
    [
      'root=$PWD',
      `mkdir -p ${folder} ${name} && rm -f ${exit} ${name}/run.lock`,
      `here=$(mktemp -d)${'/d'.repeat(ups)} && mkdir -p "$here" && cd "$here" || exit 1`,
      'link() { [ -e "$1" ] || { mkdir -p "$(dirname "$1")" && ln -s "$root/$2" "$1"; }; }',
      ...links.map(({ path, place }) => `link ${shellWord(path)} ${shellWord(place)}`),
      `sh -c 'echo $$ > "$0"; exec timeout --signal=TERM --kill-after=${saving} ${timeoutSeconds - saving} "$@"' "$root"/${pid} ${words.join(' ')} 2>&1 | tee -a "$root"/${log}`,
      'code=$?',
      // Its result is its last line.
      ...(command === 'eval' ? [`tail -n 1 "$root"/${log} > "$root"/${name}/eval.json`] : []),
      `echo $code > "$root"/${exit}; exit $code`,
    ].join('\n'),
  ];
}
