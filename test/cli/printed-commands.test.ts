/** Every command that help texts, documents, messages and the end of a run print: it is accepted, and runs as it stands. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { findCommand, parseArguments } from '../../src/cli/command-line.js';
import { programName } from '../../src/cli/program-name.js';
import { commands } from '../../src/cli/tables/commands.js';
import { cliPath, merge, temporaryFolder } from '../helpers/cli.js';

const noShell = process.platform === 'win32' && 'there is no POSIX shell';

/** What a shell makes of a command line, up to the first redirection or pipe. */
function wordsOf(line: string): string[] {
  const words = line.match(/"[^"]*"|'[^']*'|\S+/g)!;
  const end = words.findIndex((word) => /^(?:<|>|\||#|&&)/.test(word));
  return words.slice(0, end < 0 ? words.length : end).map((word) => word.replace(/^(["'])(.*)\1$/, '$2'));
}

function assertAccepted(line: string, where: string): void {
  const words = wordsOf(line);
  const spec = findCommand(words);
  if (spec === undefined) {
    // Help of a command, of a group, or of everything.
    assert.ok(
      words.includes('--help') && (words.length === 1 || commands.some((each) => each.words[0] === words[0])),
      `${where}: ${line}`,
    );
    return;
  }
  parseArguments(spec, words.slice(spec.words.length), {});
}

const sources = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).flatMap((name) =>
    name.endsWith('.ts') ? [join(folder, name)] : [],
  );

test('commands in the messages of the source are accepted', () => {
  let found = 0;
  for (const path of sources('src')) {
    if (path.endsWith('program-name.ts')) continue; // has a pattern of commands
    // Comments name commands without their arguments.
    const text = readFileSync(path, 'utf8').replace(/^\s*(?:\/\*\*|\*|\/\/).*$/gm, '');
    for (const [, raw] of text.matchAll(/\\?`tinyzero ((?:\$\{[^}]*\}|[^`\\])*)\\?`/g)) {
      if (raw!.startsWith('${') && !raw!.startsWith('${words') && !raw!.startsWith('${spec')) continue; // the user's own command
      // What a message fills in stands for a word.
      const words = raw!
        .replace(/\$\{words\.join\(' '\)\}|\$\{spec\.words\.join\(' '\)\}/g, 'train')
        .replace(/\$\{corpus\}.*/, 'tiny')
        .replace(/\$\{[^}]*\}/g, 'x');
      assertAccepted(words, path);
      found += 1;
    }
  }
  assert.ok(found > 20, `${found}`);
});

/** Examples that need a network, a server, a card, a long time, Ctrl-C or another shell, or change the machine: accepted, and not run here. */
const isNotRun = (line: string) =>
  /^engine (?:install|remove)|\w\/[\w.-]+-\d|^pretrain(?: --corpus| --family|$)|^doctor$|^doctor --engine webgpu|^worker\b| --(?:sampler-url|on|workers) |^push |^runs rm builtin-|^watch |^modal |^completion fish/.test(
    line,
  );

let folder: string;
const run = promisify(execFile);

/** Runs a command line in {@link folder} by a shell. */
async function inShell(line: string) {
  const env = merge({ TINYZERO_NO_INSTALL: '1', DISPLAY: undefined, WAYLAND_DISPLAY: undefined, CI: '1' });
  return await run('bash', ['-c', line], { cwd: folder, env, encoding: 'utf8' }).catch((error) => {
    throw new Error(`${line}\n${error.stdout}${error.stderr}`);
  });
}

const lines = (...values: unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

before(async () => {
  if (noShell) return;
  folder = temporaryFolder('printed');
  mkdirSync(join(folder, 'experiments'));
  cpSync('examples', join(folder, 'examples'), { recursive: true });
  // The same keys with fewer and shorter runs.
  const few = 'seeds = "1..2"\n[options]\nlr = [1e-4, 2e-4]\nepochs = 1\nforce = true\n';
  const tiny = 'num-train = 12\nnum-test = 4\nbatch-size = 6\nnum-samples = 4\neval-samples = 2\n';
  writeFileSync(join(folder, 'examples', 'sweep.toml'), few + tiny);
  writeFileSync(join(folder, 'prompts.jsonl'), lines({ prompt: 'What is 7 × 8?' }));
  const samples = Array.from({ length: 12 }, (_, i) => `${i} × 1=,${i + 1},${i % 2},1,0,${i % 3 === 0 ? 1 : 0}`);
  writeFileSync(join(folder, 'samples.csv'), ['prompt,answer,eval_0,eval_1,eval_2,eval_3', ...samples].join('\n'));
  writeFileSync(
    join(folder, 'answers.jsonl'),
    lines({ prompt: 'What is 7 × 8?', completion: 'answer: 56', eos: true }),
  );
});

test('a run ends with commands that run as they are printed, and so do the examples of all help texts', {
  skip: noShell,
}, async () => {
  const program = `node ${cliPath}`;
  const short = '--num-train 12 --num-test 4 --epochs 1 --batch-size 6 --num-samples 4 --eval-samples 2 --force';
  const { stdout } = await inShell(`${program} train ${short} --out runs/mine`);
  const next = stdout.slice(stdout.indexOf('Next:')).trim().split('\n').slice(1);
  assert.equal(next.length, 3, stdout);
  for (const line of next) assert.ok(line.startsWith(`  ${program} `), line);
  for (const line of next) await inShell(`${line} < /dev/null`);
  for (const name of ['other', 'third'])
    cpSync(join(folder, 'runs', 'mine'), join(folder, 'runs', name), { recursive: true });
  await inShell(`${program} train ${short} --lora-rank 2 --out runs/lora`);
  cpSync(join(folder, 'runs', 'lora', 'final'), join(folder, 'adapter'), { recursive: true });
  for (const part of [1, 2])
    await inShell(
      `${program} estimate-vstar ${short.replace(/ --(?:epochs|batch-size|eval-samples) \d+| --force/g, '')} --shard ${part}/2 --out part-${part}.json`,
    );
  for (const part of [1, 2]) renameSync(join(folder, `part-${part}.json`), join(folder, `made-${part}.json`));
  let ran = 0;
  for (const { words, examples } of commands) {
    if (words[0] === 'merge-vstar') {
      for (const part of [1, 2]) cpSync(join(folder, `made-${part}.json`), join(folder, `part-${part}.json`));
    }
    for (const [line] of examples) {
      assertAccepted(line, words.join(' '));
      if (isNotRun(line)) continue;
      const quick =
        line === 'train' || line.startsWith('train --problems')
          ? `${line} --dry-run`
          : line === 'pretrain --steps 50 --out /tmp/try'
            ? `pretrain --steps 2 --out try`
            : line.startsWith('train --seeds')
              ? `${line.replace('1..5', '1..2')} ${short}`
              : line;
      // Two examples write there, and neither replaces what the other made.
      rmSync(join(folder, 'merged'), { recursive: true, force: true });
      // Completion scripts are written to a home of the test's own.
      const home = /> (~\/\S+)\//.exec(quick)?.[1];
      if (home !== undefined) mkdirSync(home.replace('~', folder), { recursive: true });
      const atHome = quick.replace('~/', `${folder}/`);
      await inShell(`${program} ${atHome} < /dev/null`.replace(/(<.*) < \/dev\/null$/, '$1'));
      ran += 1;
    }
  }
  assert.ok(ran > 20, `${ran}`);
});

test('the printed program name is the one that was started', () => {
  assert.equal(programName('/usr/local/bin/tinyzero', {}), 'tinyzero');
  assert.equal(programName('/usr/lib/node_modules/tinyzero/dist/src/cli.js', {}), 'tinyzero');
  assert.equal(programName('/home/a/project/node_modules/.bin/tinyzero', {}), 'npx tinyzero');
  assert.equal(programName(join(process.cwd(), 'dist/src/cli.js'), {}), 'node dist/src/cli.js');
  assert.equal(programName('/elsewhere/dist/src/cli.js', {}), 'node /elsewhere/dist/src/cli.js');
});
