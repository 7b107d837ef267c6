/**
 * @file The checks of doctor can fail: programs with a fault in them are found out.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { blockProgram } from '../../../src/cli/doctor/block.js';
import { agreementCheck, gradientCheck, trainingCheck } from '../../../src/cli/doctor/engine.js';
import { openEngine } from '../../../src/engine/backend.js';
import type { FunctionResult, FunctionSpec } from '../../../src/engine/program.js';
import { nativeTest } from '../../helpers/native.js';

/** `blockProgram` with the result of one function changed. */
function faulty(
  name: 'loss' | 'gradients' | 'step',
  change: (result: FunctionResult) => FunctionResult,
): typeof blockProgram {
  const original: FunctionSpec = blockProgram.functions[name];
  const body: typeof original.body = (state, inputs) => change(original.body(state, inputs));
  return { ...blockProgram, functions: { ...blockProgram.functions, [name]: { ...original, body } } };
}

test('the gradient check sees one gradient that is half a per cent too large', async () => {
  const engine = await openEngine('wasm');
  assert.equal((await gradientCheck(engine)).ok, true);
  const wrong = faulty('gradients', ({ outputs }) => ({
    outputs: { ...outputs, k: tf.mul(outputs?.k as tf.Tensor, 1.005) },
  }));
  const check = await gradientCheck(engine, wrong);
  assert.equal(check.ok, false);
  assert.match(check.found, /\(k\)$/);
});

test('the agreement check sees a loss that is off by a thousandth', async () => {
  const engine = await openEngine('wasm');
  const wrong = faulty('gradients', ({ outputs }) => ({
    outputs: { ...outputs, loss: tf.mul(outputs?.loss as tf.Tensor, 1.001) },
  }));
  assert.equal((await agreementCheck(engine, wrong)).ok, false);
});

test('the training check sees an optimiser that stores nothing', async () => {
  const engine = await openEngine('wasm');
  const wrong = faulty('step', ({ outputs }) => ({ outputs: outputs ?? {} }));
  assert.equal((await trainingCheck(engine, wrong)).ok, false);
});

nativeTest('a NaN is never taken for agreement, even if later numbers agree', async () => {
  const engine = await openEngine('tensorflow');
  const wrong = faulty('gradients', ({ outputs }) => ({
    outputs: { ...outputs, loss: tf.log(tf.neg(outputs?.loss as tf.Tensor)) },
  }));
  assert.equal((await agreementCheck(engine, wrong)).ok, false);
});
