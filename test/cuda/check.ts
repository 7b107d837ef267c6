/**
 * @file `npm run test:cuda`: whether every node of every program has a kernel in the CUDA build of TensorFlow, and what crosses
 * between host and GPU in each function. Needs the build's lists of ops and kernels (scripts/test-cuda.mjs), not a GPU.
 * Fails if a node has no kernel and no reason, if a kernel refuses to run, or if a function makes the host wait for a tensor
 * that is no output.
 */
// Registers gradients and chained operations.
import '../../src/engine/backend.js';
import type { GraphNode } from '../../src/engine/graph/graph.js';
import { gpuDevice, traceProgram } from '../../src/engine/session.js';
import { type Crossing, type Placement, place } from './placement.js';
import { allPrograms } from './programs.js';
import { excused, refusing } from './reasons.js';
import { readRegistry } from './registry.js';

const [opsFile = '', kernelsFile = ''] = process.argv.slice(2);
const verbose = process.argv.includes('--verbose');
const registry = readRegistry(opsFile, kernelsFile);
const faults: string[] = [];
const reasons = new Set<string>();
let functions = 0;
let nodes = 0;

console.log(
  'Nodes, those that compute on the host, and tensors copied to the GPU and to the host within a run, with their bytes:',
);
for (const { name, spec } of await allPrograms()) {
  console.log(`\n${name}`);
  const { graphs } = traceProgram(spec, gpuDevice);
  for (const graph of graphs) {
    const placed = place(registry, graph);
    functions += 1;
    nodes += placed.nodes;
    report(graph.prefix.replace(/^fn_\d+_/, ''), placed);
    for (const fault of faultsOf(graph.nodes, placed)) faults.push(`${name}: ${fault}`);
  }
}
console.log(`\n${nodes} nodes of ${functions} functions.`);
for (const reason of reasons) console.log(`Without a kernel, and no fault: ${reason}.`);
for (const fault of faults) console.error(`FAULT: ${fault}`);
process.exit(faults.length === 0 ? 0 : 1);

function report(name: string, placed: Placement): void {
  const { toGpu, toHost, computedOnHost } = placed;
  const counts = [placed.nodes, computedOnHost.length].map((count) => String(count).padStart(6)).join('');
  console.log(`  ${name.padEnd(16)}${counts}   to GPU ${sizes(toGpu)}   to host ${sizes(toHost)}`);
  if (!verbose) return;
  for (const { from, to, bytes } of toGpu) console.log(`      to GPU: ${from.name} for ${to.name}, ${bytes} bytes`);
  for (const { from, to, bytes } of toHost) console.log(`      to host: ${from.name} for ${to.name}, ${bytes} bytes`);
  for (const { name: node, outputs } of computedOnHost) {
    console.log(`      on the host: ${node} ${outputs[0]?.dtype} [${outputs[0]?.shape}]`);
  }
}

function sizes(crossings: readonly Crossing[]): string {
  const bytes = crossings.reduce((sum, crossing) => sum + crossing.bytes, 0);
  return `${String(crossings.length).padStart(3)} ${String(bytes).padStart(8)}`;
}

function faultsOf(all: readonly GraphNode[], { withoutKernel, draggedToHost, toHost }: Placement): string[] {
  const found: string[] = [];
  const onHost = new Set([...withoutKernel, ...draggedToHost]);
  for (const node of onHost) {
    const excuse = excused.find(({ applies }) => applies(node));
    if (excuse !== undefined) reasons.add(excuse.reason);
    else found.push(`${node.name} (${JSON.stringify(node.attributes)}) has no kernel for the GPU`);
  }
  for (const node of all) {
    const refusal = refusing.find(({ applies }) => applies(node));
    if (refusal !== undefined) found.push(`${node.name} ${refusal.reason}`);
  }
  for (const { from, to } of toHost) {
    const isOutput = /\/output_\d+_/.test(to.name);
    if (!isOutput && !onHost.has(from) && !onHost.has(to)) {
      found.push(`the host waits for ${from.name}, which ${to.name} reads there`);
    }
  }
  return found;
}
