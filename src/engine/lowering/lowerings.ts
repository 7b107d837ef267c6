/**
 * @file Lowers each tfjs kernel to TensorFlow ops, with their attributes (which eager mode infers, but a GraphDef must state)
 * and the shapes and dtypes of the results. Op definitions are those of tensorflow/core/ops/{math,array,nn}_ops.cc.
 */
import { tensorflowLowerings } from './beyond-tfjs.js';
import { elementwiseLowerings } from './elementwise.js';
import type { Lowering } from './emit.js';
import { nativeLowerings } from './native-ops.js';
import { shapeLowerings } from './shapes.js';

/** By name of the tfjs kernel; others cannot be compiled. */
export const lowerings: Readonly<Record<string, Lowering>> = {
  ...elementwiseLowerings,
  ...shapeLowerings,
  ...tensorflowLowerings,
  ...nativeLowerings,
};
