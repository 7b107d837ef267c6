/** @file Commands that ask a model something, or write it in another form. */
import { serverOptionNames } from '../../options/names.js';
import { type CommandSpec, command, engineOptions, modelOrRun, sampling } from '../command-spec.js';

export const modelCommands: readonly CommandSpec[] = [
  command({
    words: ['generate'],
    summary: 'complete a prompt or a file of prompts',
    details:
      'Prints text as it is sampled. Sampling follows the flags, then the generation_config.json of the model, then the plain softmax; a model that recommends no sampling is greedy. A completion depends only on model, prompt, seed and sampling, not on other completions. A line of --input is {"prompt": text or token ids}. With --json, a line of output is { prompt, promptIds, completions: [{ ids, text, logProbs, finishReason }] }, with the log-probs of the softmax at the temperature, before top-p and top-k.',
    options: [
      'model',
      'prompt',
      'input',
      'chat',
      'promptStyle',
      'temperature',
      'topP',
      'topK',
      'maxNewTokens',
      'samples',
      'seed',
      'precision',
      'samplerWeights',
      ...serverOptionNames,
      'json',
      ...engineOptions,
    ],
    texts: {
      model: modelOrRun,
      temperature: { ...sampling, default: 'as the model recommends' },
      topP: { default: 'as the model recommends' },
      topK: { default: 'as the model recommends' },
      maxNewTokens: { default: '256' },
      samples: { default: '1' },
    },
    examples: [
      ['generate --prompt "What is 7 × 8?"', 'the built-in model'],
      ['generate --model Qwen/Qwen2.5-0.5B-Instruct --chat --prompt "What is 7 × 12?"', 'an answer, as it is sampled'],
      ['generate --model runs/mine --input prompts.jsonl --samples 4 --json', 'four completions of each prompt'],
      [
        'generate --sampler-url http://127.0.0.1:8000/v1 --prompt "What is 7 × 8?"',
        'sample on a server, see docs/scale.md',
      ],
    ],
    load: () => import('../commands/generate.js'),
  }),
  command({
    words: ['play'],
    summary: 'ask one or two models questions interactively, and see the rewards of their answers',
    details:
      "A multiplication such as `7 x 8` or `7*8` is asked in the model's wording and graded; any other text is asked unchanged. The model of a run is asked as in that run; options given here come first, and --preset replaces the options of the run. Answers are greedy without --temperature. Arrow keys recall earlier lines, Ctrl-C stops an answer, Ctrl-D quits. Lines can also come from a pipe. With --json, a line of output is { input, completions: [{ model, prompt, text, finished, tokens, reward, exact, parsed, parts }] }.",
    options: [
      'model',
      'compare',
      'preset',
      'temperature',
      'maxNewTokens',
      'seed',
      'reward',
      'precision',
      ...engineOptions,
      'json',
    ],
    texts: {
      model: modelOrRun,
      temperature: { ...sampling, default: '0' },
    },
    examples: [
      ['play --model runs/mine --compare builtin', 'what training changed, answer by answer'],
      ['play --temperature 1 --seed 3', 'sample from the built-in model'],
      ['play --json <<< "7 x 8"', 'as JSON'],
    ],
    load: () => import('../commands/play.js'),
  }),
  command({
    words: ['score'],
    summary: 'compute the log-probs of the tokens of given completions',
    details:
      'A line of --input is {"prompt": …, "completion": …}, each text or token ids. The completion is tokenized separately from the prompt; "eos": true appends the end token. A line of output, in the same order, is { promptIds, completionIds, logProbs, sum }. The output is always JSON.',
    options: ['model', 'input', 'chat', 'promptStyle', 'temperature', 'precision', ...engineOptions, 'json'],
    texts: {
      model: modelOrRun,
      temperature: { help: 'divides the logits before the softmax; above 0', default: '1' },
    },
    examples: [
      ['score --model runs/mine --input answers.jsonl', 'one JSON line per input line'],
      ['score --model runs/mine --input - --temperature 0.7 < answers.jsonl', 'at the temperature of their sampling'],
    ],
    load: () => import('../commands/score.js'),
  }),
  command({
    words: ['merge'],
    summary: 'merge an adapter into its base model: a full model folder, in float32',
    operands: '<checkpoint>',
    options: ['out', 'json'],
    examples: [
      ['merge runs/lora --out merged', 'the trained adapter of a run as a full model'],
      ['merge adapter --out merged --json', "any LoRA adapter in PEFT's format"],
    ],
    load: async () => ({ run: (await import('../commands/export.js')).merge }),
  }),
  command({
    words: ['export'],
    summary: 'write a model for other programs: GGUF, ONNX, or a web page',
    details:
      "Exports the model of a run, a checkpoint, an adapter (merged into its base unless --to gguf-lora), a hub id, a GGUF file or a built-in model. --check compares greedy answers to 20 multiplications with those of the export in node-llama-cpp, in @huggingface/transformers, or in the page's code. With f32, a different token means exit code 1; with narrower formats, differences are printed. docs/export.md describes each format.",
    operands: '<checkpoint>',
    options: ['to', 'dtype', 'train', 'check', 'reference', 'out', ...engineOptions, 'json'],
    texts: {
      to: { default: 'gguf' },
      dtype: { default: 'f16 for gguf, f32 for gguf-lora and onnx, as stored for web' },
      reference: {
        group: 'Output',
        help: 'with --to web: the model that the page shows for comparison',
        default: 'the model before training',
      },
      out: { help: 'the folder', default: 'exports/NAME-FORM' },
    },
    examples: [
      ['export runs/mine --to gguf', 'the trained model of a run as one file, in float16'],
      ['export runs/mine --to onnx --dtype q8 --out site/model', 'for transformers.js, quantised to bytes'],
      [
        'export runs/mine --to web',
        'a folder for any static server: the model before and after training, side by side',
      ],
      ['export builtin --to web --train', 'a page that trains the built-in model, on WebGPU or WebAssembly'],
      ['export builtin --to onnx --check', 'the built-in model, with a check in transformers.js'],
    ],
    load: () => import('../commands/export.js'),
  }),
  command({
    words: ['push'],
    summary: 'upload a model to the Hugging Face hub, with a model card made from its run',
    details:
      'Uploads the model of a run, a checkpoint, an adapter or a built-in model. Creates the repository if necessary, and commits the model with a README.md: base model, verdict, accuracy before and after, command. Asks for confirmation unless --yes is given. Reads the token from HF_TOKEN or `hf auth login`, and the address of the hub from HF_ENDPOINT.',
    operands: '<checkpoint> <org/name>',
    options: ['private', 'yes', 'json'],
    examples: [
      ['push runs/mine me/multiplier', 'the trained model of a run; asks first'],
      ['push runs/mine me/multiplier --private --yes', 'without confirmation, for scripts'],
    ],
    load: () => import('../commands/push.js'),
  }),
];
