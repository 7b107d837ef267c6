/**
 * @file Another machine for the installer: its own cache, a PATH with only the programs a test names, an
 * unreachable mirror. For tests that run one after the other in one process.
 */
import { chmodSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { engineRoot } from '../../src/engine/install/installed.js';
import { type Reporter, silentReporter } from '../../src/util/reporter.js';
import { temporaryFolder } from './cli.js';

/** A program: the text of a shell script, or the path of a real one. */
export type Program = { readonly script: string } | { readonly real: string };

export interface Sandbox {
  readonly folder: string;
  readonly root: string;
  /** Lines that the reporter was told. */
  readonly lines: string[];
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  /** What lies in the engine's folder, the folder of downloads left out. */
  leftovers(): string[];
}

/** Nothing listens on port 2 of the loopback interface, and fetch, unlike for port 9, tries it. */
export const deadServer = 'https://127.0.0.1:2/';

export function sandbox(t: TestContext, programs: Readonly<Record<string, Program>>, env = {}): Sandbox {
  const folder = temporaryFolder('sandbox');
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  for (const [name, program] of Object.entries(programs)) {
    if ('real' in program) symlinkSync(program.real, join(bin, name));
    else {
      writeFileSync(join(bin, name), `#!/bin/sh\n${program.script}\n`);
      chmodSync(join(bin, name), 0o755);
    }
  }
  const settings: Record<string, string | undefined> = {
    TINYZERO_CACHE: join(folder, 'cache'),
    PATH: bin,
    CXX: undefined,
    TFJS_NODE_CDN_STORAGE: deadServer,
    ...env,
  };
  const before = Object.fromEntries(Object.keys(settings).map((name) => [name, process.env[name]]));
  assign(settings);
  t.after(() => {
    assign(before);
    rmSync(folder, { recursive: true, force: true });
  });
  const lines: string[] = [];
  return {
    folder,
    root: engineRoot(),
    lines,
    reporter: { ...silentReporter, line: (text) => void lines.push(text) },
    signal: new AbortController().signal,
    leftovers: () => readdirSync(engineRoot()).filter((name) => name !== 'downloads'),
  };
}

function assign(settings: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

/** Scripts that behave like the real programs. */
export const fake = {
  /** Answers `--version`, and prints `words` and fails when asked to download. */
  failingPip: (words: string): Program => ({
    script: `case "$*" in *--version*) echo "pip 99" ;; *) /bin/cat <<'END' >&2\n${words}\nEND\nexit 1 ;; esac`,
  }),
  /** Finds `wheel` in an index of its own: puts the file into the folder after --dest. */
  pip: (wheel: string): Program => ({
    script: `case "$*" in *--version*) echo "pip 99"; exit 0 ;; esac
while [ "$1" != --dest ]; do shift; done
/bin/mkdir -p "$2" && /bin/cp '${wheel}' "$2"`,
  }),
  /** Answers \`--version\`, then runs \`script\` with the output file in $output. */
  compiler: (script: string): Program => ({
    script: `case "$*" in *--version*) echo "g++ 99"; exit 0 ;; esac
while [ "$1" != -o ]; do shift; done
output="$2"
${script}`,
  }),
} as const;
