/**
 * @file Measures the webgpu engine: matrix products, decoding steps and updates of the built-in model and at the sizes of
 * SmolLM2-135M (random weights), dispatches, and agreement with wasm. Every measurement is printed as it is made, as text
 * and as JSON. `npm run bench:webgpu -- [--only products,builtin,smollm2,tiles] [--eager]` runs on SwiftShader, with sizes
 * that it can handle; `node dist/bench/webgpu.js` runs on a card. `--eager` also measures the op-by-op engine, which is
 * slow on SwiftShader; `--as-card` runs the kernels of a card on SwiftShader.
 */
import { parseArgs } from 'node:util';
import { openEngine } from '../src/engine/backend.js';
import { openDawn } from '../src/engine/webgpu/dawn.js';
import { openCompiler } from '../src/engine/wgsl/program.js';
import { tuningOf } from '../src/engine/wgsl/tuning.js';
import { openPretrained } from '../src/model/checkpoint/pretrained.js';
import { parseModelConfig } from '../src/model/network/config.js';
import { shippedModel } from '../src/model/shipped.js';
import { smolRecord } from './checkpoints.js';
import { randomWeights } from './policy.js';
import { measureAgreement, measureDecoding, measureUpdate, openCounter, type Subject } from './webgpu/models.js';
import { measureProducts, measureTiles } from './webgpu/products.js';
import { openReport } from './webgpu/report.js';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'products,builtin,smollm2,tiles' },
    eager: { type: 'boolean', default: false },
    'as-card': { type: 'boolean', default: false },
  },
});
const report = openReport();
const only = new Set(values.only.split(','));

/** Runs a part; a failure is a result too, and the next part still runs. */
async function part(name: string, body: () => void | Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    report('failed', { part: name, error: error instanceof Error ? error.message : String(error) });
  }
}

const gpu = await openDawn();
const { software } = gpu.facts;
report('adapter', { ...gpu.facts, node: process.version });
if (only.has('products')) await part('products', () => measureProducts(gpu, report, 0.2));

const opened = await openEngine('webgpu');
// A software adapter takes a second to compile a large tile.
const small = { threads: 64, tiles: [{ rows: 16, columns: 16, own: 4, slices: 4, depth: 2 }] } as const;
const cardCompiler = openCompiler(gpu, { ...tuningOf({ ...gpu.facts, software: false }), ...(software && small) });
const engine = values['as-card'] ? { ...opened, createProgram: cardCompiler } : opened;
const wasm = await openEngine('wasm');
const counter = openCounter();
if (only.has('builtin')) {
  const { config, weights } = openPretrained(shippedModel('builtin'));
  const subject = { name: 'builtin', config, read: weights.read };
  await part('agreement', () => measureAgreement(engine, wasm, subject, 3, report));
  await part('decoding', () => measureDecoding(engine, counter, subject, software ? [4] : [1, 16, 64], report));
  const sizes = software ? { rows: 4, prompt: 6, tokens: 6 } : { rows: 16, prompt: 16, tokens: 32 };
  await part('update', () => measureUpdate(engine, counter, subject, sizes, report));
  if (values.eager) {
    const eager = { ...engine, createProgram: engine.createEagerProgram };
    const named = { ...subject, name: 'builtin, op by op' };
    await part('decoding', () => measureDecoding(eager, counter, named, [4], report));
    await part('update', () => measureUpdate(eager, counter, named, { rows: 4, prompt: 6, tokens: 6 }, report));
  }
  weights.close();
}
if (only.has('smollm2')) {
  const subject = randomSubject(software);
  await part('decoding', () => measureDecoding(engine, counter, subject, software ? [2] : [1, 16, 64], report));
  const sizes = software ? { rows: 2, prompt: 2, tokens: 2 } : { rows: 16, prompt: 64, tokens: 64 };
  await part('update', () => measureUpdate(engine, counter, subject, sizes, report));
  if (!software)
    await part('update', () => measureUpdate(engine, counter, subject, { ...sizes, microBatch: 8 }, report));
  await part('agreement', () => measureAgreement(engine, wasm, subject, 0, report));
}
if (only.has('tiles')) await part('tiles', () => measureTiles(gpu, report, 0.02));
report('end', {});
// A driver's threads may keep the process alive.
process.exit(0);

/** Random weights at the sizes of SmolLM2-135M, or of two narrow layers. */
function randomSubject(isSmall: boolean): Subject {
  const small = { num_hidden_layers: 2, hidden_size: 36, intermediate_size: 96, vocab_size: 512 };
  const config = parseModelConfig({ ...smolRecord, ...(isSmall && small) }, 'SmolLM2-135M');
  return { name: isSmall ? 'two layers of 36' : 'SmolLM2-135M', config, read: randomWeights(config, 0.07) };
}
