/**
 * @file Adapters on a sampling server (vLLM, POST /v1/load_lora_adapter). Each is written to a folder that the server reads,
 * and is named by a hash of its content, so a name always means the same weights: servers cache prompts by the adapter's
 * name, and a cache would be stale if the weights changed.
 */
import { renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { hashFile } from '../../util/checksum.js';
import { UserError } from '../../util/errors.js';
import { makeFolder } from '../../util/file.js';
import { adapterWeightFile } from '../checkpoint/adapter.js';
import type { Completion, Rollout, SampleOptions } from '../sampling/sample.js';
import { ask, ServerRefusal } from './http.js';
import { type SamplingServer, sampleOnServer } from './sampler.js';

/** Reads a tensor of the adapter. */
type Read = (name: string) => Float32Array;

export interface AdapterHost {
  /** A folder that the server sees under the same path. It is created here and removed by {@link ServerAdapters.close}. */
  readonly folder: string;
  /** Writes an adapter in PEFT's format into a folder. */
  readonly save: (folder: string, read: Read) => Promise<unknown>;
  readonly rank: number;
}

export interface ServerAdapters {
  /** Loads an adapter unless the server already has it. Returns its name on the server. */
  load(read: Read, signal?: AbortSignal): Promise<string>;
  /** Samples with a loaded adapter. */
  sample(name: string, rollouts: readonly Rollout[], options: SampleOptions): Promise<Completion[]>;
  /** Unloads all adapters and removes their folders. */
  close(): Promise<void>;
}

/** Adapters on the server at once: one for rollouts, one for an evaluation. */
const kept = 2;

export function serverAdapters(server: SamplingServer, { folder, save, rank }: AdapterHost): ServerAdapters {
  const { connection } = server;
  const root = resolve(folder);
  /** Names of loaded adapters, most recently used last. */
  let loaded: string[] = [];

  function use(name: string): void {
    loaded = [...loaded.filter((other) => other !== name), name];
  }

  async function tell(name: string, signal?: AbortSignal): Promise<void> {
    const body = { lora_name: name, lora_path: join(root, name), load_inplace: true };
    try {
      await ask(connection, 'load_lora_adapter', body, signal, (status) => status === 429 || status === 503);
    } catch (error) {
      if (!(error instanceof ServerRefusal)) throw error;
      throw new UserError(
        {
          problem: `The server at ${connection.url} did not load an adapter (${error.status}): ${error.said}`,
          expected: `a server that can read ${root} and accepts adapters of rank ${rank}`,
          fix: `Start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and \`--enable-lora --max-loras ${kept} --max-lora-rank ${rank}\` or more, on this machine or with this folder under the same path.`,
        },
        { cause: error },
      );
    }
  }

  async function drop(name: string): Promise<void> {
    // A restarted server no longer has the adapter, and a stopped one has nothing to unload.
    await ask({ ...connection, patienceMs: 0 }, 'unload_lora_adapter', { lora_name: name }).catch(() => {});
    rmSync(join(root, name), { recursive: true, force: true });
  }

  return {
    async load(read, signal) {
      const draft = join(root, 'draft');
      rmSync(draft, { recursive: true, force: true });
      makeFolder(root);
      await save(draft, read);
      const hash = await hashFile(join(draft, adapterWeightFile));
      const name = `tinyzero-${hash.slice(0, 16)}`;
      if (!loaded.includes(name)) {
        rmSync(join(root, name), { recursive: true, force: true });
        renameSync(draft, join(root, name));
        while (loaded.length >= kept) await drop(loaded.shift()!);
        await tell(name, signal);
      }
      use(name);
      rmSync(draft, { recursive: true, force: true });
      return name;
    },
    async sample(name, rollouts, options) {
      use(name);
      let telling: Promise<void> | undefined;
      const again = () => {
        telling ??= tell(name, options.signal);
        return telling;
      };
      return await sampleOnServer(server, name, rollouts, options, again);
    },
    async close() {
      for (const name of loaded.splice(0)) await drop(name);
      rmSync(root, { recursive: true, force: true });
    },
  };
}
