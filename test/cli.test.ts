import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commands } from '../src/cli/tables/commands.js';
import { usage } from '../src/options/table.js';
import { cliPath, modulesLoadedBy, packagesOf, runNode, temporaryFolder, tinyzero } from './helpers/cli.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const everyCommand = [[], ...commands.map(({ words }) => words), ['engine']];

test('help of every command is as in test/fixtures/help (UPDATE=1 writes it)', async () => {
  for (const words of everyCommand) {
    const { code, stdout, stderr } = await tinyzero([...words, '--help']);
    assert.equal(code, 0);
    assert.equal(stderr, '');
    const file = join(root, 'test', 'fixtures', 'help', `${words.join('-') || 'tinyzero'}.txt`);
    if (process.env.UPDATE) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, stdout);
    }
    assert.equal(stdout, existsSync(file) ? readFileSync(file, 'utf8') : `${file} is missing`, words.join(' '));
  }
});

test('an output that cannot be written is one line and exit code 1', { skip: !existsSync('/dev/full') }, () => {
  const full = openSync('/dev/full', 'w');
  for (const command of ['--help', 'runs']) {
    const { status, stderr } = spawnSync(process.execPath, [cliPath, command], { stdio: ['ignore', full, 'pipe'] });
    assert.equal(status, 1, command);
    assert.match(String(stderr), /^tinyzero: cannot write to standard output: ENOSPC.*\n$/, command);
  }
  closeSync(full);
});

test('every command has two examples and exists', async () => {
  for (const { words, examples, load } of commands) {
    assert.ok(examples.length >= 2, words.join(' '));
    for (const [line] of examples) assert.ok(line.startsWith(words.join(' ')), line);
    assert.equal(typeof (await load()).run, 'function');
  }
});

test('--help imports commander, leven, picocolors, a few files of ours, and nothing of a tensor library', async () => {
  for (const words of everyCommand) {
    const { code, loaded } = await modulesLoadedBy([...words, '--help']);
    assert.equal(code, 0);
    assert.ok(
      loaded.some((url) => url.includes('/commander/')),
      'the list is real',
    );
    const ours = loaded.filter((url) => url.startsWith('file:') && !url.includes('/node_modules/'));
    const names = ours.map((url) => url.replace(/.*\/dist\/src\//, ''));
    const few = [
      'cli.js',
      'cli/command-line.js',
      'cli/command-spec.js',
      'cli/tables/commands.js',
      'cli/tables/machine.js',
      'cli/tables/models.js',
      'cli/tables/results.js',
      'cli/tables/training.js',
      'data/prompt.js',
      'cli/program-name.js',
      'cli/terminal/paint.js',
      'engine/choices.js',
      'options/files.js',
      'options/defaults.js',
      'model/export/targets.js',
      'options/machines.js',
      'options/names.js',
      'options/spec.js',
      'options/table.js',
      'options/texts.js',
      'stage1/trained-problems.js',
      'stage1/vstar.js',
      'stage2/algorithm.js',
      'stage2/control.js',
      'stage2/loss.js',
      'util/errors.js',
      'util/keys.js',
      'util/machine.js',
      'util/statistics.js',
    ];
    assert.deepEqual(names.sort(), few.sort());
    assert.deepEqual(packagesOf(loaded).sort(), ['commander', 'leven', 'picocolors']);
  }
});

test('--help takes little more CPU time than an empty program', async (t) => {
  const cpuMs = async (args: string[]) => {
    const report =
      "process.on('exit', () => { const { user, system } = process.cpuUsage(); console.error('CPU ' + (user + system) / 1000); });";
    const preload = `data:text/javascript,${encodeURIComponent(report)}`;
    const times: number[] = [];
    for (let repeat = 0; repeat < 3; repeat += 1) {
      const { stderr } = await runNode(['--import', preload, ...args]);
      times.push(Number(/CPU ([\d.]+)/.exec(stderr)?.[1]));
    }
    return Math.min(...times);
  };
  const empty = await cpuMs(['-e', '0']);
  const help = await cpuMs([cliPath, '--help']);
  t.diagnostic(`CPU time: --help ${help.toFixed(0)} ms, node -e 0 ${empty.toFixed(0)} ms`);
  // The goal is 150 ms; other processes share the machine with the tests, so the limit is wide.
  assert.ok(help - empty < 600, `${help} - ${empty}`);
});

test('--version and -V print the version of package.json', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const flag of ['--version', '-V']) {
    assert.deepEqual(await tinyzero([flag]), { code: 0, stdout: `${version}\n`, stderr: '' });
  }
});

test('-h and help are --help', async () => {
  const [first, ...others] = await Promise.all(
    [
      ['engine', 'install', '--help'],
      ['engine', 'install', '-h'],
      ['help', 'engine', 'install'],
    ].map((args) => tinyzero(args)),
  );
  assert.equal(first?.code, 0);
  for (const other of others) assert.deepEqual(other, first);
  assert.deepEqual(await tinyzero(['help']), await tinyzero(['--help']));
});

test('every command takes --quiet and --no-color, also before its name, and suggests them', async () => {
  for (const { words } of commands) {
    const { stdout } = await tinyzero([...words, '--help']);
    assert.match(stdout, /Every command:\n *--quiet .*\n *--no-color /, words.join(' '));
  }
  const folder = temporaryFolder('runs');
  const after = await tinyzero(['runs', folder, '--quiet', '--no-color']);
  assert.equal(after.code, 0, after.stderr);
  assert.deepEqual(await tinyzero(['--quiet', '--no-color', 'runs', folder]), after);
  const typo = await tinyzero(['runs', '--qiet']);
  assert.equal(typo.code, 2);
  assert.match(typo.stderr, /--qiet: unknown option; did you mean --quiet\?/);
});

test('every command that prints a result prints it as JSON too', async () => {
  for (const { words, options } of commands) assert.ok(options.includes('json'), words.join(' '));
});

test('errors are coloured if colours are enabled', async () => {
  const red = '\x1b[31mtinyzero:\x1b[39m';
  const stderr = async (args: string[], env: Record<string, string>) => (await tinyzero(args, env)).stderr;
  const wrong = ['runs', '--nonsense'];
  assert.ok((await stderr(wrong, { FORCE_COLOR: '1' })).startsWith(red));
  assert.ok((await stderr([...wrong, '--no-color'], { FORCE_COLOR: '1' })).startsWith('tinyzero:'));
  assert.ok((await stderr(wrong, {})).startsWith('tinyzero:'));
});

test('all problems of a command line are named at once, with exit code 2', async () => {
  const { code, stdout, stderr } = await tinyzero(
    ['doctor', '--engin', 'wasm', '--json=yes', '--engine', 'cuda', '--xyzzy', '--model'],
    { TINYZERO_NO_INSTALL: 'perhaps' },
  );
  assert.equal(code, 2);
  assert.equal(stdout, '');
  assert.equal(
    stderr,
    `tinyzero: invalid arguments:
  --engin: unknown option; did you mean --engine?
  --json: takes no value, found 'yes'
  --xyzzy: unknown option
  --model: needs a value, ${usage('model')}
  --engine: expected auto, tensorflow, webgpu or wasm, found 'cuda'
  TINYZERO_NO_INSTALL: expected 1 or 0, found 'perhaps'
Run \`tinyzero doctor --help\` for all options.
`,
  );
});

test('words that no command takes are rejected', async () => {
  const stray = await tinyzero(['doctor', 'now']);
  assert.equal(stray.code, 2);
  assert.match(stray.stderr, /'now': 'doctor' takes no arguments/);
  for (const words of [['docter'], ['engine', 'instal'], ['nonsense']]) {
    const { code, stdout, stderr } = await tinyzero(words);
    assert.equal(code, 2, words.join(' '));
    assert.equal(stdout, '');
    assert.match(stderr, /^tinyzero: unknown command/);
  }
  assert.match((await tinyzero(['docter'])).stderr, /Did you mean doctor\?/);
});

test('without a command the help is shown, and that is wrong usage', async () => {
  const { code, stderr } = await tinyzero([]);
  assert.equal(code, 2);
  assert.match(stderr, /Usage: tinyzero/);
});

test('a sweep says where options of its runs belong', async () => {
  const { code, stderr } = await tinyzero([
    'sweep',
    'a.toml',
    '--lr',
    '1e-4',
    '--on',
    'modal',
    '--seeds',
    '1..3',
    '--wide',
  ]);
  assert.equal(code, 2);
  assert.match(stderr, /--lr: write it into the file, under \[options\]/);
  assert.match(
    stderr,
    /--on: a sweep runs on this machine; on Modal, start a run for each setting with `.+ train --on modal --detach`/,
  );
  assert.match(stderr, /--seeds: write seeds = "1\.\.3" into the file/);
  assert.match(stderr, /--wide: unknown option/);
});

test('flags of other programs get a suggestion', async () => {
  const { code, stderr } = await tinyzero([
    'train',
    '--learning-rate',
    '1e-5',
    '-o',
    'a',
    '-m',
    'b',
    '--epoch',
    '3',
    '-z',
  ]);
  assert.equal(code, 2);
  const meant = [...stderr.matchAll(/^ {2}(\S+): unknown option(?:; did you mean (\S+)\?)?$/gm)];
  assert.deepEqual(
    meant.map(([, wrong, right]) => [wrong, right]),
    [
      ['--learning-rate', '--lr'],
      ['-o', '--out'],
      ['-m', '--model'],
      ['--epoch', '--epochs'],
      ['-z', undefined],
    ],
  );
});
