/** @file Size limits and validation of the hub's JSON responses: pages of file lists, and revisions. */
import { UserError } from '../../util/errors.js';
import { parseJson } from '../../util/json.js';
import { anyObject, check, integer, list, object, optional, text } from '../../util/schema.js';

/** Pages of a file list, with 1,000 files each. */
export const maxPages = 100;
/** Largest response. A page of a file list has about 300 kB. */
export const maxAnswerBytes = 32 * 2 ** 20;

const entryShape = object({
  type: text,
  path: text,
  size: integer({ min: 0 }),
  oid: optional(text),
  lfs: optional(object({ oid: text, size: integer({ min: 0 }) })),
});

/**
 * Validates a response for @huggingface/hub, which does not check it.
 *
 * @throws UserError describing the response if it is not the expected JSON.
 */
export async function checkedJson(endpoint: string, answer: Response, url: string, subject: string): Promise<Response> {
  const body = new Uint8Array(await answer.arrayBuffer());
  let value: unknown;
  try {
    value = parseJson(new TextDecoder().decode(body));
  } catch (cause) {
    const problem = `${subject}: the hub at ${endpoint} answered with something other than JSON.`;
    const found = answer.headers.get('content-type') ?? 'no content type';
    const fix = "The network may require a login: open the hub's address in a browser.";
    throw new UserError({ problem, found, fix }, { cause });
  }
  const isList = /\/tree\//.test(new URL(url).pathname);
  const source = {
    path: `The response of the hub at ${endpoint}`,
    fix: 'Check that HF_ENDPOINT is the address of a hub.',
  };
  check(isList ? list(entryShape) : anyObject, value, source);
  return new Response(body, { status: answer.status, headers: answer.headers });
}

/** The whole body; undefined if it is too long. */
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
