import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  closeSafetensors,
  hashTensor,
  openSafetensors,
  readTensor,
  writeSafetensors,
} from '../../../src/model/checkpoint/safetensors.js';
import { UserError } from '../../../src/util/errors.js';
import { assertUserError } from '../../helpers/errors.js';
import { fixture, temporaryFolder } from '../../helpers/files.js';
import { damage, fuzz, pick } from '../../helpers/fuzz.js';

const values: Readonly<Record<string, Float32Array>> = {
  a: Float32Array.of(1, -2, 3.5, 0, 1e-3, 6e4),
  b: Float32Array.of(Math.PI),
  empty: new Float32Array(0),
};

/** A file of `header` (an object, or text as it is) and `dataBytes` zero bytes. */
function rawFile(t: TestContext, header: unknown, dataBytes: number, claimedLength?: bigint): string {
  const json = typeof header === 'string' ? Buffer.from(header, 'latin1') : Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimedLength ?? BigInt(json.length));
  const path = join(temporaryFolder(t), 'raw.safetensors');
  writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
  return path;
}

function entry(dtype: unknown, shape: unknown, begin: unknown, end: unknown) {
  return { dtype, shape, data_offsets: [begin, end] };
}

test('written files are read back, in every format', async (t) => {
  const path = join(temporaryFolder(t), 'deep', 'x.safetensors');
  const tensors = [
    { name: 'empty', shape: [0, 3], dtype: 'bfloat16' },
    { name: 'b', shape: [], dtype: 'float16' },
    { name: 'a', shape: [2, 3], dtype: 'float32' },
  ] as const;
  await writeSafetensors(path, tensors, (name) => values[name]!);
  const file = openSafetensors(path);
  t.after(() => closeSafetensors(file));
  assert.deepEqual(file.metadata, { format: 'pt' });
  assert.deepEqual([...file.tensors.keys()].sort(), ['a', 'b', 'empty']);
  assert.deepEqual(readTensor(file, file.tensors.get('a')!), values.a);
  assert.deepEqual([...readTensor(file, file.tensors.get('b')!)], [3.140625], 'pi in float16');
  assert.deepEqual([...readTensor(file, file.tensors.get('empty')!)], []);
  const { offset } = file.tensors.get('b')!;
  assert.deepEqual([...readFileSync(path).subarray(offset, offset + 2)], [0x48, 0x42]);
  assert.equal(file.tensors.get('a')!.offset % 8, 0, 'data starts aligned');
});

test('a tensor longer than one piece survives conversion both ways', async (t) => {
  const path = join(temporaryFolder(t), 'x.safetensors');
  // Whole numbers up to 255 are exact in bfloat16. 700,000 of them are 1.4 MB, more than one piece of either step.
  const long = Float32Array.from({ length: 700_001 }, (_, i) => (i * 7) % 256);
  await writeSafetensors(path, [{ name: 'long', shape: [700_001], dtype: 'bfloat16' }], () => long);
  const file = openSafetensors(path);
  t.after(() => closeSafetensors(file));
  assert.deepEqual(readTensor(file, file.tensors.get('long')!), long);
});

test('fixtures: shape, type and a value known from the reference', (t) => {
  const file = openSafetensors(fixture('qwen2-untied-bf16', 'model-00001-of-00004.safetensors'));
  t.after(() => closeSafetensors(file));
  const embedding = file.tensors.get('model.embed_tokens.weight') ?? [...file.tensors.values()][0]!;
  assert.equal(embedding.dtype, 'bfloat16');
  const wide = readTensor(file, embedding);
  assert.equal(wide.length * 2, embedding.byteLength);
  assert.ok(wide.every(Number.isFinite) && wide.some((value) => value !== 0));
  assert.equal(hashTensor(file, embedding), hashTensor(file, embedding));
});

test('a failing writer leaves the older file and nothing else', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'x.safetensors');
  await writeSafetensors(path, [{ name: 'b', shape: [1], dtype: 'float32' }], () => values.b!);
  const before = readFileSync(path);
  const failing = writeSafetensors(path, [{ name: 'b', shape: [1], dtype: 'float32' }], () => {
    throw new Error('lost');
  });
  await assert.rejects(failing, /lost/);
  const wrong = writeSafetensors(path, [{ name: 'b', shape: [2], dtype: 'float32' }], () => values.b!);
  await assert.rejects(wrong, /b: 1 values do not match the shape \[2\]/);
  assert.deepEqual(readFileSync(path), before);
  assert.deepEqual(readdirSync(folder), ['x.safetensors']);
});

test('every inconsistent header is rejected', (t) => {
  const refused = (header: unknown, bytes: number, pattern: RegExp, claimed?: bigint) =>
    assertUserError(() => openSafetensors(rawFile(t, header, bytes, claimed)), /raw\.safetensors/, pattern);
  refused({}, 0, /states a header of 2147483648 bytes, but at most/, 2n ** 31n);
  refused({}, 0, /states a header of 18446744073709551615 bytes/, 2n ** 64n - 1n);
  refused({}, 0, /states a header of 3 bytes, but at most 2/, 3n);
  refused('{"a":', 0, /not valid JSON/);
  refused('', 0, /not valid JSON/);
  refused('[]', 0, /a JSON object/);
  refused('{"\xff', 0, /not valid JSON/);
  refused({ a: 1 }, 0, /`header\["a"\]` must be an object, not 1/);
  refused({ a: entry('F32', [1], 0, 4) }, 3, /describes \d+ bytes but the file has/);
  refused({ a: entry('F32', [1], 0, 4) }, 5, /describes \d+ bytes but the file has/);
  refused({ a: entry('F32', [2], 0, 4) }, 4, /"a" has 4 bytes where F32 \[2\] needs 8/);
  refused({ a: entry('F32', [1], 4, 0) }, 4, /"a" has -4 bytes where F32 \[1\] needs 4/);
  refused({ a: entry('F32', [-1], 0, 4) }, 4, /`header\["a"\]\.shape\[0\]` must be an integer of at least 0, not -1/);
  refused({ a: entry('F32', [1.5], 0, 6) }, 6, /`header\["a"\]\.shape\[0\]` must be an integer.*not 1\.5/);
  refused({ a: entry('F32', 'x', 0, 4) }, 4, /`header\["a"\]\.shape` must be a list, not "x"/);
  refused({ a: entry('F32', [2 ** 30, 2 ** 30, 2 ** 30], 0, 4) }, 4, /"a" has 4 bytes/);
  refused({ a: entry('F31', [1], 0, 4) }, 4, /`header\["a"\]\.dtype` must be .*"BF16" or .*, not "F31"/);
  refused({ a: entry('toString', [1], 0, 4) }, 4, /`header\["a"\]\.dtype` must be .*, not "toString"/);
  refused({ a: entry('F32', [1], '0', 4) }, 4, /`header\["a"\]\.data_offsets\[0\]` must be an integer, not "0"/);
  refused({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 2, 4] } }, 4, /`header\["a"\]\.data_offsets/);
  refused({ a: entry('F32', [1], 0, 4), b: entry('F32', [1], 2, 6) }, 6, /"b" overlaps/);
  refused({ a: entry('F32', [1], 0, 4), b: entry('F32', [1], 0, 4) }, 4, /overlaps/);
  refused({ a: entry('F32', [1], 0, 4), b: entry('F32', [1], 8, 12) }, 12, /"b" leaves a gap/);
  refused({ a: entry('F32', [1], 4, 8) }, 8, /"a" leaves a gap/);
  refused({ __metadata__: { a: 1 } }, 0, /metadata/);
  const same = '"dtype":"F32","shape":[1],"data_offsets"';
  refused(`{"a":{${same}:[0,4]},"\\u0061"  :{${same}:[0,4]}}`, 4, /two tensors named "a"/);
});

test('a header with more tensors than any model has is rejected unread', (t) => {
  const header = `{${Array.from({ length: 300_000 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`).join()}}`;
  assertUserError(() => openSafetensors(rawFile(t, header, 0)), /states a header of \d+ bytes, but at most 16777216/);
});

test('control characters and huge names do not reach the terminal', (t) => {
  const name = `\u001b[2J\u009b31m${'x'.repeat(1_000_000)}`;
  const path = rawFile(t, { [name]: entry('F32', [1], 0, 4) }, 3);
  assert.throws(
    () => openSafetensors(path),
    (error) => error instanceof UserError && error.message.length < 4100 && !/\p{Cc}/u.test(error.message),
  );
});

test('names with a meaning in JavaScript are ordinary names', (t) => {
  const json =
    '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"constructor":{"dtype":"F16","shape":[1],"data_offsets":[1,3]}}';
  const file = openSafetensors(rawFile(t, json, 3));
  t.after(() => closeSafetensors(file));
  assert.deepEqual([...file.tensors.keys()], ['__proto__', 'constructor']);
  assertUserError(() => readTensor(file, file.tensors.get('__proto__')!), /unsupported type U8/);
});

test('missing, empty and shrinking files are explained', (t) => {
  const folder = temporaryFolder(t);
  assertUserError(() => openSafetensors(join(folder, 'none')), /no such file/);
  assertUserError(() => openSafetensors(folder), /folder/);
  writeFileSync(join(folder, 'short'), 'abc');
  assertUserError(() => openSafetensors(join(folder, 'short')), /has 3 bytes, too few/);

  const path = rawFile(t, { a: entry('F32', [4], 0, 16) }, 16);
  const file = openSafetensors(path);
  t.after(() => closeSafetensors(file));
  const fd = openSync(path, 'r+');
  ftruncateSync(fd, 70);
  closeSync(fd);
  assertUserError(() => readTensor(file, file.tensors.get('a')!), /became shorter/);
});

test('a tensor past the first 2 GiB of a file is reached', (t) => {
  // Sparse: 2.1 GB of zeros that take no room on disk, then the tensor that is read.
  const path = join(temporaryFolder(t), 'large.safetensors');
  const skipped = 2_100_000_000;
  const header = { zeros: entry('U8', [skipped], 0, skipped), a: entry('F32', [1], skipped, skipped + 4) };
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const fd = openSync(path, 'w');
  writeSync(fd, Buffer.concat([length, json]));
  writeSync(fd, Buffer.from(Float32Array.of(7).buffer), 0, 4, 8 + json.length + skipped);
  closeSync(fd);
  const file = openSafetensors(path);
  t.after(() => closeSafetensors(file));
  assert.deepEqual([...readTensor(file, file.tensors.get('a')!)], [7]);
});

test('damaged files are read or rejected, but never cause a crash', (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'x.safetensors');
  const sound = readFileSync(fixture('qwen2-untied-bf16', 'model-00003-of-00004.safetensors'));
  const headerEnd = 8 + Number(sound.readBigUInt64LE());
  fuzz(400, (random) => {
    // Mostly the header, where the structure is; its stated length follows, so that damage gets past the first check.
    let bytes: Uint8Array = damage(sound, random);
    if (random() < 0.8) {
      const header = damage(sound.subarray(8, headerEnd), random);
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(header.length));
      bytes = Buffer.concat([length, header, sound.subarray(headerEnd)]);
    }
    attempt(path, bytes);
  });
  const numbers = [-1, 0, 1, 4, 8, 1.5, 2 ** 31, 2 ** 53, 1e308, null, '4', []];
  fuzz(1500, (random) => {
    const any = () => pick(numbers, random);
    const make = () =>
      entry(pick(['F32', 'BF16', 'F16', 'U8', 'F4', 'no', null], random), [any(), any()], any(), any());
    const json = Buffer.from(JSON.stringify({ a: make(), b: make() }));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    attempt(path, Buffer.concat([length, json, Buffer.alloc(pick([0, 4, 8], random))]));
  });
});

function attempt(path: string, bytes: Uint8Array): void {
  writeFileSync(path, bytes);
  try {
    const file = openSafetensors(path);
    try {
      for (const tensor of file.tensors.values()) {
        if (tensor.dtype !== undefined) readTensor(file, tensor);
      }
    } finally {
      closeSafetensors(file);
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
}
