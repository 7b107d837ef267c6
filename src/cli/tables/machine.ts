/** @file Commands for the machine, the engine installed on it, and runs on Modal. */
import { type CommandSpec, command, engineOptions } from '../command-spec.js';

const details =
  "Needs a Modal token, as Modal's own tools do (docs/scale.md), and starts a small sandbox without a GPU to reach the volume.";

export const remoteCommands: readonly CommandSpec[] = [
  command({
    words: ['modal', 'ls'],
    summary: 'list the runs on Modal: GPU, time, state, cost so far',
    details,
    options: ['volume', 'json'],
    examples: [
      ['modal ls', 'every run of the volume, the newest first'],
      ['modal ls --volume experiments --json', 'those of another volume, as JSON'],
    ],
    load: async () => ({ run: (await import('../commands/remote/modal.js')).list }),
  }),
  command({
    words: ['modal', 'logs'],
    summary: 'follow a run on Modal from its first line, or read the log of one that has ended',
    details: 'Ctrl-C stops following, not the run.',
    operands: '<run>',
    options: ['volume', 'json'],
    examples: [
      ['modal logs mine', 'the progress of `tinyzero train --out runs/mine --on modal`'],
      ['modal logs mine --json', 'as lines of JSON'],
    ],
    load: async () => ({ run: (await import('../commands/remote/modal.js')).logs }),
  }),
  command({
    words: ['modal', 'get'],
    summary: 'fetch the files of a run on Modal, finished or not',
    details:
      'Writes them to runs/RUN, or to the given folder. Each file is checked by its hash; files that already exist are not fetched again. The checkpoints of a finished run are left on the volume.',
    operands: '<run> [folder]',
    options: ['volume', 'json'],
    examples: [
      ['modal get mine', 'into runs/mine'],
      ['modal get mine /tmp/mine --json', 'into another folder'],
    ],
    load: async () => ({ run: (await import('../commands/remote/modal.js')).get }),
  }),
  command({
    words: ['modal', 'stop'],
    summary: 'save and stop a run on Modal',
    details: 'The printed command resumes it. A run that does not save within three minutes is stopped without saving.',
    operands: '<run>',
    options: ['volume', 'json'],
    examples: [
      ['modal stop mine', 'save it, and end its sandbox and its cost'],
      ['modal stop mine --json', 'with the exit code of the run'],
    ],
    load: async () => ({ run: (await import('../commands/remote/modal.js')).stop }),
  }),
];

export const machineCommands: readonly CommandSpec[] = [
  command({
    words: ['doctor'],
    summary: 'check this machine: Node, engine, speed, gradients, disk; say how to fix each problem',
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
    summary: 'compute for `train --workers` in another process, until Ctrl-C',
    details:
      "Runs TensorFlow's server, which has no authentication: anyone who can connect to its port can run any computation as this user. By default it listens on this machine only; use --listen only in a private network. A worker needs no model and no files, and serves one run at a time. CUDA_VISIBLE_DEVICES chooses its GPU.",
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
      "Downloads TensorFlow's library from the Python package index with pip, or else from the server that tfjs-node uses. Node modules are not changed. Without the engine, tinyzero runs on WebAssembly.",
    options: ['gpu', 'from', 'reinstall', 'json'],
    examples: [
      ['engine install', 'the CPU build'],
      ['engine install --from tensorflow_cpu.whl', 'from a wheel on disk, without network access'],
    ],
    load: async () => ({ run: (await import('../commands/engine.js')).install }),
  }),
  command({
    words: ['engine', 'status'],
    summary: 'show the installed native engine and leftovers of interrupted installs',
    options: ['json'],
    examples: [
      ['engine status', 'one line, with advice'],
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
