/** Tracing rejects code that cannot be compiled, with a reason and the calling line. Needs no native engine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { compileFunction } from '../../../src/engine/graph/compile.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import { encodeSavedModel } from '../../../src/engine/graph/graphdef.js';
import { isTracing, TraceError, traceBackendName } from '../../../src/engine/graph/trace.js';
import { addHandles } from '../../../src/engine/graph/variables.js';
import { adamW } from '../../../src/engine/ops/state-ops.js';
import type { FunctionSpec } from '../../../src/engine/program.js';
import { wasmWay } from '../../helpers/engines.js';

const vector = { dtype: 'float32', shape: [3] } as const;

function compile(body: FunctionSpec['body'], rest: Partial<FunctionSpec> = {}): Graph {
  const graph = new Graph('f');
  const state = { x: vector };
  compileFunction(graph, 'f', { inputs: { a: vector }, body, ...rest }, state, addHandles(new Graph('state'), state));
  return graph;
}

function refusal(body: FunctionSpec['body']): string {
  try {
    compile(body);
  } catch (error) {
    assert.ok(error instanceof TraceError, String(error));
    return error.message;
  }
  return assert.fail('compiled');
}

/** What an error says that was caused on the line after `mark`, the stack of an error made there. */
function calledAfter(mark: string | undefined): RegExp {
  const line = Number(/trace\.test\.[jt]s:(\d+)/.exec(mark ?? '')?.[1]);
  return new RegExp(` Called at .*trace\\.test\\.[jt]s:${line + 1}:\\d+`);
}

const a = (inputs: Readonly<Record<string, tf.Tensor>>) => inputs.a as tf.Tensor;

const noValues =
  /^The value of a tensor was read \(.*\) while a function was being compiled: there are no values yet\./;

const readers: Record<string, (x: tf.Tensor) => unknown> = {
  dataSync: (x) => x.dataSync(),
  arraySync: (x) => x.arraySync(),
  print: (x) => x.print(),
};
for (const [name, read] of Object.entries(readers)) {
  test(`${name} while compiling is rejected: there are no values yet; the calling line is named`, () => {
    const message = refusal((_state, inputs) => {
      read(tf.square(a(inputs)));
      return {};
    });
    assert.match(message, noValues);
    assert.match(message, /Called at .*trace\.test\.[jt]s:\d+:\d+/);
  });
}

test('data and array while compiling reject with the same error', async () => {
  for (const read of [(x: tf.Tensor) => x.data(), (x: tf.Tensor) => x.array()]) {
    let promise: Promise<unknown> | undefined;
    compile((_state, inputs) => {
      promise = read(tf.square(a(inputs)));
      promise.catch(() => {});
      return { outputs: { x: a(inputs) } };
    });
    await assert.rejects(promise as Promise<unknown>, { name: 'TraceError', message: noValues });
  }
});

test('an unsupported kernel is named, with the line that called it', () => {
  let mark: string | undefined;
  const message = refusal((_state, inputs) => {
    const image = a(inputs).reshape([1, 3, 1, 1]) as tf.Tensor4D;
    mark = new Error().stack;
    const x = tf.maxPool(image, 1, 1, 'valid');
    return { outputs: { x } };
  });
  assert.match(
    message,
    /^The tfjs kernel MaxPool cannot be compiled\. Compiled functions may use .*Abs, .*Transpose, /,
  );
  assert.match(message, calledAfter(mark));
});

test('a tensor made outside is rejected', async () => {
  const { engine } = await wasmWay();
  engine.createProgram({ state: {}, functions: {} });
  await tf.setBackend('wasm');
  const outside = tf.tensor1d([1, 2, 3]);
  assert.match(
    refusal((_state, inputs) => ({ outputs: { x: tf.add(a(inputs), outside) } })),
    /^A tensor of shape \[3\] was made outside the function that is being compiled\. Make it inside, or pass it as an input or as state\. Called at .*trace\.test/,
  );
  assert.match(
    refusal(() => ({ outputs: { outside } })),
    /was made outside/,
  );
  outside.dispose();
});

test('a tensor of one function cannot be used in another', () => {
  let kept: tf.Tensor | undefined;
  compile((_state, inputs) => {
    kept = tf.keep(tf.square(a(inputs)));
    return { outputs: { kept } };
  });
  assert.match(
    refusal((_state, inputs) => ({ outputs: { x: tf.add(a(inputs), kept as tf.Tensor) } })),
    /was made outside the function that is being compiled/,
  );
});

test('a constant over 16 MiB is rejected, unless all its elements are equal', () => {
  const size = 4 * 1024 * 1024 + 1;
  const values = new Float32Array(size);
  values[1] = 1;
  assert.match(
    refusal(() => ({ outputs: { x: tf.sum(tf.tensor1d(values)) } })),
    /^A constant of shape \[4194305\] \(16777220 bytes\) would become part of the graph\. Pass it as an input or as state\. Called at .*trace\.test/,
  );
  const graph = compile(() => ({ outputs: { x: tf.sum(tf.ones([size])) } }));
  assert.ok(encodeSavedModel([graph]).byteLength < 2000);
});

test('constants are stored once per function, and as they were when made', () => {
  const scratch = Float32Array.of(1, 2, 3);
  const graph = compile((_state, inputs) => {
    const first = tf.add(a(inputs), tf.tensor1d(scratch));
    scratch.fill(7);
    const second = tf.add(first, tf.tensor1d([1, 2, 3]));
    return { outputs: { x: tf.mul(second, tf.tensor1d(scratch)) } };
  });
  const constants = graph.nodes.flatMap(({ attributes: { value } }) =>
    value && 'tensor' in value ? [[...value.tensor.data]] : [],
  );
  assert.deepEqual(constants, [[1, 2, 3], [7]]);
});

test('one function cannot be compiled inside another', () => {
  assert.match(
    refusal(() => {
      compile((_state, inputs) => ({ outputs: { x: a(inputs) } }));
      return {};
    }),
    /^a compiled function cannot be built inside another/,
  );
});

test('an error of the body is rethrown, and the previous backend is restored', async () => {
  await wasmWay();
  await tf.setBackend('wasm');
  const mine = new RangeError('mine');
  assert.throws(
    () =>
      compile(() => {
        assert.ok(isTracing());
        assert.equal(tf.getBackend(), traceBackendName);
        throw mine;
      }),
    (error) => error === mine,
  );
  assert.equal(tf.getBackend(), 'wasm');
  assert.equal(isTracing(), false);
  compile((_state, inputs) => ({ outputs: { x: a(inputs) } }));
  assert.equal(tf.getBackend(), 'wasm');
});

test('tracing leaves no tensors behind', () => {
  const before = tf.memory().numTensors;
  compile((state, inputs) => {
    const x = tf.tidy(() => tf.mul(state.x as tf.Tensor, a(inputs)));
    return { outputs: { x: tf.add(x, state.x as tf.Tensor) } };
  });
  assert.throws(() => compile((state) => ({ outputs: { x: tf.maxPool(state.x as never, 1, 1, 'valid') } })));
  assert.equal(tf.memory().numTensors, before);
});

test('mismatched shapes are rejected while compiling; the error has both', () => {
  assert.throws(() => compile((_state, inputs) => ({ outputs: { x: tf.add(a(inputs), tf.ones([2])) } })), /3.*2/);
  assert.throws(() => compile((_state, inputs) => ({ outputs: { x: a(inputs).reshape([2, -1]) } })), /3|\[3\]/);
});

test('strings and complex numbers are rejected', () => {
  assert.match(
    refusal(() => ({ outputs: { x: tf.tensor1d(['a']) } })),
    /tensors of dtype string cannot be compiled; use float32, int32 or bool/,
  );
});

test('in-place operations need state tensors', () => {
  const scalars = ['learningRate', 'beta1Power', 'beta2Power', 'epsilon', 'decay', 'scale'];
  assert.throws(
    () =>
      compile((state) => {
        const x = tf.mul(state.x as tf.Tensor, 2);
        const rates = Object.fromEntries(scalars.map((name) => [name, tf.scalar(0.5)]));
        const next = adamW({ parameter: x, m: x, v: x }, x, rates as never, { beta1: 0.9, beta2: 0.9, decays: false });
        return { assign: { x: next.parameter } };
      }),
    /adamW works on state tensors, not on computed ones/,
  );
});
