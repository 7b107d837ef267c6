/**
 * @file Decoding with the sampler's weights in float32 and in bytes, at the sizes of SmolLM2-135M with random weights:
 * `npm run bench:int8`. Both programs are in one process and take turns, so that other work on the machine slows both.
 */
import { availableParallelism, cpus } from 'node:os';
import { type Engine, openEngine } from '../src/engine/backend.js';
import type { WeightForm } from '../src/engine/choices.js';
import type { Program } from '../src/engine/program.js';
import { parseModelConfig } from '../src/model/network/config.js';
import { elementCount, parameterSpecs } from '../src/model/network/params.js';
import { decodeBatches, samplingParts } from '../src/model/sampling/program.js';
import { frozenState } from '../src/model/sampling/weights.js';
import { smolRecord } from './checkpoints.js';
import { median, seededUniform } from './measure.js';

const config = parseModelConfig(smolRecord, 'SmolLM2-135M');
const batches = [1, 2, 4, 8, 16, 32, 64, 128];
const positions = 128;
const steps = 12;

const engine = await openEngine('tensorflow');
console.log(`${engine.description}, ${engine.instructions}, ${availableParallelism()} cores of ${cpus()[0]?.model}`);
console.log('rows      f32 ms    int8 ms   f32 tok/s  int8 tok/s  int8/f32');
for (const rows of batches) {
  const [wide, narrow] = [program(engine, rows, 'f32'), program(engine, rows, 'int8')];
  const times = { wide: [] as number[], narrow: [] as number[] };
  for (let position = 0; position < steps; position++) {
    times.wide.push(decode(wide, rows, position));
    times.narrow.push(decode(narrow, rows, position));
  }
  // The first calls compile and warm up.
  const [a, b] = [median(times.wide.slice(2)), median(times.narrow.slice(2))];
  const cells = [a.toFixed(1), b.toFixed(1), ((1000 * rows) / a).toFixed(0), ((1000 * rows) / b).toFixed(0)];
  console.log(
    `${String(rows).padEnd(6)}${cells.map((cell) => cell.padStart(11)).join('')}${(a / b).toFixed(2).padStart(10)}`,
  );
  wide.dispose();
  narrow.dispose();
}

function program(of: Engine, slots: number, form: WeightForm): Program {
  const cache = { slots, positions, prompts: 1, promptPositions: 1, chunk: 1, admissions: 1 };
  const { state, functions } = samplingParts(config, cache, { greedy: false, topK: 0, topP: 1 });
  const name = `decode.${decodeBatches({ slots })[0]!}` as const;
  const made = of.createProgram({
    state: { ...frozenState(config, form), ...state },
    functions: { [name]: functions[name]! },
  });
  const uniform = seededUniform(1);
  for (const [parameter, shape] of Object.entries(parameterSpecs(config))) {
    const values = new Float32Array(elementCount(shape));
    const scale = shape.length === 1 ? 0 : 0.08;
    for (let i = 0; i < values.length; i++) values[i] = shape.length === 1 ? 1 : scale * (uniform() - 0.5);
    made.write(parameter, values);
  }
  for (const cached of Object.keys(state)) made.fill(cached, 0);
  return made;
}

function decode(made: Program, rows: number, position: number): number {
  const began = performance.now();
  made.run(`decode.${rows}`, {
    tokens: Int32Array.from({ length: rows }, (_, row) => (row * 31 + position) % config.vocabSize),
    positions: new Int32Array(rows).fill(position),
    uniforms: new Float32Array(rows).fill(0.5),
    inverseTemperature: Float32Array.of(1),
  });
  return performance.now() - began;
}
