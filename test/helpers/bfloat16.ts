/** @file Rounds values to bfloat16 with the conversion of checkpoints. */
import { narrow, widen } from '../../src/model/checkpoint/dtype.js';

export function rounded(values: Float32Array): Float32Array {
  const result = new Float32Array(values.length);
  widen(narrow(values, 'bfloat16'), 'bfloat16', result);
  return result;
}
