/** @file What values become when they are kept as bfloat16, by the conversion that checkpoints go through. */
import { narrow, widen } from '../../src/model/checkpoint/dtype.js';

export function rounded(values: Float32Array): Float32Array {
  const result = new Float32Array(values.length);
  widen(narrow(values, 'bfloat16'), 'bfloat16', result);
  return result;
}
