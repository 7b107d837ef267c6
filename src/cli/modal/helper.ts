/**
 * @file A small sandbox without a GPU that mounts the volume. Files go through it to the volume and back, since the SDK offers no
 * other way. It costs a fraction of a cent and ends with the command.
 */
import { exitCodes, UserError } from '../../util/errors.js';
import { type App, explained, type Image, type Modal, type Sandbox, type Volume } from './client.js';
import { mountPath } from './layout.js';

/** Node and Debian's tar, find and sha256sum. */
export const plainImage = 'node:22-bookworm-slim';

/** Time limit of a helper that is never ended, for example because this machine lost power. */
const longestMs = 2 * 3600_000;

interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Helper {
  readonly sandbox: Sandbox;
  /** Runs a program at the root of the volume. `input` goes to its standard input. */
  exec(command: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Standard output of a program as bytes. @throws UserError if its exit code is not 0. */
  read(command: readonly string[]): AsyncIterable<Uint8Array>;
}

interface ExecOptions {
  readonly input?: AsyncIterable<Uint8Array>;
  readonly onOutput?: (text: string) => void;
}

/** Starts a helper for `work`, and ends it. @param image absent: the plain image. */
export async function withHelper<T>(
  modal: Modal,
  { app, volume, image }: { readonly app: App; readonly volume: Volume; readonly image?: Image },
  work: (helper: Helper) => Promise<T>,
): Promise<T> {
  const { client } = modal;
  const sandbox = await explained(modal, 'starting a sandbox for files', () =>
    client.sandboxes.create(app, image ?? client.images.fromRegistry(plainImage), {
      volumes: { [mountPath]: volume },
      workdir: mountPath,
      timeoutMs: longestMs,
      // To compile the engine's binding and unpack its library.
      ...{ cpu: 1, memoryMiB: 2048 },
      tags: { tinyzero: 'files' },
    }),
  );
  try {
    return await work(helperOf(modal, sandbox));
  } finally {
    // If this fails, the sandbox costs money until its timeout. An error of the work matters more.
    await sandbox.terminate().catch(() => {});
    sandbox.detach();
  }
}

export function helperOf(modal: Modal, sandbox: Sandbox): Helper {
  const exec = async (command: readonly string[], { input, onOutput }: ExecOptions = {}): Promise<ExecResult> =>
    explained(modal, `running \`${command[0]}\` in a sandbox`, async () => {
      const child = await sandbox.exec([...command], { workdir: mountPath });
      const texts = { stdout: '', stderr: '' };
      const collect = async (name: 'stdout' | 'stderr') => {
        for await (const text of child[name]) {
          texts[name] += text;
          onOutput?.(text);
        }
      };
      const outputs = Promise.all([collect('stdout'), collect('stderr')]);
      outputs.catch(() => {}); // awaited below
      const writer = child.stdin.getWriter();
      // A program that ends early is judged by its exit code.
      const sent = (async () => {
        for await (const chunk of input ?? []) await writer.write(chunk as never);
        await writer.close();
      })().catch((error: unknown) => {
        if (error instanceof UserError) throw error;
      });
      const [code] = await Promise.all([child.wait(), outputs, sent]);
      return { code, ...texts };
    });
  return {
    sandbox,
    exec,
    async *read(command) {
      const child = await explained(modal, `reading from the volume`, () =>
        sandbox.exec([...command], { workdir: mountPath, mode: 'binary' }),
      );
      yield* child.stdout as AsyncIterable<Uint8Array>;
      const code = await child.wait();
      if (code !== exitCodes.ok) {
        const said = Buffer.from(await child.stderr.readBytes()).toString('utf8');
        throw new UserError(`\`${command.join(' ')}\` failed on the volume: ${said.trim()}`);
      }
    },
  };
}
