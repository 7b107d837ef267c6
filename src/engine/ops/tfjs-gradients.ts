/**
 * @file What tfjs-core alone lacks: the gradients of its kernels, and operations as methods of tensors. Its modules for both
 * are written for bundlers, so Node loads `tfjs-gradients.bundle.js`, which scripts/bundle.mjs makes from this file. The
 * package `@tensorflow/tfjs` has them too, but it brings four more libraries, takes ten times as long to load, and occupies
 * 220 MB.
 */
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
