/** @file Commands for the machine and the engine installed on it. */
import { type CommandSpec, command } from '../command-spec.js';
import { engineOptions } from './shared.js';

export const machineCommands: readonly CommandSpec[] = [
  command({
    words: ['doctor'],
    summary: 'check this machine: Node, engine, speed, gradients, disk; explain how to fix each problem',
    options: [...engineOptions, 'model', 'json'],
    texts: { model: { help: 'also check this model' } },
    examples: [
      ['doctor', 'check everything, with the engine that commands would use'],
      ['doctor --engine webgpu', 'check the graphics card: adapter, limits, results'],
      ['doctor --engine wasm --json', 'check the WebAssembly engine, as JSON'],
    ],
    load: () => import('../commands/doctor.js'),
  }),
  command({
    words: ['worker'],
    summary: 'compute for `train --workers` of another process, until Ctrl-C',
    details:
      'Runs the server of TensorFlow, which has no authentication: whoever can connect to its port can run any computation as this user. It listens on this machine only, unless --listen says otherwise: do that in private networks only. It needs no model and no files; one worker serves one run after another. CUDA_VISIBLE_DEVICES chooses its GPU.',
    options: ['listen', 'install', 'json'],
    examples: [
      ['worker', 'on 127.0.0.1:4001, for a run on this machine'],
      ['worker --listen 10.0.0.2:4001', 'for runs on other machines of a private network'],
    ],
    load: () => import('../commands/worker.js'),
  }),
  command({
    words: ['engine', 'install'],
    summary: 'install native TensorFlow into the cache (274 MB download, 860 MB on disk)',
    details:
      "Downloads TensorFlow's library with pip from the Python package index, otherwise from the server of tfjs-node's own installer. Node modules are never changed. If neither is available, tinyzero runs on WebAssembly.",
    options: ['gpu', 'from', 'reinstall', 'json'],
    examples: [
      ['engine install', 'the CPU build'],
      ['engine install --from tensorflow_cpu.whl', 'from a wheel on disk, without a network'],
    ],
    load: async () => ({ run: (await import('../commands/engine.js')).install }),
  }),
  command({
    words: ['engine', 'status'],
    summary: 'show the installed native engine and the remains of stopped installs',
    options: ['json'],
    examples: [
      ['engine status', 'one line, and what to do'],
      ['engine status --json', 'as JSON'],
    ],
    load: async () => ({ run: (await import('../commands/engine.js')).status }),
  }),
  command({
    words: ['engine', 'remove'],
    summary: 'remove the native engine and its downloads from the cache',
    options: ['json'],
    examples: [
      ['engine remove', 'free disk space'],
      ['engine remove --json', 'print the removed folder as JSON'],
    ],
    load: async () => ({ run: (await import('../commands/engine.js')).remove }),
  }),
];
