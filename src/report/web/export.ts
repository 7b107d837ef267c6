/**
 * @file Writes a folder that any static server can serve: one or two models, a page that asks them side by side, and a page
 * that trains. The weights keep their stored format.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Tokenizer as PageTokenizer } from '@huggingface/tokenizers';
import { drawHeldOut, heldOutSplits, pairName } from '../../data/multiplication.js';
import { promptInput, wordings } from '../../data/prompt.js';
import { writeSafetensors } from '../../model/checkpoint/safetensors.js';
import type { Tokenizer } from '../../model/checkpoint/tokenizer.js';
import { readTokenizerFiles, withAllNumerals, withAllParts } from '../../model/checkpoint/tokenizer-file.js';
import { checkExport, type ExportResult } from '../../model/export/export.js';
import type { Peer } from '../../model/export/peer.js';
import type { LoadRequest } from '../../model/loaded-model.js';
import { parameterCount, parameterSpecs } from '../../model/network/params.js';
import { inverseFrequencies } from '../../model/network/rope.js';
import { type OpenModel, openModel } from '../../model/open.js';
import { endTokens } from '../../model/prompt-input.js';
import { completeSettings, heldOutSplitOf, type Settings, type TrainingOptions } from '../../options/settings.js';
import { type Algorithm, algorithms } from '../../stage2/algorithm.js';
import { UserError } from '../../util/errors.js';
import { explainAsyncWrites, readRegularFile, writeFileAtomic } from '../../util/file.js';
import { keyedRandom } from '../../util/random.js';
import type { Reporter } from '../../util/reporter.js';
import { pageScript, webPage } from './page.js';
import { createSession, type PageModel } from './session.js';
import type { PageJob } from './training/job.js';
import { trainingPage, trainingScript } from './training/page.js';

export interface WebRequest extends Pick<LoadRequest, 'engine' | 'install'> {
  /** The trained model, then the one to compare it with, if any. */
  readonly models: readonly { readonly reference: string; readonly name: string }[];
  /** Wording, prompt style and reward follow from these and the model, as in a run. */
  readonly training: TrainingOptions;
  readonly out: string;
  readonly check: boolean;
  /** Whether a page that trains is written too. It trains the last model: the one that a run began from. */
  readonly train?: boolean;
}

/** Factors of the table on the page. */
const factors = Array.from({ length: 11 }, (_, i) => i + 2);

/** @throws UserError for an invalid model, and for a folder that cannot be written. */
export async function exportWeb(request: WebRequest, reporter: Reporter, signal: AbortSignal): Promise<ExportResult> {
  const { out, models, training, train = false } = request;
  const written: string[] = [];
  const put = (name: string, data: string | Uint8Array) => {
    writeFileAtomic(join(out, name), data);
    written.push(join(out, name));
  };
  await explainAsyncWrites(
    out,
    async () => {
      const settings: Settings[] = [];
      let trainer: Readonly<Record<string, string | Uint8Array>> = {};
      let heldOut: string[] = [];
      for (const [index, { reference, name }] of models.entries()) {
        const model = await openModel(reference, reporter, signal);
        try {
          settings.push(settingsOf(model, training));
          // Before a file is written.
          if (train && index === models.length - 1) {
            const place = `models/${index}`;
            trainer = trainingFiles({ model, name, place, settings: settings.at(-1)!, note: rewardNote(settings[0]!) });
          }
          if (index === 0) heldOut = heldOutPairs(model);
          await writeModel(`models/${index}`, out, model, name, settings.at(-1)!, put);
          written.push(join(out, `models/${index}`, 'model.safetensors'));
        } finally {
          model.pretrained.weights.close();
        }
      }
      const { reward, rewardReads } = settings[0]!;
      put(
        'page.json',
        json({
          models: models.map((_, i) => `./models/${i}`),
          reward: { kind: reward, read: rewardReads },
          factors,
          heldOut,
        }),
      );
      for (const [name, data] of Object.entries(pageFiles())) put(name, data);
      put('page.js', pageScript);
      for (const [name, data] of Object.entries(trainer)) put(name, data);
      // The page is written last: a folder without it is unfinished.
      put('index.html', webPage(models[0]!.name, rewardNote(settings[0]!), train));
    },
    'Choose another folder with --out.',
  );
  const notes = train ? ['train.html trains the model in the browser.'] : [];
  const result = { path: out, bytes: written.reduce((sum, path) => sum + statSync(path).size, 0), notes };
  if (!request.check) return result;
  const checked = { ...request, model: models[0]!.reference };
  const open = () => openWebModel(out);
  return { ...result, check: await checkExport(checked, open, reporter, signal) };
}

function rewardNote({ reward }: Settings): string {
  const near = reward === 'graded' ? ', 0.3 when it is positive and less than half of the right one away' : '';
  return `The reward is 1 for the right answer of a model that ends by itself${near}, else 0.`;
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

function settingsOf({ pretrained, tokenizer }: OpenModel, training: TrainingOptions): Settings {
  return completeSettings(training, {
    heldOut: heldOutSplitOf(pretrained.configRecord),
    hasChatTemplate: tokenizer.chatTemplate !== null,
    parameters: parameterCount(pretrained.config),
  });
}

/** Names of the pairs that a built-in model never saw; none for other models. */
function heldOutPairs({ pretrained }: OpenModel): string[] {
  const split = heldOutSplitOf(pretrained.configRecord);
  return split === undefined ? [] : heldOutSplits[split].map(([a, b]) => pairName({ a, b }));
}

async function writeModel(
  place: string,
  out: string,
  { pretrained, tokenizer, tokenizerFolder }: OpenModel,
  name: string,
  { wording, promptStyle, system, maxNewTokens }: Settings,
  put: (name: string, data: string | Uint8Array) => void,
): Promise<void> {
  const { config, weights } = pretrained;
  const tensors = Object.entries(parameterSpecs(config)).map(([parameter, shape]) => {
    return { name: parameter, shape, dtype: weights.dtypeOf(parameter) };
  });
  await writeSafetensors(join(out, place, 'model.safetensors'), tensors, weights.read);
  const { json: record, config: tokenizerConfig } = readTokenizerFiles(tokenizerFolder);
  const filled = withAllParts(record);
  put(`${place}/tokenizer.json`, JSON.stringify({ ...filled, pre_tokenizer: withAllNumerals(filled.pre_tokenizer) }));
  put(`${place}/tokenizer_config.json`, json(tokenizerConfig));
  const { layers, heads, kvHeads, headDim, rmsNormEps, tied, qkNorm, rope, maxPositions } = config;
  const model: PageModel = {
    name,
    decoder: {
      layers,
      heads,
      kvHeads,
      headDim,
      rmsNormEps,
      tied,
      qkNorm,
      maxPositions,
      frequencies: [...inverseFrequencies(rope, headDim)],
      attentionFactor: rope.attentionFactor,
    },
    endIds: [...endTokens({ pretrained, tokenizer })],
    maxNewTokens,
    wording: wordings[wording]({ a: 1111, b: 2222 }).replace('1111', '{a}').replace('2222', '{b}'),
    around: surroundings(tokenizer, promptStyle, system),
    addSpecialTokens: promptStyle === 'raw',
  };
  put(`${place}/model.json`, json(model));
}

/** The texts of a prompt before and after its question. */
function surroundings(tokenizer: Tokenizer, style: 'raw' | 'chat', system: string | undefined): PageModel['around'] {
  const mark = 'QUESTION-4f1c';
  const input = promptInput(mark, { style, system });
  const text = 'messages' in input ? tokenizer.renderChat(input.messages) : input.text;
  const [before = '', ...after] = text.split(mark);
  return [before, after.join(mark)];
}

/** The modules of the page, and the code of its products, by name. */
function pageFiles(): Record<string, string | Uint8Array> {
  const ours = {
    decoder: './decoder.js',
    session: './session.js',
    answer: '../../reward/answer.js',
    multiplication: '../../reward/multiplication.js',
  };
  const read = (path: string | URL) => readFileSync(path, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n');
  const tokenizers = dirname(createRequire(import.meta.url).resolve('@huggingface/tokenizers'));
  return {
    ...Object.fromEntries(
      Object.entries(ours).map(([name, path]) => [`${name}.js`, read(new URL(path, import.meta.url))]),
    ),
    'kernel.wasm': readFileSync(new URL('./kernel.wasm', import.meta.url)),
    'tokenizers.js': read(join(tokenizers, 'tokenizers.min.mjs')),
  };
}

/** @param out the folder of an export. Its first model is opened. */
async function openWebModel(out: string): Promise<Peer> {
  const folder = join(out, 'models/0');
  const read = (name: string) => readFileSync(join(folder, name));
  const json = (name: string) => JSON.parse(read(name).toString());
  const model: PageModel = json('model.json');
  const tokenizer = new PageTokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
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

interface Trainer {
  readonly model: OpenModel;
  readonly name: string;
  /** Folder of the model, relative to the page. */
  readonly place: string;
  readonly settings: Settings;
  /** A sentence about the reward. */
  readonly note: string;
}

/** The files, by name. @throws UserError when a page cannot train with these settings. */
function trainingFiles({ model, name, place, settings, note }: Trainer): Record<string, string | Uint8Array> {
  requireTrainable(settings);
  const { pretrained, tokenizer, tokenizerFolder } = model;
  const { min, max, numTest, overlap, seed, reward, rewardReads, wording, promptStyle, system, beta1 } = settings;
  const split = heldOutSplitOf(pretrained.configRecord);
  const heldOut =
    overlap === 'seed'
      ? []
      : split === undefined
        ? drawHeldOut(min, max, numTest, keyedRandom(seed, 'held out'))
        : heldOutSplits[split];
  const job: PageJob = {
    model: `./${place}`,
    settings: { ...settings, beta1: Number.isFinite(beta1) ? beta1 : 'Infinity' },
    config: pretrained.config,
    form: { style: promptStyle, system },
    task: { min, max, heldOut, wording, reward: { kind: reward, read: rewardReads } },
    endIds: [...endTokens({ pretrained, tokenizer })],
  };
  const algorithm: Algorithm = algorithms[settings.algo];
  const packages = createRequire(import.meta.url);
  const wasm = packages.resolve('@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm');
  // With the downloaded weights, the model's folder is accepted by every command.
  const carried = ['config.json', 'generation_config.json'].filter((file) => existsSync(join(tokenizerFolder, file)));
  return {
    ...Object.fromEntries(carried.map((file) => [`${place}/${file}`, readRegularFile(join(tokenizerFolder, file))])),
    'train.json': `${JSON.stringify(job, null, 2)}\n`,
    'train-worker.js': readFileSync(new URL('./training/worker.bundle.js', import.meta.url)),
    'train.js': trainingScript,
    'tfjs-backend-wasm-simd.wasm': readFileSync(wasm),
    'train.html': trainingPage(name, algorithm.title, note),
  };
}

/** @throws UserError naming everything that only tinyzero itself can do. */
function requireTrainable(settings: Settings): void {
  const { modelKind, task, problems, reference, loraRank, tinkerUrl, samplerUrl, precision } = settings;
  const { numValidation, refreshEvery, shots, promptStyle } = settings;
  const reasons = [
    modelKind !== 'builtin' && 'the model is not a built-in one, or one trained from it',
    (task !== undefined || problems !== undefined) && 'its problems are not those of the built-in task',
    reference !== undefined && reference !== settings.model && 'the reference is another model (--reference)',
    loraRank !== undefined && 'adapters are trained (--lora-rank)',
    (tinkerUrl !== undefined || samplerUrl !== undefined) && 'a server computes',
    precision !== 'f32' && 'products are rounded to bfloat16 (--precision)',
    settings.samplerWeights === 'int8' && 'the sampler has weights of 8 bits (--sampler-weights)',
    numValidation > 0 && 'problems are set aside for validation (--num-validation)',
    refreshEvery > 1 && 'the sampler lags behind (--refresh-every)',
    (shots > 0 || promptStyle === 'chat') && 'prompts are more than the question',
  ].filter((reason) => reason !== false);
  if (reasons.length === 0) return;
  throw new UserError({
    problem: `--train: a page cannot repeat this run: ${reasons.join('; ')}.`,
    expected: 'a built-in model, or a run of one, with the built-in task and all weights trained in float32',
    fix: 'Export without --train, or train with `tinyzero train`.',
  });
}
