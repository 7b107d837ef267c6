/**
 * @file Runs the compiled command line in a process of its own.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { programName } from '../../src/cli/program-name.js';

export const cliPath = fileURLToPath(new URL('../../src/cli.js', import.meta.url));

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `env` is added to this process's environment; a value of undefined removes a variable. Standard input is `input`. */
export function runNode(
  args: readonly string[],
  env: Record<string, string | undefined> = {},
  input: string | Uint8Array = '',
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env: merge(env), stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.on('error', () => {}); // a child that ends without reading is judged by its exit code
    child.stdin.end(input);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Runs a command line. The commands that it prints start with `tinyzero`, independent of how it was started. */
export async function tinyzero(
  args: readonly string[],
  env: Record<string, string | undefined> = {},
  input: string | Uint8Array = '',
): Promise<CliResult> {
  const { code, stdout, stderr } = await runNode([cliPath, ...args], env, input);
  return { code, stdout: named(stdout), stderr: named(stderr) };
}

/** Output with `tinyzero` for the program, however it was started. */
export function named(text: string): string {
  const name = programName(cliPath);
  return text.replaceAll(`${name} `, 'tinyzero ').replaceAll(`${name}\n`, 'tinyzero\n');
}

export function merge(env: Record<string, string | undefined>): NodeJS.ProcessEnv {
  // The test process's settings of coverage and reporters must not reach the child.
  return { ...process.env, NODE_TEST_CONTEXT: undefined, ...env };
}

/** The result that a command printed with `--json`: the last line, after its events. */
// biome-ignore lint/suspicious/noExplicitAny: as JSON.parse, whose values are the tests' to judge
export function lastLine(stdout: string): any {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!);
}

export function temporaryFolder(name: string): string {
  return mkdtempSync(join(tmpdir(), `tinyzero-${name}-`));
}

/**
 * Runs the command line and returns the URL of every module that it loaded: a hook that is registered first records
 * them.
 */
export async function modulesLoadedBy(args: readonly string[]): Promise<CliResult & { readonly loaded: string[] }> {
  const list = join(temporaryFolder('imports'), 'list.txt');
  const result = await whileLoading(args, `appendFileSync(${JSON.stringify(list)}, url + '\\n');`);
  return { ...result, loaded: readFileSync(list, 'utf8').trim().split('\n') };
}

/** Runs the command line; `statement`, JavaScript, is executed before each module `url` is loaded. */
export async function whileLoading(args: readonly string[], statement: string): Promise<CliResult> {
  const folder = temporaryFolder('hook');
  const hook = join(folder, 'hook.mjs');
  writeFileSync(
    hook,
    `import { appendFileSync, rmSync } from 'node:fs';
export async function load(url, context, next) { ${statement} return next(url, context); }`,
  );
  const register = join(folder, 'register.mjs');
  const hookUrl = JSON.stringify(pathToFileURL(hook).href);
  writeFileSync(register, `import { register } from 'node:module'; register(${hookUrl});`);
  return await runNode(['--import', pathToFileURL(register).href, cliPath, ...args]);
}

/** The packages that modules belong to, each once. */
export function packagesOf(urls: readonly string[]): string[] {
  return [...new Set(urls.flatMap((url) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []))];
}
