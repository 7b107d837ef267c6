/**
 * @file The image of a run: Node, this package, and TensorFlow for CUDA. It is built once for each version of the package: Modal
 * builds the system layer; a sandbox without a GPU installs the package, as packed here, and the engine; its file system becomes
 * a named image that later runs use.
 */
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exitCodes, printable, UserError } from '../../util/errors.js';
import { packageVersion } from '../../util/machine.js';
import { findProgram, run } from '../../util/process.js';
import type { Reporter } from '../../util/reporter.js';
import type { App, Image, Modal, Volume } from './client.js';
import { explained } from './client.js';
import { type Helper, plainImage, withHelper } from './helper.js';
import { appName } from './layout.js';

/** Needed to download the engine (pip) and to compile its binding (a compiler, Python for node-gyp). */
const systemLayer = [
  'RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip g++ make ca-certificates && rm -rf /var/lib/apt/lists/*',
];

/** Commands that run on the system layer, in order, with `package.tgz` in the working folder. */
const steps = (tarball: string) => [
  {
    what: 'installing this package',
    command: ['npm', 'install', '--global', '--ignore-scripts', '--no-audit', '--no-fund', tarball],
  },
  { what: 'installing TensorFlow for CUDA', command: ['tinyzero', 'engine', 'install', '--gpu'] },
];

/** Copying several gigabytes may take longer than the SDK's 55 s. */
const snapshotMs = 15 * 60_000;

const root = fileURLToPath(new URL('../../../..', import.meta.url));

/** The steps of the image in words. */
export const imagePlan = [
  plainImage,
  'python3, pip, g++, make',
  `tinyzero ${packageVersion()}, as installed here`,
  'TensorFlow for CUDA (3.4 GB download)',
];

/** Packs this package, for `use`. @throws UserError if npm is missing or fails. */
async function withTarball<T>(signal: AbortSignal, use: (path: string, hash: string) => Promise<T>): Promise<T> {
  const npm = findProgram('npm');
  if (npm === undefined) {
    throw new UserError({ problem: 'npm, which packs tinyzero for Modal, is not on the PATH.', fix: 'Install npm.' });
  }
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-package-'));
  try {
    const packed = await run(npm, ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root, signal });
    const [name] = readdirSync(folder);
    if (packed.code !== 0 || name === undefined) {
      throw new UserError(`\`npm pack\` in ${root} failed: ${packed.stderr.trim().split('\n').at(-1)}`);
    }
    const path = join(folder, name);
    return await use(path, createHash('sha256').update(readFileSync(path)).digest('hex'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Finds the image of this version, or builds it. */
export async function openImage(
  modal: Modal,
  { app, volume }: { readonly app: App; readonly volume: Volume },
  reporter: Reporter,
  signal: AbortSignal,
): Promise<Image> {
  return await withTarball(signal, async (path, hash) => {
    const name = `${appName}:${packageVersion()}-${hash.slice(0, 12)}`;
    const known = await explained(modal, 'looking for the image', async () => {
      try {
        return await modal.client.images.fromName(name);
      } catch (error) {
        if (error instanceof modal.sdk.NotFoundError) return undefined;
        throw error;
      }
    });
    if (known !== undefined) return known;
    reporter.line(
      `Building the image ${name}, once for this version: ${imagePlan.join(', ')}. This takes some minutes.`,
    );
    const system = modal.client.images.fromRegistry(plainImage).dockerfileCommands(systemLayer);
    await explainBuild(() => explained(modal, 'building the image', () => system.build(app)));
    signal.throwIfAborted();
    const made = await withHelper(modal, { app, volume, image: system }, async (helper) => {
      await install(helper, path, hash, reporter, signal);
      return await explained(modal, 'saving the image', () =>
        helper.sandbox.snapshotFilesystem({ timeoutMs: snapshotMs, ttlMs: null }),
      );
    });
    await explained(modal, 'naming the image', () => made.publish(name));
    return made;
  });
}

async function install(helper: Helper, path: string, hash: string, reporter: Reporter, signal: AbortSignal) {
  const tarball = `.modal/package-${hash.slice(0, 12)}.tgz`;
  const sent = await helper.exec(['sh', '-c', `mkdir -p .modal && cat > ${tarball}`], {
    input: createReadStream(path),
  });
  if (sent.code !== 0) throw new UserError(`The package could not be written to the volume: ${sent.stderr.trim()}`);
  for (const { what, command } of steps(`./${tarball}`)) {
    signal.throwIfAborted();
    reporter.line(`Building the image: ${what}.`);
    const { code, stdout, stderr } = await helper.exec(command, {
      onOutput: lines((line) => reporter.line(`  ${line}`)),
    });
    if (code !== exitCodes.ok) {
      const last = `${stdout}\n${stderr}`.trim().split('\n').slice(-10).join('\n');
      throw new UserError({
        problem: `Building the image failed while ${what} (\`${command.join(' ')}\`, exit code ${code}):\n${last}\n`,
        fix: 'Nothing more is charged. Fix the cause and run the command again.',
      });
    }
  }
  await helper.exec(['rm', '-f', tarball]);
}

/** Pieces of text as lines for `show`. */
function lines(show: (line: string) => void): (text: string) => void {
  let rest = '';
  return (text) => {
    const found = (rest + text).split(/[\r\n]+/);
    rest = found.pop()!;
    for (const line of found) if (line.trim() !== '') show(printable(line));
  };
}

/** The SDK reports a failed build as an error without a class. */
async function explainBuild(build: () => Promise<unknown>): Promise<void> {
  try {
    await build();
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('Image build')) throw error;
    throw new UserError(
      {
        problem: `Modal could not build the image: ${error.message.trim()}`,
        fix: 'Nothing runs, and nothing more is charged. The full log is in the dashboard, https://modal.com/apps.',
      },
      { cause: error },
    );
  }
}
