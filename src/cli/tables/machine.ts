/** @file Commands for the machine and the engine installed on it. */
import { type CommandSpec, command } from '../command-spec.js';
import { engineOptions } from './shared.js';

export const machineCommands: readonly CommandSpec[] = [
  command({
    words: ['doctor'],
    summary: 'check this machine: Node, engine, speed, gradients, disk; say what to do about each problem',
    options: [...engineOptions, 'model', 'json'],
    texts: { model: { help: 'also check this model' } },
    examples: [
      ['doctor', 'check everything, with the engine that commands would use'],
      ['doctor --engine wasm --json', 'the same for the WebAssembly engine, as JSON'],
    ],
    load: () => import('../commands/doctor.js'),
  }),
  command({
    words: ['engine', 'install'],
    summary: 'install native TensorFlow into the cache (274 MB download, 860 MB on disk)',
    details:
      "TensorFlow's library comes from the Python package index by way of pip, or else from the place that tfjs-node's own installer takes it from. Node modules are never changed. Where neither is available, tinyzero runs on WebAssembly.",
    options: ['gpu', 'from', 'reinstall', 'json'],
    examples: [
      ['engine install', 'the CPU build'],
      ['engine install --from tensorflow_cpu.whl', 'from a wheel on disk, without a network'],
    ],
    load: async () => ({ run: (await import('../commands/engine.js')).install }),
  }),
  command({
    words: ['engine', 'status'],
    summary: 'say which native engine is installed, and what a stopped install left behind',
    options: ['json'],
    examples: [
      ['engine status', 'one line, and what to do'],
      ['engine status --json', 'for a program to read'],
    ],
    load: async () => ({ run: (await import('../commands/engine.js')).status }),
  }),
  command({
    words: ['engine', 'remove'],
    summary: 'remove the native engine and its downloads from the cache',
    options: ['json'],
    examples: [
      ['engine remove', 'free disk space'],
      ['engine remove --json', 'say which folder was removed, for a program to read'],
    ],
    load: async () => ({ run: (await import('../commands/engine.js')).remove }),
  }),
];
