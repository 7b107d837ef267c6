/** Broken and hostile GGUF files end in one paragraph that names the file. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { tensorFormats } from '../../../src/model/gguf/blocks.js';
import { exportGguf } from '../../../src/model/gguf/export.js';
import { closeGguf, openGguf } from '../../../src/model/gguf/header.js';
import { type MetadataEntry, writeGguf } from '../../../src/model/gguf/write.js';
import { openModel } from '../../../src/model/open.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { assertUserError, assertUserRejection } from '../../helpers/errors.js';
import { fixture, temporaryFolder } from '../../helpers/files.js';

const never = new AbortController().signal;
let good: Buffer;

before(async () => {
  const model = await openModel(fixture('llama'), silentReporter, never);
  const path = join(process.env.TMPDIR ?? '/tmp', `good-${process.pid}.gguf`);
  await exportGguf(path, { ...model, name: 'x' }, 'f16');
  model.pretrained.weights.close();
  good = readFileSync(path);
});

/** Opens the good file with `change` made to its bytes. */
function opened(t: TestContext, change: (bytes: Buffer) => Buffer | undefined): () => void {
  const path = join(temporaryFolder(t), 'bad.gguf');
  const bytes = Buffer.from(good);
  writeFileSync(path, change(bytes) ?? bytes);
  return () => closeGguf(openGguf(path));
}

test('the good file opens', (t) => {
  opened(t, () => undefined)();
});

test('a file cut off anywhere is refused', (t) => {
  for (const length of [0, 3, 4, 23, 24, 100, 1000, good.length - 1000, good.length - 33]) {
    assertUserError(
      opened(t, (bytes) => bytes.subarray(0, length)),
      /bad\.gguf is not a GGUF file/,
    );
  }
});

test('counts and lengths are checked against the size of the file before memory is allocated', (t) => {
  const put = (at: number, value: bigint) => (bytes: Buffer) => {
    bytes.writeBigUInt64LE(value, at);
    return bytes;
  };
  assertUserError(opened(t, put(8, 2n ** 40n)), /states 1099511627776 tensors, but at most \d+ are possible/);
  assertUserError(opened(t, put(16, 2n ** 63n)), /impossible size/);
  assertUserError(opened(t, put(24, 2n ** 33n)), /the name of a metadata entry has 8589934592 bytes/);
  const tokens = good.indexOf('tokenizer.ggml.tokens') + 'tokenizer.ggml.tokens'.length;
  assertUserError(opened(t, put(tokens + 8, 2n ** 31n)), /tokens" states 2147483648 elements/);
});

test('magic, version, types, nesting', (t) => {
  const put = (at: number, value: number) => (bytes: Buffer) => {
    bytes.writeUInt32LE(value, at);
    return bytes;
  };
  assertUserError(opened(t, put(0, 0)), /does not begin with "GGUF"/);
  assertUserError(opened(t, put(4, 9)), /its version is 9, not 2 or 3/);
  assertUserError(opened(t, put(4, 0x03000000)), /big-endian/);
  const tokens = good.indexOf('tokenizer.ggml.tokens') + 'tokenizer.ggml.tokens'.length;
  assertUserError(opened(t, put(tokens, 77)), /has the unknown type 77/);
  assertUserError(opened(t, put(tokens + 4, 9)), /is a list of lists/);
});

test('a named pipe and a folder are refused without waiting', (t) => {
  const pipe = join(temporaryFolder(t), 'pipe.gguf');
  execFileSync('mkfifo', [pipe]);
  assertUserError(() => openGguf(pipe), /not a regular file/);
  assertUserError(() => openGguf(temporaryFolder(t)), /it is a folder/);
});

/** A file of one tensor, opened as a model. */
async function openTiny(t: TestContext, metadata: MetadataEntry[]): Promise<void> {
  process.env.TINYZERO_CACHE = temporaryFolder(t);
  const path = join(temporaryFolder(t), 'tiny.gguf');
  const tensor = { name: 'token_embd.weight', shape: [2, 32], format: tensorFormats.f32 };
  await writeGguf(path, metadata, [{ ...tensor, read: () => new Float32Array(64) }]);
  await openModel(path, silentReporter, never);
}

test('a model or a tokenizer that tinyzero does not run is refused by its name', async (t) => {
  const architecture = (text: string): MetadataEntry => ['general.architecture', { text }];
  const tokenizer = (model: string, pre: string): MetadataEntry[] => [
    ['tokenizer.ggml.model', { text: model }],
    ['tokenizer.ggml.pre', { text: pre }],
  ];
  await assertUserRejection(openTiny(t, [architecture('gemma3')]), /tiny\.gguf/, /`general.architecture` is "gemma3"/);
  await assertUserRejection(openTiny(t, [architecture('llama')]), /it has no tokenizer/);
  await assertUserRejection(
    openTiny(t, [architecture('llama'), ...tokenizer('llama', 'x')]),
    /its tokenizer is "llama"/,
  );
  await assertUserRejection(openTiny(t, [architecture('llama'), ...tokenizer('gpt2', 'tekken')]), /text by "tekken"/);
});

test('a tensor of a format that is not read is named', async (t) => {
  process.env.TINYZERO_CACHE = temporaryFolder(t);
  const path = join(temporaryFolder(t), 'q6.gguf');
  const bytes = Buffer.from(good);
  // After a tensor's name come its dimensions (u32, two u64) and its type.
  const name = 'blk.0.attn_q.weight';
  bytes.writeUInt32LE(14, bytes.indexOf(name) + name.length + 4 + 16);
  writeFileSync(path, bytes);
  await assertUserRejection(
    openModel(path, silentReporter, never),
    /`blk.0.attn_q.weight` has the unsupported type q6_K/,
  );
});
