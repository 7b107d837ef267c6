/**
 * @file The process of `probeWebGpu` (dawn.ts): prints the adapter, or why there is none, as a line of JSON.
 */
import { UserError } from '../../util/errors.js';
import { openAdapter } from './dawn.js';
import { adapterFacts } from './device.js';

try {
  console.log(JSON.stringify({ adapter: adapterFacts(await openAdapter()) }));
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.log(JSON.stringify({ missing: error.parts }));
}
// A driver's threads may keep the process alive, or crash it while it ends.
process.exit(0);
