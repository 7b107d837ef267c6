/**
 * The steps of the Dockerfile, run in clean folders: each stage has its own, and its paths are below it. Debian's packages are
 * not installed; that the tools they bring are here is checked instead. Steps after `USER node` run as an ordinary user if this
 * process is root.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';

/** An ordinary user: Debian's `nobody`. */
const ordinary = { uid: 65534, gid: 65534 };

interface Stage {
  readonly root: string;
  folder: string;
  ordinaryUser: boolean;
  readonly env: Record<string, string>;
  entry: string[];
}

function runDockerfile(base: string, args: Record<string, string>): Stage {
  const stages = new Map<string, Stage>();
  let stage: Stage | undefined;
  const text = readFileSync('Dockerfile', 'utf8')
    .replace(/^#.*\n/gm, '')
    .replaceAll('\\\n', ' ');
  for (const line of text.split('\n').filter((each) => each.trim() !== '')) {
    const [, instruction, rest] = /^(\w+)\s+(.*)$/.exec(line)!;
    if (instruction === 'FROM') {
      const [image, , name] = rest!.split(' ');
      assert.match(image!, /^node:2\d-bookworm-slim$/);
      const root = join(base, name ?? 'image');
      mkdirSync(root);
      chmodSync(root, 0o755);
      stage = { root, folder: '/', ordinaryUser: false, env: {}, entry: [] };
      stages.set(name ?? 'image', stage);
    } else step(stage!, instruction!, rest!, stages, args);
  }
  return stages.get('image')!;
}

/** Names in `folder` that match a pattern with at most one `*`. */
function matching(folder: string, pattern: string): string[] {
  const [begin, end] = pattern.split('*');
  return readdirSync(folder).filter((name) =>
    end === undefined ? name === pattern : name.startsWith(begin!) && name.endsWith(end),
  );
}

function step(
  stage: Stage,
  instruction: string,
  rest: string,
  stages: ReadonlyMap<string, Stage>,
  args: Record<string, string>,
) {
  switch (instruction) {
    case 'WORKDIR':
      stage.folder = rest;
      mkdirSync(join(stage.root, rest), { recursive: true });
      break;
    case 'COPY': {
      const words = rest.split(' ');
      const from = words[0]!.startsWith('--from=') ? stages.get(words.shift()!.slice('--from='.length)) : undefined;
      const target = join(stage.root, stage.folder);
      if (from === undefined) {
        assert.deepEqual(words, ['.', '.']);
        const ignored = readFileSync('.dockerignore', 'utf8')
          .trim()
          .split('\n')
          .flatMap((pattern) => matching('.', pattern));
        cpSync('.', target, { recursive: true, filter: (source) => !ignored.includes(source) });
      } else {
        const folder = join(from.root, dirname(words[0]!));
        for (const name of matching(folder, basename(words[0]!))) cpSync(join(folder, name), join(target, name));
      }
      break;
    }
    case 'ENV':
      for (const assignment of rest.split(' ')) {
        const [name, value] = assignment.split(/=(.*)/s);
        stage.env[name!] = value!
          .split(':')
          .map((part) => (part.startsWith('/') ? join(stage.root, part) : part === '$PATH' ? process.env.PATH : part))
          .join(':');
      }
      break;
    case 'ARG': {
      const [name, value] = rest.split(/=(.*)/s);
      stage.env[name!] = args[name!] ?? value!;
      break;
    }
    case 'USER':
      assert.equal(rest, 'node');
      stage.ordinaryUser = process.getuid?.() === 0;
      if (stage.ordinaryUser) chownSync(home(stage), ordinary.uid, ordinary.gid);
      break;
    case 'RUN': {
      if (rest.startsWith('apt-get ')) {
        const packages = { 'g++': ['c++', '--version'], 'python3-pip': ['python3', '-m', 'pip', '--version'] };
        for (const [name, [command, ...words]] of Object.entries(packages)) {
          assert.ok(rest.includes(` ${name} `), name);
          assert.equal(spawnSync(command!, words).status, 0, `${command} is needed here`);
        }
        break;
      }
      // The user `node` exists in the image only.
      execute(stage, [
        'sh',
        '-c',
        rest.replace(/chown node/, `chown ${process.getuid?.() === 0 ? ordinary.uid : process.getuid?.()}`),
      ]);
      break;
    }
    case 'ENTRYPOINT':
      stage.entry = JSON.parse(rest);
      break;
    default:
      assert.fail(`the Dockerfile has ${instruction}`);
  }
}

/** The home of the step's user, in which npm and pip keep files. */
function home({ root, ordinaryUser }: Stage): string {
  const folder = join(root, ordinaryUser ? 'home' : 'root');
  mkdirSync(folder, { recursive: true });
  return folder;
}

function execute(stage: Stage, [command, ...words]: string[]): string {
  const env = {
    ...process.env,
    TINYZERO_NO_INSTALL: undefined,
    TINYZERO_ENGINE: undefined,
    HOME: home(stage),
    ...stage.env,
  };
  const cwd = join(stage.root, stage.folder);
  const user = stage.ordinaryUser ? ordinary : {};
  const { status, stdout, stderr, error } = spawnSync(command!, words, { cwd, env, ...user, encoding: 'utf8' });
  assert.equal(status, 0, `${command} ${words.join(' ')}\n${error ?? ''}${stdout}${stderr}`);
  return stdout;
}

test('the steps of the Dockerfile make a tinyzero that trains as an ordinary user', (t) => {
  const base = mkdtempSync(join(tmpdir(), 'tinyzero-image-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  chmodSync(base, 0o755);
  const image = runDockerfile(base, { ENGINE: '' });
  assert.deepEqual(image.entry, ['tinyzero']);
  const { TINYZERO_CACHE } = image.env;
  assert.ok(TINYZERO_CACHE!.startsWith(base), 'an engine of its own');
  assert.match(execute(image, [...image.entry, 'engine', 'status']), /^TensorFlow 2\./);
  const train = [
    'train',
    '--num-train',
    '8',
    '--num-test',
    '4',
    '--epochs',
    '1',
    '--eval-samples',
    '0',
    '--engine',
    'tensorflow',
  ];
  execute(image, [...image.entry, ...train, '--out', 'runs/first']);
  assert.ok(readFileSync(join(image.root, image.folder, 'runs/first/report.html'), 'utf8').includes('</html>'));
});
