// Tests against real servers that others maintain: `npm run test:engines [-- NAME...]`. Each part of the list is a Python program,
// installed once at pinned versions into the cache (TINYZERO_CACHE, otherwise ~/.cache/tinyzero), and tests that start it.
// Needs Linux x64, the package index, and the disk space that the part names.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parts } from './engines.mjs';

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.error('test:engines needs Linux x64: the programs come as wheels for it.');
  process.exit(2);
}
const names = process.argv.slice(2);
const unknown = names.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(', ')}; known: ${parts.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
const cache = process.env.TINYZERO_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tinyzero');
const root = join(cache, 'test-engines');
const uvVersion = '0.13.9';

let status = 0;
for (const part of parts.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const python = installed(part);
  const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', '--test-concurrency=1', ...part.tests], {
    stdio: 'inherit',
    env: { ...process.env, [part.variable]: python },
  });
  status ||= run.status ?? 1;
}
process.exit(status);

/** The Python of a part's environment, which is created if it is missing or has other versions. */
function installed({ name, python, size, requirements, override = [], without = [] }) {
  const folder = join(root, name);
  const interpreter = join(folder, 'venv', 'bin', 'python');
  const stamp = join(folder, 'installed.json');
  const wanted = JSON.stringify({ python, requirements, override, without });
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted && existsSync(interpreter)) return interpreter;
  console.log(`Installing ${name} into ${folder}: ${size} on disk.`);
  rmSync(stamp, { force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'requirements.in'), `${requirements.join('\n')}\n`);
  writeFileSync(join(folder, 'override.txt'), `${override.join('\n')}\n`);
  const uv = findUv();
  const inFolder = { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] };
  rmSync(join(folder, 'venv'), { recursive: true, force: true });
  call(uv, ['venv', '--quiet', '-p', findPython(uv, python), 'venv'], inFolder);
  const env = { ...process.env, VIRTUAL_ENV: join(folder, 'venv') };
  const resolve = ['pip', 'compile', '--quiet', '-p', interpreter, '--override', 'override.txt', 'requirements.in'];
  const lock = call(uv, resolve, { ...inFolder, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' }).stdout;
  const isLeftOut = (line) => without.some((prefix) => line.startsWith(prefix));
  writeFileSync(
    join(folder, 'lock.txt'),
    lock
      .split('\n')
      .filter((line) => !isLeftOut(line))
      .join('\n'),
  );
  call(uv, ['pip', 'install', '--no-deps', '-r', 'lock.txt'], { ...inFolder, env });
  writeFileSync(`${stamp}.new`, wanted);
  renameSync(`${stamp}.new`, stamp);
  return interpreter;
}

/** The user's uv, or one of our own next to the environments. */
function findUv() {
  if (spawnSync('uv', ['--version']).status === 0) return 'uv';
  const tools = join(root, 'tools');
  const own = join(tools, 'bin', 'uv');
  if (existsSync(own)) return own;
  mkdirSync(root, { recursive: true });
  const inherit = { stdio: ['ignore', 'inherit', 'inherit'] };
  call('python3', ['-m', 'venv', tools], inherit);
  call(join(tools, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', `uv==${uvVersion}`], inherit);
  return own;
}

/** A Python of this version: one that uv knows, or pyenv's; otherwise the version, which uv downloads. */
function findPython(uv, version) {
  const known = spawnSync(uv, ['python', 'find', '--no-python-downloads', version], { encoding: 'utf8' });
  if (known.status === 0) return known.stdout.trim();
  const versions = join(process.env.PYENV_ROOT ?? join(homedir(), '.pyenv'), 'versions');
  const found = existsSync(versions)
    ? readdirSync(versions).findLast((name) => name.startsWith(`${version}.`))
    : undefined;
  return found === undefined ? version : join(versions, found, 'bin', 'python');
}

function call(command, args, options) {
  const run = spawnSync(command, args, options);
  if (run.status === 0) return run;
  console.error(`${[command, ...args].join(' ')} failed${run.error ? `: ${run.error.message}` : ''}`);
  process.exit(1);
}
