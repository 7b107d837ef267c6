/** The program of a sandbox, in a folder of this machine. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { followSandbox } from '../../../src/cli/modal/follow.js';
import { parseDuration } from '../../../src/cli/modal/job.js';
import { filesOf, type RemoteProgram, sandboxProgram } from '../../../src/cli/modal/layout.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { temporaryFolder } from '../../helpers/files.js';

/** Runs the program with `script` as tinyzero. */
function run(root: string, program: Partial<RemoteProgram>, script: string) {
  const bin = join(root, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'tinyzero'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const whole = { name: 'mine', command: 'train', timeoutSeconds: 40, links: [], args: ['train'], ...program } as const;
  const [bash, ...args] = sandboxProgram(whole);
  return spawnSync(bash!, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` },
  });
}

test('paths of this machine lead to the volume, whether they are absolute or go up', (t) => {
  const root = temporaryFolder(t);
  const place = '.modal/inputs/1/data';
  mkdirSync(join(root, place), { recursive: true });
  writeFileSync(join(root, place, 'a.txt'), 'content');
  const paths = ['data', 'a b/data', '../../up/data', join(root, 'elsewhere/data')];
  const links = paths.map((path) => ({ path, place }));
  const args = ['train', '--note', "it's; rm -rf /"];
  const script = `${paths.map((path) => `cat "${path}/a.txt"; echo`).join('\n')}\nprintf '%s|' "$@"`;
  const target = { flag: '--out', path: 'mine' } as const;
  const { status, stdout, stderr } = run(root, { links, args, target }, script);
  assert.equal(stderr, '');
  assert.equal(stdout, `${'content\n'.repeat(4)}train|--note|it's; rm -rf /|--out|${root}/mine|`);
  assert.equal(status, 0);
});

test('the log and the exit code stay on the volume; a dead lock is removed; the time ends with SIGTERM', (t) => {
  const root = temporaryFolder(t);
  const { log, exit } = filesOf('mine');
  mkdirSync(join(root, 'mine'));
  writeFileSync(join(root, 'mine', 'run.lock'), '{}');
  assert.equal(run(root, {}, 'echo one; echo two >&2; exit 3').status, 3);
  assert.equal(readFileSync(join(root, exit), 'utf8'), '3\n');
  assert.equal(readFileSync(join(root, log), 'utf8'), 'one\ntwo\n');
  assert.ok(!existsSync(join(root, 'mine', 'run.lock')));

  // Of 4 s, 1 is for saving.
  const saving = 'trap "echo saved; exit 130" TERM; echo began; sleep 60 & wait';
  const { status, stdout } = run(root, { timeoutSeconds: 4, command: 'eval' }, saving);
  assert.equal(stdout, 'began\nsaved\n');
  assert.equal(status, 124);
  assert.equal(readFileSync(join(root, log), 'utf8'), 'one\ntwo\nbegan\nsaved\n');
  assert.equal(readFileSync(join(root, 'mine', 'eval.json'), 'utf8'), 'saved\n');
});

test('a lost connection is restored, and no line is lost or repeated', async () => {
  const lost = Object.assign(new Error('14 UNAVAILABLE'), { code: 14 });
  const pieces = ['one\ntw', 'o\nthree', '\nfour'];
  /** Connections that end after so many pieces. */
  const lives = [1, 0, 2];
  const told: string[] = [];
  const heard: string[] = [];
  const fromId = async () => {
    const life = lives.shift();
    const stdout = (async function* () {
      yield* pieces.slice(0, life);
      if (life !== undefined) throw lost;
    })();
    return { stdout, wait: async () => 7 };
  };
  const modal = { client: { sandboxes: { fromId } } } as never;
  const reporter = { ...silentReporter, line: (text: string) => heard.push(text) };
  const { signal } = new AbortController();
  const follow = () =>
    followSandbox(modal, { sandboxId: 'sb' } as never, 'mine', (line) => told.push(line), reporter, signal, {
      tries: 3,
      pauseMs: 1,
    });
  assert.equal(await follow(), 7);
  assert.deepEqual(told, ['one', 'two', 'three', 'four']);
  assert.match(heard[0]!, /The connection to Modal is lost; mine continues there/);
  assert.ok(heard.includes('Reconnected.'));

  lives.push(0, 0, 0, 0);
  await assert.rejects(follow(), /mine continues there\. Follow it again with `tinyzero modal logs mine`/);
});

test('durations', () => {
  const texts = ['7200', '90m', '1.5h', '1d', '45s'];
  assert.deepEqual(texts.map(parseDuration), [7200, 5400, 5400, 86_400, 45]);
  for (const text of ['', '0', '-1h', '8 hours', 'h']) assert.equal(parseDuration(text), undefined, text);
});
