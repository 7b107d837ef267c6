// Sets up the native engine for the tests. If that fails, decides whether it should have worked, so that a broken installer
// does not pass as "unavailable here". The decision is based on the machine itself, not on the installer.
import { spawnSync } from 'node:child_process';

/**
 * `env`: for the test processes. `missing`: why there is no native engine. `fault`: why there should have been one.
 */
export function setUpNative() {
  if (process.env.TINYZERO_NO_INSTALL) {
    const status = spawnSync(process.execPath, ['dist/src/cli.js', 'engine', 'status', '--json'], { encoding: 'utf8' });
    if (status.status === 0) return { env: {} };
    return skipped('TINYZERO_NO_INSTALL is set', undefined);
  }
  const install = spawnSync(process.execPath, ['dist/src/cli.js', 'engine', 'install', '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (install.status === 0) return { env: {} };
  const result = install.stdout.trimEnd().split('\n').at(-1);
  if (!result.startsWith('{"event":"result"'))
    return skipped('engine install failed', 'engine install printed no result');
  const { attempts } = JSON.parse(result);
  return skipped(attempts.map(({ sentence }) => sentence).join(' '), judge(attempts));
}

function skipped(missing, fault) {
  return { env: { TINYZERO_TEST_NATIVE_MISSING: missing }, missing, fault };
}

/** Undefined if the first source's obstacle is real. */
export function judge(attempts, machine = thisMachine) {
  const { obstacle, sentence } = attempts[0];
  switch (obstacle) {
    case 'unsupported-platform':
      return machine.supported() ? `this platform is supported, but: ${sentence}` : undefined;
    case 'no-pip':
      return machine.answers('python3', '-m', 'pip', '--version') || machine.answers('pip3', '--version')
        ? `pip is here, but: ${sentence}`
        : undefined;
    case 'no-compiler':
      return machine.answers('c++', '--version') || machine.answers('g++', '--version')
        ? `a compiler is here, but: ${sentence}`
        : undefined;
    case 'no-network':
      return machine.reachesIndex() ? `the package index is in reach, but: ${sentence}` : undefined;
    case 'no-space':
      return undefined;
    default:
      return sentence;
  }
}

const thisMachine = {
  supported: () => process.platform === 'linux' && process.arch === 'x64' && hasGlibc(),
  answers: (command, ...args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0,
  reachesIndex: () =>
    spawnSync('python3', ['-m', 'pip', 'index', 'versions', 'tensorflow_cpu'], { stdio: 'ignore' }).status === 0,
};

function hasGlibc() {
  const answer = spawnSync('getconf', ['GNU_LIBC_VERSION'], { encoding: 'utf8' });
  const [major, minor] = (/glibc (\d+)\.(\d+)/.exec(answer.stdout ?? '') ?? []).slice(1).map(Number);
  return major > 2 || (major === 2 && minor >= 27);
}
