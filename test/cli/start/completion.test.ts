/** Completion scripts in the shells themselves. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { completionScript as scriptOf } from '../../../src/cli/commands/start/completion.js';
import { commands, groups } from '../../../src/cli/tables/commands.js';
import { everyCommandOptionNames } from '../../../src/options/names.js';
import { flag } from '../../../src/options/table.js';
import { algorithmNames } from '../../../src/stage2/algorithm.js';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';

const completionScript = (shell: 'bash' | 'zsh' | 'fish') => scriptOf(shell, { commands, groups });

const has = (shell: string) => spawnSync(shell, ['--version']).status === 0;

/** Completes a command line, of which the last word is being written, in a folder with a few files. */
type Complete = (words: readonly string[], folder: string) => string[];

const inBash: Complete = (words, folder) => {
  const line = words.map((word) => `'${word}'`).join(' ');
  const script = `${completionScript('bash')}\nCOMP_WORDS=(tinyzero ${line}); COMP_CWORD=${words.length}; _tinyzero; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8', cwd: folder });
  assert.equal(stderr, '');
  return stdout.split('\n').filter(Boolean).sort();
};

const inFish: Complete = (words, folder) => {
  const path = join(folder, '.tinyzero.fish');
  writeFileSync(path, completionScript('fish'));
  const script = `source ${path}; complete -C 'tinyzero ${words.join(' ')}'`;
  const { stdout, stderr } = spawnSync('fish', ['--no-config', '-c', script], {
    encoding: 'utf8',
    cwd: folder,
    env: { ...process.env, HOME: folder },
  });
  assert.equal(stderr, '');
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split('\t')[0]!)
    .sort();
};

/** In a pseudo terminal: lists the choices of Tab as zsh prints them. */
const inZsh: Complete = (words, folder) => {
  const path = join(folder, '.tinyzero.zsh');
  writeFileSync(path, completionScript('zsh'));
  // compadd is replaced by one that prints what it is given.
  const script = `
    autoload -Uz compinit; compinit -u -D; source ${path}
    zmodload zsh/zpty
    zpty -b z zsh -f -i
    zpty -w z 'PS1=; autoload -Uz compinit; compinit -u -D; source ${path}; zstyle ":completion:*" list-separator "--"; setopt no_beep; LISTMAX=0; stty cols 400; echo RE''ADY'
    out=; while [[ $out != *READY* ]]; do zpty -r z chunk && out+=$chunk; sleep 0.05; done
    zpty -w -n z 'tinyzero ${words.join(' ')}'$'\\t\\t'
    sleep 1.5
    out=; for i in {1..60}; do while zpty -r -t z chunk; do out+=$chunk; done; sleep 0.03; done
    print -r -- "$out"
  `;
  const { stdout } = spawnSync('zsh', ['-f', '-c', script], {
    encoding: 'utf8',
    cwd: folder,
    timeout: 60_000,
    env: { ...process.env, HOME: folder, TERM: 'dumb' },
  });
  return stdout.split(/\s+/).filter(Boolean);
};

function folderWithFiles(t: Parameters<typeof temporaryFolder>[0]): string {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'runs'));
  for (const name of ['my problems.jsonl', 'problems.csv']) writeFileSync(join(folder, name), '');
  return folder;
}

for (const [shell, complete] of [
  ['bash', inBash],
  ['fish', inFish],
] as const) {
  test(`${shell} completes commands, options, choices and files`, { skip: !has(shell) }, (t) => {
    const folder = folderWithFiles(t);
    const of = (...words: string[]) => complete(words, folder);
    assert.deepEqual(of('tr'), ['train']);
    assert.deepEqual(of('engine', ''), ['install', 'remove', 'status']);
    assert.deepEqual(of('init', 'p'), ['problems']);
    assert.deepEqual(of('train', '--alg'), ['--algo']);
    assert.deepEqual(of('train', '--algo', ''), [...algorithmNames].sort());
    assert.deepEqual(of('--quiet', 'train', '--epochs', '3', '--algo', 'g'), ['grpo']);
    assert.deepEqual(of('engine', 'install', '--rein'), [], 'the flag of that option is --force');
    assert.deepEqual(of('engine', 'install', '--fo'), ['--force']);
    assert.deepEqual(of('train', '--problems', 'pro'), ['problems.csv']);
    assert.deepEqual(of('train', '--problems', 'my'), ['my problems.jsonl']);
    assert.deepEqual(of('train', '--model', 'buil'), ['builtin', 'builtin-b']);
    assert.ok(of('train', '--model', 'r').some((word) => word.startsWith('runs')));
    assert.deepEqual(of('completion', ''), ['bash', 'fish', 'zsh']);
    const ofRuns = of('runs', 'r').map((word) => word.replace(/\/$/, ''));
    assert.deepEqual(ofRuns, ['rm', 'runs'], 'a command and a folder');
    const after = of('runs', 'runs', 'r').map((word) => word.replace(/\/$/, ''));
    assert.deepEqual(after, ['runs'], 'the command is complete');
    assert.deepEqual(of('runs', 'runs', 'rm', '--fil'), ['--filter'], '`rm` is a folder here');
    assert.deepEqual(of('--quiet', 'engine', 'st'), ['status']);
    assert.deepEqual(of('train', '--config', 'pro'), ['problems.csv']);
    // Every option of every command.
    for (const { words, options } of commands) {
      const flags = new Set(of(...words, '--'));
      for (const option of [...options, ...everyCommandOptionNames])
        assert.ok(flags.has(flag(option)), `${words.join(' ')} ${flag(option)}`);
    }
  });
}

test('zsh completes commands, options and choices', { skip: !has('zsh') }, (t) => {
  const folder = folderWithFiles(t);
  assert.ok(inZsh(['train', '--algo', ''], folder).includes('reinforce'));
  const engine = inZsh(['engine', ''], folder);
  for (const word of ['install', 'remove', 'status']) assert.ok(engine.includes(word), engine.join(' '));
  assert.ok(inZsh(['engine', 'install', '--'], folder).includes('--force'));
  const runs = inZsh(['runs', 'r'], folder);
  for (const word of ['rm', 'runs/']) assert.ok(runs.includes(word), runs.join(' '));
  assert.ok(!inZsh(['runs', 'problems.csv', ''], folder).includes('rm'));
  assert.ok(inZsh(['runs', '--'], folder).includes('--filter'));
});

test('the script is printed as it is, or as JSON; another shell is wrong usage', async () => {
  const plain = await tinyzero(['completion', 'fish']);
  assert.equal(plain.code, 0);
  assert.equal(plain.stdout, completionScript('fish'));
  assert.deepEqual(lastLine((await tinyzero(['completion', 'bash', '--json'])).stdout), {
    event: 'result',
    shell: 'bash',
    script: completionScript('bash'),
  });
  const wrong = await tinyzero(['completion', 'tcsh']);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /expected bash, zsh or fish, found 'tcsh'/);
});
