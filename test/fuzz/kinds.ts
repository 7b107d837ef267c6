/**
 * @file What the fuzz campaign damages: for each kind of file from outside a good example, and all that tinyzero does with
 * a damaged one. An attempt may end well or in a UserError.
 */
import { appendFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { ColumnMap } from '../../src/data/column-map.js';
import { fileSource, loadProblems } from '../../src/data/problems-file.js';
import { fingerprintModel, openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { closeSafetensors, hashTensor, openSafetensors, readTensor } from '../../src/model/checkpoint/safetensors.js';
import { checkVocabulary, loadTokenizer } from '../../src/model/checkpoint/tokenizer.js';
import { exportGguf } from '../../src/model/gguf/export.js';
import { closeGguf, openGguf, readGgufTensor } from '../../src/model/gguf/header.js';
import { ggufFiles, ggufWeights } from '../../src/model/gguf/open.js';
import { resolveModel } from '../../src/model/hub/model.js';
import { hubSettings } from '../../src/model/hub/repo.js';
import { parseModelConfig } from '../../src/model/network/config.js';
import { inverseFrequencies } from '../../src/model/network/rope.js';
import { openModel } from '../../src/model/open.js';
import { readRunRecord } from '../../src/report/read.js';
import { runFiles } from '../../src/run/folder.js';
import { listRuns } from '../../src/run/listing/list.js';
import { writeProbe } from '../../src/stage1/probe-file.js';
import { mergeVStarFiles, readVStarFile, vStarOf, writeVStarFile } from '../../src/stage1/v-star-file.js';
import { readCheckpointState } from '../../src/stage2/checkpoint.js';
import { checksumOf, emptyChecksum, sealJson } from '../../src/util/checksum.js';
import { keyedRandom } from '../../src/util/random.js';
import { silentReporter } from '../../src/util/reporter.js';
import { type FixtureModel, fixture } from '../helpers/files.js';
import { damage, flipBit, pick } from '../helpers/fuzz.js';
import { runRecord, stepRecord } from '../helpers/run-record.js';
import { damagedJson, damagedTemplate } from './mutate.js';

/** One damaged input and all that is done with it. */
export type Attempt = (random: () => number) => void | Promise<void>;

/** Each makes its good example in the folder that it is given. */
export const kinds: Readonly<Record<string, (folder: string) => Attempt | Promise<Attempt>>> = {
  safetensors,
  gguf,
  config: (folder) => jsonOfModel(folder, 'llama', 'config.json', openAll),
  'generation config': (folder) => jsonOfModel(folder, 'qwen3-tied', 'generation_config.json', openAll),
  tokenizer: (folder) => jsonOfModel(folder, 'qwen2-untied-bf16', 'tokenizer.json', useTokenizer),
  'tokenizer config': (folder) => jsonOfModel(folder, 'qwen2-tied-f32', 'tokenizer_config.json', useTokenizer),
  'chat template': chatTemplate,
  index: (folder) => jsonOfModel(folder, 'qwen2-untied-bf16', 'model.safetensors.index.json', openAll),
  state: checkpointState,
  'V*': vStarFile,
  'run folder': runFolder,
  problems: problemsFile,
  'problems csv': problemsCsv,
  'problems parquet': problemsParquet,
  'hub answers': hubAnswers,
};

function copyOf(model: FixtureModel, folder: string): string {
  const copy = join(folder, model);
  cpSync(fixture(model), copy, { recursive: true });
  return copy;
}

function jsonOfModel(root: string, model: FixtureModel, name: string, use: (folder: string) => void): Attempt {
  const folder = copyOf(model, root);
  const good = JSON.parse(readFileSync(join(folder, name), 'utf8'));
  return (random) => {
    writeFileSync(join(folder, name), damagedJson(good, random));
    use(folder);
  };
}

function openAll(folder: string): void {
  const model = openPretrained(folder);
  try {
    inverseFrequencies(model.config.rope, model.config.headDim);
    fingerprintModel(model);
  } finally {
    model.weights.close();
  }
}

const texts = ['7 × 8 = 56', 'What is 3 times 4?\n', '\u0000é½😀', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab', ''];

function useTokenizer(folder: string): void {
  const { config, weights } = openPretrained(folder);
  weights.close();
  const tokenizer = loadTokenizer(folder);
  checkVocabulary(tokenizer, config, folder);
  for (const text of texts) {
    const ids = tokenizer.encode(text);
    const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= config.vocabSize);
    if (bad !== undefined) throw new Error(`the id ${bad} left the tokenizer`);
    tokenizer.decode(ids);
  }
  tokenizer.decode([0, 1, tokenizer.length - 1, tokenizer.length, 10 ** 9], { keepSpecialTokens: true });
  tokenizer.encodeChat([{ role: 'user', content: 'hi' }]);
}

function safetensors(root: string): Attempt {
  const path = join(root, 'x.safetensors');
  const bytes = readFileSync(fixture('llama', 'model.safetensors'));
  const headerBytes = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes));
  const data = bytes.subarray(8 + headerBytes);
  return (random) => {
    writeFileSync(path, random() < 0.3 ? damage(bytes, random) : withHeader(damagedJson(header, random), data));
    const file = openSafetensors(path);
    try {
      for (const entry of file.tensors.values()) {
        hashTensor(file, entry);
        if (entry.dtype !== undefined) readTensor(file, entry);
      }
    } finally {
      closeSafetensors(file);
    }
  };
}

async function gguf(root: string): Promise<Attempt> {
  const path = join(root, 'x.gguf');
  const never = new AbortController().signal;
  const model = await openModel(fixture('qwen2-tied-f32'), silentReporter, never);
  await exportGguf(path, { ...model, name: 'x' }, 'q8_0');
  model.pretrained.weights.close();
  const bytes = readFileSync(path);
  // Damage to the tensors is never noticed: most of it goes to the header.
  const headerBytes = bytes.indexOf('blk.2.ffn_up.weight');
  const [header, data] = [bytes.subarray(0, headerBytes), bytes.subarray(headerBytes)];
  return (random) => {
    writeFileSync(path, random() < 0.2 ? damage(bytes, random) : Buffer.concat([damage(header, random), data]));
    const file = openGguf(path);
    try {
      for (const tensor of file.tensors.values()) if (tensor.format !== undefined) readGgufTensor(file, tensor);
      const files = ggufFiles(file);
      const config = parseModelConfig(JSON.parse(files['config.json']!), path);
      for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
      ggufWeights(file, config).hash();
      const tokenizer = loadTokenizer(root);
      checkVocabulary(tokenizer, config, root);
      for (const text of texts) tokenizer.decode(tokenizer.encode(text));
    } finally {
      closeGguf(file);
    }
  };
}

function withHeader(header: Uint8Array, data: Uint8Array): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.byteLength));
  return Buffer.concat([length, header, data]);
}

function chatTemplate(root: string): Attempt {
  const folder = copyOf('qwen3-tied', root);
  const templates = Object.values(
    JSON.parse(readFileSync(fixture('chat-templates.json'), 'utf8')).templates as Record<string, string>,
  );
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'What is 7 × 8?\n' },
    { role: 'assistant', content: '56' },
    { role: 'user', content: 'And 9 × 9?' },
  ];
  return (random) => {
    writeFileSync(join(folder, 'chat_template.jinja'), damagedTemplate(pick(templates, random), random));
    loadTokenizer(folder).renderChat(messages);
  };
}

function checkpointState(folder: string): Attempt {
  const good = {
    format: 'tinyzero-checkpoint-2',
    progress: { step: 3, baseline: 0.5, sampledTokens: 100 },
    logs: { metrics: emptyChecksum, rollouts: emptyChecksum },
    files: { 'config.json': emptyChecksum },
  };
  return (random) => {
    writeFileSync(join(folder, 'state.json'), sealedAtTimes(damagedJson(good, random), random));
    readCheckpointState(folder);
  };
}

const entry = {
  rewards: [1, 0],
  exact: [true, false],
  parsed: [true, true],
  truncated: [false, false],
  lengths: [3, 4],
  texts: [7, 8],
};
const fingerprint = { model: 'm', tokenizer: 't', problems: 'p', prompt: 'q', sampling: 's', reward: 'r' };

const probe = {
  problems: 1,
  samplesPerProblem: 2,
  greedyExact: 0,
  sampledExact: 0.5,
  lastNumberRight: null,
  truncatedRate: 0,
  parseFailRate: 0.5,
  meanTokens: 3.5,
  examples: [{ problem: 'What is 3 × 4?', completion: 'answer: 12', exact: true, parsed: true, truncated: false }],
};

function vStarFile(folder: string): Attempt {
  const path = join(folder, 'v_star.json');
  const entries = new Map(['a', 'b', '__proto__'].map((id) => [id, entry]));
  writeVStarFile(path, { createdBy: 'fuzz', fingerprint, beta1: 0.5, samples: 2, entries });
  const other = { path: 'other', file: readVStarFile(path) };
  const { checksum: _, ...good } = JSON.parse(readFileSync(path, 'utf8'));
  return (random) => {
    writeFileSync(path, sealedAtTimes(damagedJson(good, random), random));
    const file = readVStarFile(path);
    vStarOf(path, file, ['a', 'b']);
    mergeVStarFiles([{ path, file }, other], { partial: true });
  };
}

function runFolder(root: string): Attempt {
  const folder = join(root, 'run');
  mkdirSync(folder);
  const { stored, problems, before, after, stage1, steps } = runRecord({ after: () => 6 });
  const path = (name: keyof typeof runFiles) => join(folder, runFiles[name]);
  const put = (name: keyof typeof runFiles, value: unknown) => writeFileSync(path(name), JSON.stringify(value));
  put('problems', { train: problems.train, rows: problems.rows, test: problems.test });
  const problemsChecksum = checksumOf(readFileSync(path('problems'))).crc32;
  const { options } = stored;
  const config = { format: 'tinyzero-run-2', engine: 'wasm', modelHash: 'abc', problemsChecksum, options };
  writeFileSync(path('config'), sealJson(`${JSON.stringify(config, null, 2)}\n`));
  put('evalBefore', before);
  put('evalAfter', after);
  const entries = stage1!.entries;
  writeVStarFile(path('vStar'), { createdBy: 'fuzz', fingerprint, beta1: 0.5, samples: 4, entries });
  writeProbe(path('probe'), { probe });
  const problem = problems.train[0]!.id;
  const answer = { completion: 'answer: 84', exact: true, finished: true, tokens: 4 };
  const rollout = { problem, ...answer, reward: 1, advantage: 0.5, logProb: -1, refLogProb: -1.5 };
  for (const { step } of steps) {
    appendFileSync(path('metrics'), `${JSON.stringify(stepRecord(step))}\n`);
    appendFileSync(path('rollouts'), `${JSON.stringify({ step, ...rollout })}\n`);
    appendFileSync(path('timings'), `${JSON.stringify({ step, seconds: 0.5 })}\n`);
  }
  const names = [
    'config',
    'problems',
    'evalBefore',
    'evalAfter',
    'vStar',
    'probe',
    'metrics',
    'rollouts',
    'timings',
  ] as const;
  const whole = new Map(names.map((name) => [name, readFileSync(path(name), 'utf8')]));
  readRunRecord(folder);
  return (random) => {
    const name = pick(names, random);
    writeFileSync(path(name), sealedAtTimes(damagedLines(whole.get(name)!, random), random));
    try {
      listRuns(root);
      readRunRecord(folder);
    } finally {
      writeFileSync(path(name), whole.get(name)!);
    }
  };
}

/** A checksum refuses nearly all damage, so every other damaged object gets a right one: what lies behind is read too. */
function sealedAtTimes(bytes: Uint8Array, random: () => number): string | Uint8Array {
  if (random() < 0.5) return bytes;
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return bytes;
    delete value.checksum;
    return sealJson(`${JSON.stringify(value, null, 2)}\n`);
  } catch {
    return bytes;
  }
}

/** JSON, or JSON lines of which one is damaged. */
function damagedLines(text: string, random: () => number): Uint8Array {
  const lines = text.trimEnd().split('\n');
  // A file of many lines that is one value.
  if (lines[0] === '{' || lines.length === 1) return damagedJson(JSON.parse(text), random);
  const at = Math.floor(random() * lines.length);
  const changed = damagedJson(JSON.parse(lines[at]!), random);
  return Buffer.concat([
    Buffer.from(`${lines.slice(0, at).join('\n')}\n`),
    changed,
    Buffer.from(`\n${lines.slice(at + 1).join('\n')}\n`),
  ]);
}

function problemsFile(folder: string): Attempt {
  const path = join(folder, 'problems.jsonl');
  const line = (i: number) => ({ prompt: `What is ${i} × 7?`, answer: 7 * i, split: i % 3 === 0 ? 'test' : 'train' });
  const good = Array.from({ length: 12 }, (_, i) => JSON.stringify({ ...line(i), cluster: `c${i}` })).join('\n');
  return async (random) => {
    writeFileSync(path, damagedLines(good, random));
    await useProblems(path);
  };
}

async function useProblems(path: string, map: ColumnMap = {}): Promise<void> {
  const { task } = await loadProblems(fileSource(path, map));
  const problems = task.problems(keyedRandom('fuzz'), 5);
  for (const problem of problems) task.reward('answer: 7', problem, { finished: true });
}

function problemsCsv(folder: string): Attempt {
  const path = join(folder, 'problems.csv');
  const lines = Array.from(
    { length: 12 },
    (_, i) => `"What is ${i}, ""times"" 7?",${7 * i},${i % 3 ? '' : 'test'},c${i}`,
  );
  const good = Buffer.from(['prompt,answer,split,cluster', ...lines].join('\r\n'));
  const pieces = ['"', '""', ',', '\n', '\r', ';', '\ufeff', ',,,,,,,,', '"\n'.repeat(5000), ','.repeat(50_000), '\0'];
  return async (random) => {
    const at = Math.floor(random() * good.length);
    const piece = Buffer.from(pick(pieces, random));
    const grown = Buffer.concat([good.subarray(0, at), piece, good.subarray(at)]);
    writeFileSync(path, random() < 0.5 ? grown : damage(grown, random));
    await useProblems(path);
  };
}

function problemsParquet(folder: string): Attempt {
  const path = join(folder, 'problems.parquet');
  const good = ['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4'].map((codec) =>
    readFileSync(fixture('tables', `${codec}.parquet`)),
  );
  return async (random) => {
    const bytes = pick(good, random);
    const footer = bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8);
    const parts = [bytes.subarray(0, footer), bytes.subarray(footer, -8), bytes.subarray(-8)];
    // The pages, the schema and counts at the end, or all of it.
    const kind = random();
    const hurt = (part: Uint8Array) => (random() < 0.5 ? damage(part, random) : flipBit(part, random));
    const [pages, schema, end] = [
      kind < 0.45 ? hurt(parts[0]!) : parts[0]!,
      kind > 0.4 ? hurt(parts[1]!) : parts[1]!,
      kind > 0.95 ? hurt(parts[2]!) : Buffer.from(parts[2]!),
    ];
    if (kind <= 0.95) Buffer.from(end.buffer, end.byteOffset).writeUInt32LE(schema.length);
    writeFileSync(path, Buffer.concat([pages, schema, end]));
    await useProblems(path, { prompt: 'question', answer: 'answer', split: 'part' });
  };
}

/** A hub in this process whose answers, headers or files are damaged. */
async function hubAnswers(root: string): Promise<Attempt> {
  const sha = 'c0ffee'.padEnd(40, '0');
  const files = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];
  const content = new Map(files.map((name) => [name, readFileSync(fixture('llama', name))]));
  const { createHash } = await import('node:crypto');
  const tree = files.map((path) => {
    const bytes = content.get(path)!;
    const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
    return { type: 'file', path, size: bytes.length, oid };
  });
  let random: () => number = Math.random;
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://hub');
    const isTree = pathname.includes('/tree/');
    const name = files.find((file) => pathname.endsWith(`/${file}`));
    const hit = random() < 0.5;
    const kind = random();
    if (hit && kind < 0.1) return response.writeHead(Math.floor(200 + random() * 350)).end('{}');
    if (hit && kind < 0.2) return response.writeHead(200, { 'content-encoding': 'gzip' }).end('no gzip');
    if (hit && kind < 0.25) return response.destroy();
    if (hit && kind < 0.35) response.setHeader('link', `<http://${request.headers.host}${request.url}>; rel="next"`);
    if (hit && kind < 0.4) response.setHeader('link', '<http://[>; rel="next"');
    if (hit && kind < 0.5) return response.end('<html>login</html>');
    if (name !== undefined) return response.end(hit ? damage(content.get(name)!, random) : content.get(name)!);
    const answer = isTree ? tree : { _id: '1', id: 'org/model', sha };
    response.end(hit ? damagedJson(answer, random) : JSON.stringify(answer));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  server.unref();
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let count = 0;
  return async (next) => {
    random = next;
    const settings = hubSettings({ HF_ENDPOINT: endpoint, HF_HOME: join(root, `home-${count++ % 50}`) });
    const fast = { ...settings, timeoutMs: 1000, retryPauseMs: 1 };
    await resolveModel(`org/model${count}`, { settings: fast });
  };
}
