/** @file Reads an adapter's archive from a server of the Tinker API: a .tar.gz of `adapter_config.json` and `adapter_model.safetensors`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseTarGzip } from 'nanotar';
import { openAdapter, readAdapterConfig } from '../../model/checkpoint/adapter.js';
import { closeSafetensors } from '../../model/checkpoint/safetensors.js';
import type { ModelConfig } from '../../model/network/config.js';
import type { LoraOptions } from '../../model/network/lora-options.js';
import type { ParameterSpecs } from '../../model/network/params.js';
import { UserError } from '../../util/errors.js';

/**
 * The adapter's tensors, float32, by the names in `specs`. B is multiplied by the archive's alpha / `lora.alpha`, so that the adapter
 * computes the same function with `lora.alpha`.
 *
 * @throws UserError when it is not an adapter for these layers with this rank.
 */
export async function readAdapterArchive(
  archive: Uint8Array,
  config: ModelConfig,
  lora: LoraOptions,
  specs: ParameterSpecs,
): Promise<Map<string, Float32Array>> {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-adapter-'));
  try {
    for (const { name, type, data } of await parseTarGzip(archive)) {
      // Files are looked up by their base name, so no path in the archive can leave the folder.
      const file = basename(name);
      if (type === 'file' && data !== undefined && /^adapter_[\w.]+$/.test(file))
        writeFileSync(join(folder, file), data);
    }
    const adapter = readAdapterConfig(folder);
    if (adapter === undefined || adapter.rank !== lora.rank) {
      throw new UserError({
        problem: 'The Tinker server sent an archive that is not the trained adapter.',
        expected: `an adapter of rank ${lora.rank}`,
        found: adapter === undefined ? 'no adapter_config.json' : `rank ${adapter.rank}`,
      });
    }
    const opened = openAdapter(folder, config, adapter.rank);
    try {
      const missing = Object.keys(specs).filter((name) => !(name in opened.specs));
      if (missing[0] !== undefined || Object.keys(opened.specs).length !== Object.keys(specs).length) {
        throw new UserError({
          problem: 'The Tinker server sent an adapter with unexpected layers.',
          expected: Object.keys(specs).join(', '),
          found: Object.keys(opened.specs).join(', '),
        });
      }
      const factor = adapter.alpha / lora.alpha;
      return new Map(
        Object.keys(specs).map((name) => {
          const values = opened.read(name);
          return [name, name.endsWith('.lora_B.weight') ? values.map((value) => value * factor) : values];
        }),
      );
    } finally {
      closeSafetensors(opened.file);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
