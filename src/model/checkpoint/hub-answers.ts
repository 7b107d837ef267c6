/** @file Bounds and checks of a hub's JSON answers: a page of the list of files, or what a revision is. */
import { UserError } from '../../util/errors.js';
import { parseJson } from '../../util/json.js';
import { anyObject, check, integer, list, object, optional, text } from '../../util/schema.js';

/** Pages of a list of files, of 1,000 files each. */
export const maxPages = 100;
/** Of an answer: a page of the list has some 300 kB. */
export const maxAnswerBytes = 32 * 2 ** 20;

const entryShape = object({
  type: text,
  path: text,
  size: integer({ min: 0 }),
  oid: optional(text),
  lfs: optional(object({ oid: text, size: integer({ min: 0 }) })),
});

/**
 * `answer`, if it is JSON of the form that its reader, @huggingface/hub, trusts.
 *
 * @throws UserError that says what it is instead.
 */
export async function checkedJson(endpoint: string, answer: Response, url: string, subject: string): Promise<Response> {
  const body = new Uint8Array(await answer.arrayBuffer());
  let value: unknown;
  try {
    value = parseJson(new TextDecoder().decode(body));
  } catch (cause) {
    const problem = `${subject}: the hub at ${endpoint} answered with something other than JSON.`;
    const found = answer.headers.get('content-type') ?? 'no content type';
    const fix = 'Is there a login page of the network in between? Open the address in a browser.';
    throw new UserError({ problem, found, fix }, { cause });
  }
  const isList = /\/tree\//.test(new URL(url).pathname);
  const source = { path: `The answer of the hub at ${endpoint}`, fix: 'Is HF_ENDPOINT the address of a hub?' };
  check(isList ? list(entryShape) : anyObject, value, source);
  return new Response(body, { status: answer.status, headers: answer.headers });
}

/** The whole body; undefined where it is too long. */
export async function readBody(response: Response): Promise<Buffer<ArrayBuffer> | undefined> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of response.body ?? []) {
    total += part.byteLength;
    if (total > maxAnswerBytes) return undefined; // leaving the loop cancels the body
    parts.push(part);
  }
  return Buffer.concat(parts);
}
