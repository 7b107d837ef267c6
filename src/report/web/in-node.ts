/** @file Runs a model of a web export in Node with the page's own code, to check the export. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import type { Peer } from '../../model/export/peer.js';
import { createSession, type PageModel } from './session.js';

/** @param out the folder of an export. Its first model is opened. */
export async function openWebModel(out: string): Promise<Peer> {
  const folder = join(out, 'models/0');
  const read = (name: string) => readFileSync(join(folder, name));
  const json = (name: string) => JSON.parse(read(name).toString());
  const model: PageModel = json('model.json');
  const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
  const [weights, kernel] = ['model.safetensors', '../../kernel.wasm'].map(
    (name) => Uint8Array.from(read(name)).buffer,
  );
  return {
    program: "the page's own code",
    async answer({ text, addSpecialTokens, maxNewTokens }) {
      const session = createSession({ ...model, maxNewTokens, addSpecialTokens }, weights!, tokenizer, kernel!);
      return await session.answer(text);
    },
    close: async () => {},
  };
}
