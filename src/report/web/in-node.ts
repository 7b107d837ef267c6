/** @file Runs a model of a web export in Node with the page's own code, to check the export. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import type { Peer } from '../../model/export/peer.js';
import { createSession, type PageModel } from './session.js';

/** @param folder `models/0` of an export. */
export async function openWebModel(folder: string): Promise<Peer> {
  const read = (name: string) => readFileSync(join(folder, name));
  const json = (name: string) => JSON.parse(read(name).toString());
  const model: PageModel = json('model.json');
  const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
  const file = read('model.safetensors');
  const weights = file.buffer.slice(file.byteOffset, file.byteOffset + file.length) as ArrayBuffer;
  return {
    program: "the page's own code",
    async answer({ text, addSpecialTokens, maxNewTokens }) {
      const session = createSession({ ...model, maxNewTokens, addSpecialTokens }, weights, tokenizer);
      return await session.answer(text);
    },
    close: async () => {},
  };
}
