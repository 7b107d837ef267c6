/**
 * @file An alternative way for processes to sum tensors: TensorFlow's own `CollectiveReduceV2`, with one session and one
 * graph in each process. workers.ts compares it with the exchange that tinyzero uses. Run with its settings as JSON, this
 * file is one such process.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Graph, type OutputType, outputOf } from '../src/engine/graph/graph.js';
import { clusterOf, encodeGraphDef, clusterJob as job, tensorName } from '../src/engine/graph/graphdef.js';
import type { Message } from '../src/engine/graph/protobuf.js';
import * as proto from '../src/engine/graph/protobuf.js';
import { readVariable } from '../src/engine/graph/stored.js';
import { findInstalledEngine } from '../src/engine/install/installed.js';
import { loadBinding, loadKernels } from '../src/engine/native.js';
import { freePorts } from './ports.js';

export interface CollectiveProcess {
  readonly pid: number;
  /** One sum over all processes, in this one. */
  run(): Promise<void>;
  stop(): void;
}

interface Task {
  /** This process, and the `address:port` of all. */
  readonly index: number;
  readonly addresses: readonly string[];
  /** Size of the float32 data that each process contributes. */
  readonly bytes: number;
}

const self = fileURLToPath(import.meta.url);

/** Processes that sum `bytes` of float32 by a collective, prepared. */
export async function startCollective(processes: number, bytes: number): Promise<CollectiveProcess[]> {
  const ports = await freePorts(processes);
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  return await Promise.all(addresses.map((_, index) => start({ index, addresses, bytes })));
}

async function start(task: Task): Promise<CollectiveProcess> {
  const child = spawn(process.execPath, [self, JSON.stringify(task)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async (expected: string) => {
    const { value } = await lines.next();
    if (value !== expected) throw new Error(`process ${task.index}: expected ${expected}, found ${value}`);
  };
  await answer('ready');
  return {
    pid: child.pid!,
    async run() {
      child.stdin.write('run\n');
      await answer(String(task.addresses.length));
    },
    stop: () => child.kill('SIGKILL'),
  };
}

/** A ConfigProto: collectives need the name of the process that numbers them, in the server's configuration and the session's. */
function configOf(index: number): Message {
  const rewriting = proto.message();
  proto.integer(rewriting, 19, 1); // disable_meta_optimizer
  const graphOptions = proto.message();
  proto.nested(graphOptions, 10, rewriting);
  const experimental = proto.message();
  proto.string(experimental, 1, `/job:${job}/replica:0/task:0`); // collective_group_leader
  proto.integer(experimental, 9, 1); // disable_thread_spinning
  const config = proto.message();
  proto.string(config, 4, `/job:${job}/task:0`); // device_filters: a session waits for the leader and its own process only
  proto.string(config, 4, `/job:${job}/task:${index}`);
  proto.nested(config, 10, graphOptions);
  proto.nested(config, 16, experimental);
  return config;
}

function serverOf({ index, addresses }: Task): Uint8Array {
  const server = proto.message();
  proto.nested(server, 1, clusterOf(job, addresses));
  proto.string(server, 2, job);
  proto.integer(server, 3, index);
  proto.nested(server, 4, configOf(index));
  proto.string(server, 5, 'grpc');
  return proto.toBytes(server);
}

/** Serves until it is killed: each line of standard input is one sum, answered by the sum's last element. */
function serveSums(task: Task): void {
  const { index, addresses, bytes } = task;
  const installed = findInstalledEngine()!;
  loadBinding(installed.bindingPath);
  const addon = loadKernels(installed.kernelsPath!);
  const target = addon.serve(serverOf(task), '127.0.0.1').replace(/^(?!grpc:)/, 'grpc://');

  const size = bytes / 4;
  const type: OutputType = { dtype: 'float32', shape: [size] };
  const graph = new Graph('sum', undefined, undefined, 'cpu', true);
  graph.replica = index;
  const float = { type: 'float32' } as const;
  const handle = graph.addNode('VarHandleOp', [], [{ dtype: 'resource', shape: [] }], {
    attributes: { dtype: float, shape: { shape: type.shape }, shared_name: { string: 'x' } },
  });
  const ones = graph.add('Fill', [graph.ints([size]), graph.constant('float32', [], Float32Array.of(1))], type, {
    attributes: { T: float },
  });
  const assign = graph.addNode('AssignVariableOp', [outputOf(handle, 0), ones], [], { attributes: { dtype: float } });
  const done = graph.add(
    'Identity',
    [graph.int(1)],
    { dtype: 'int32', shape: [] },
    {
      attributes: { T: { type: 'int32' } },
      control: [assign],
    },
  );
  const input = readVariable(graph, handle, type);
  const inputs = [input, graph.int(addresses.length), graph.int(1), graph.int(1)]; // size and key of the group, key of the sum
  const sum = graph.add('CollectiveReduceV2', inputs, type, {
    attributes: { T: float, merge_op: { string: 'Add' }, final_op: { string: 'Id' } },
  });
  const last = graph.add(
    'Slice',
    [sum, graph.ints([size - 1]), graph.ints([1])],
    { dtype: 'float32', shape: [1] },
    {
      attributes: { T: float, Index: { type: 'int32' } },
    },
  );
  const session = addon.load(encodeGraphDef([graph], addresses.length), target, proto.toBytes(configOf(index)));
  addon.run(session, addon.prepare([], [tensorName(done)]), [], []);
  const prepared = addon.prepare([], [tensorName(last)]);
  createInterface(process.stdin).on('line', () => {
    console.log(String(addon.run(session, prepared, [], [])[0]![0]));
  });
  console.log('ready');
}

const [, program, task] = process.argv;
if (program === self && task !== undefined) serveSums(JSON.parse(task));
