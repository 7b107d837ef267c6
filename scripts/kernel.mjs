// Assembles kernel.wasm, the products of a web page, from src/report/web/kernel.wat.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import loadWabt from 'wabt';

const source = 'src/report/web/kernel.wat';

export async function assembleKernel(dist) {
  const module = (await loadWabt()).parseWat(source, readFileSync(source, 'utf8'), { simd: true });
  module.validate();
  writeFileSync(join(dist, 'src/report/web/kernel.wasm'), module.toBinary({}).buffer);
}
