/**
 * @file Reads a command line: finds the command and checks its arguments, reporting all problems at once. Writes the help
 * texts with commander, from the command table and the option table.
 */
import { parseArgs } from 'node:util';
import { Command, Help, Option } from 'commander';
import { closestMatch } from 'leven';
import type { ConfigFlags } from '../options/config-file.js';
import { commonOptionNames, everyCommandOptionNames } from '../options/names.js';
import { type OptionSpec, resolveOptions } from '../options/spec.js';
import {
  flag,
  type OptionName,
  type OptionValues,
  oppositeFlag,
  optionNames,
  options,
  usage,
} from '../options/table.js';
import { describeOption, type OptionGroup, optionGroups } from '../options/texts.js';
import { exitCodes, exitCodeTable, UserError } from '../util/errors.js';
import { keysOf } from '../util/keys.js';
import type { CommandSpec } from './command-spec.js';
import { asInvoked, programName } from './program-name.js';
import { commands, groups } from './tables/commands.js';
import { columnsOf } from './terminal/paint.js';

/** The command at the start of `args`, unless they ask for its help. */
export function findCommand(args: readonly string[]): CommandSpec | undefined {
  if (asksForHelp(args)) return undefined;
  const named = commands.filter(({ words }) => words.every((word, index) => args[index] === word));
  // `runs rm` is a command of its own, and not `runs` of a folder.
  return named.sort((a, b) => b.words.length - a.words.length)[0];
}

/**
 * Normalises the command line: common options may precede the command, and `help train` means `train --help`.
 */
export function normalize(args: readonly string[]): readonly string[] {
  const common: readonly string[] = commonOptionNames.map(flag);
  const first = args.findIndex((arg) => !common.includes(arg));
  if (first === -1) return args;
  const [word, ...rest] = args.slice(first);
  const before = args.slice(0, first);
  return word === 'help' ? [...rest, ...before, '--help'] : [word!, ...rest, ...before];
}

function asksForHelp(args: readonly string[]): boolean {
  return args.includes('--help') || args.includes('-h');
}

/** Longer lines are hard to read. */
const maxHelpWidth = 120;
/** Longest option or command whose description starts on the same line. Longer ones have it on the lines below. */
const maxTermWidth = 26;
/** Narrower descriptions are hard to read next to their terms. All of them then move to the lines below. */
const minDescriptionWidth = 40;

const helpWidth = () => Math.min(maxHelpWidth, process.stdout.isTTY ? columnsOf(process.stdout) : maxHelpWidth);

/** An option or command with its description. Replaces commander's function, which does not wrap narrow descriptions. */
function formatItem(term: string, longestTerm: number, description: string): string {
  const beside = Math.min(maxTermWidth, longestTerm) + 4;
  const isWide = helpWidth() - beside >= minDescriptionWidth;
  const indent = isWide ? beside : 6;
  const text = indented(description, indent);
  return isWide && term.length + 4 <= beside ? `  ${term.padEnd(beside - 2)}${text.trimStart()}` : `  ${term}\n${text}`;
}

/** `text` wrapped between words, every line indented by `indent` spaces. */
function indented(text: string, indent: number): string {
  return Object.assign(new Help(), { minWidthToWrap: 1 })
    .boxWrap(text, helpWidth() - indent)
    .replaceAll(/^/gm, ' '.repeat(indent));
}

const firstExamples = [
  ['train', 'the built-in model learns to multiply, in about ten seconds'],
  ['play --model runs/mine --compare builtin', 'what training changed, answer by answer'],
] as const;

/** Commander's program, for help, `--version` and misspelt commands. Commands run without it. */
export function helpProgram(version: string): Command {
  const invocation = programName();
  const program = new Command('tinyzero')
    .description('Train a small language model to reason with A*PO reinforcement learning, and prove that it learned.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError(`Run \`${invocation} --help\` for all commands.`)
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'tinyzero: ')) })
    .configureHelp({
      helpWidth: helpWidth(),
      minWidthToWrap: 1,
      formatItem,
      subcommandTerm: (command) => command.name(),
    });
  const codes = exitCodeTable.map(([code, text]) => `  ${String(code).padEnd(5)}${indented(text, 7).trimStart()}`);
  program.addHelpText('after', `\nExit codes:\n${codes.join('\n')}`);
  program.addHelpText(
    'after',
    `\nExamples:\n${firstExamples.map(example).join('\n')}\n\n` +
      indented(`\`${invocation} train --help\` shows the options and examples of a command.`, 0),
  );
  const parents = new Map<string, Command>();
  for (const spec of commands) {
    const [first = '', second] = spec.words;
    let parent = program;
    if (second !== undefined) {
      parent = parents.get(first) ?? addGroup(program, first);
      parents.set(first, parent);
    }
    parents.set(spec.words.join(' '), addCommand(parent, second ?? first, spec));
  }
  return program;
}

function addGroup(program: Command, name: string): Command {
  const examples = commands.filter(({ words }) => words[0] === name).flatMap((spec) => spec.examples.slice(0, 1));
  return program
    .command(name)
    .summary(groups[name] ?? '')
    .description(`${capitalize(groups[name] ?? '')}.`)
    .helpCommand(false)
    .addHelpText('after', `\nExamples:\n${examples.map(example).join('\n')}`);
}

/** With at least this many options, help groups them under headings. */
const minGrouped = 8;

function addCommand(parent: Command, name: string, spec: CommandSpec): Command {
  const command = parent.command(name).helpCommand(false).summary(asInvoked(spec.summary));
  const details = spec.details === undefined ? '' : `\n\n${spec.details}`;
  command.description(asInvoked(`${capitalize(spec.summary)}.${details}`));
  for (const operand of spec.operands?.split(' ') ?? []) command.argument(operand);
  const grouped = spec.options.length >= minGrouped;
  for (const [group, members] of helpGroups(spec)) {
    for (const option of members) {
      const entry = new Option(
        usage(option, spec.texts?.[option]?.value),
        describeOption(option, spec.texts?.[option]),
      );
      command.addOption(grouped ? entry.helpGroup(`${group}:`) : entry);
    }
  }
  for (const option of everyCommandOptionNames) {
    command.addOption(new Option(usage(option), describeOption(option)).helpGroup('Every command:'));
  }
  command.addHelpOption(new Option('-h, --help', 'show help').helpGroup('Every command:'));
  return command.addHelpText('after', `\nExamples:\n${spec.examples.map(example).join('\n')}`);
}

/** The options of a command under their headings, in the order of {@link optionGroups}. */
function helpGroups(spec: CommandSpec): (readonly [OptionGroup, readonly OptionName[]])[] {
  const heading = (option: OptionName) =>
    spec.texts?.[option]?.group ?? order.find((group) => members(group).includes(option))!;
  const members = (group: OptionGroup): readonly OptionName[] => optionGroups[group];
  const order = keysOf(optionGroups);
  const listed = order.flatMap(members).filter((option) => spec.options.includes(option));
  return order.map((group) => [group, listed.filter((option) => heading(option) === group)] as const);
}

function example([line, what]: readonly [string, string]): string {
  return `  $ ${programName()} ${line}\n${indented(asInvoked(what), 6)}`;
}

/** A parsed and validated command line. */
export interface ParsedArguments {
  readonly values: OptionValues;
  /** Arguments that do not belong to an option. */
  readonly operands: readonly string[];
  /** Options given by a flag or in a file. */
  readonly given: ReadonlySet<OptionName>;
}

/** Reads the file of `--config`. `command`: the words of the command, for errors. */
export type ConfigReader = (path: string, names: readonly OptionName[], command: string) => ConfigFlags;

/** Whether these arguments name a file of options. Its reader is loaded only if they do. */
export function namesConfig(args: readonly string[]): boolean {
  return args.some((arg) => /^--config(=|$)/.test(arg));
}

/**
 * Parses the arguments after the command.
 *
 * @param readConfig absent: a file of options is not read.
 * @throws UserError (wrong usage) that lists every problem.
 */
export function parseArguments(
  spec: CommandSpec,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  readConfig?: ConfigReader,
): ParsedArguments {
  const problems: string[] = [];
  const names = [...spec.options, ...everyCommandOptionNames];
  const { flags, operands } = readTokens(spec, names, args, problems);
  const { config, ...given } = flags;
  const file =
    typeof config === 'string'
      ? readConfig?.(config, [...spec.options, ...commonOptionNames], `\`tinyzero ${spec.words.join(' ')}\``)
      : undefined;
  const { config: _, ...values } = resolveOptions(names, given, env, problems, file);
  if (problems.length > 0) {
    const list =
      problems.length === 1
        ? problems[0]
        : `invalid arguments:\n${problems.map((problem) => `  ${problem}`).join('\n')}`;
    const help = `Run \`tinyzero ${spec.words.join(' ')} --help\` for all options.`;
    throw new UserError(`${list}\n${help}`, { exitCode: exitCodes.usage });
  }
  const named = new Set<OptionName>(keysOf({ ...file?.flags, ...given }));
  // The options file of a run contains its seed. --seeds repeats the run with other seeds.
  if ('seeds' in given && !('seed' in given)) named.delete('seed');
  return { values: values as OptionValues, operands, given: named };
}

function readTokens(spec: CommandSpec, names: readonly OptionName[], args: readonly string[], problems: string[]) {
  const flags: Partial<Record<OptionName, string | boolean | string[]>> = {};
  const operands: string[] = [];
  const byFlag = new Map(names.map((name) => [flag(name).slice(2), name]));
  const opposites = new Map(
    names.filter((name) => options[name].type === 'boolean').map((name) => [oppositeFlag(name).slice(2), name]),
  );
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      [...opposites, ...byFlag].map(([long, name]) => [
        long,
        { type: options[name].type === 'boolean' ? 'boolean' : 'string' },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  let unknown = false;
  const noValue = (value: string | undefined, rawName: string) => {
    if (value !== undefined) problems.push(`${rawName}: takes no value, found '${value}'`);
  };
  /** The list option that takes all words up to the next flag or `--`. */
  let list: string[] | undefined;
  for (const token of tokens) {
    if (token.kind !== 'positional') list = undefined;
    if (token.kind === 'option') {
      const name = byFlag.get(token.name);
      const opposite = opposites.get(token.name);
      const found: OptionSpec | undefined = name && options[name];
      const type = found?.type;
      if (name === undefined && opposite !== undefined) {
        noValue(token.value, token.rawName);
        flags[opposite] = false;
      } else if (name === undefined) {
        unknown = true;
        const ofOthers = optionNames.find((each) => flag(each) === token.rawName);
        const instead = ofOthers && spec.instead?.(ofOthers);
        problems.push(`${token.rawName}: ${instead ?? `unknown option${suggestion(token.rawName, names)}`}`);
      } else if (type === 'boolean') {
        noValue(token.value, token.rawName);
        flags[name] = true;
      } else if (token.value === undefined) problems.push(`${token.rawName}: needs a value, ${usage(name)}`);
      else if (type === 'list') {
        const before = flags[name];
        list = Array.isArray(before) ? before : [];
        list.push(token.value);
        flags[name] = list;
      } else flags[name] = token.value;
    } else if (token.kind === 'positional' && list !== undefined) list.push(token.value);
    else if (token.kind === 'positional') operands.push(token.value);
  }
  // A word after an unknown option may be its value; do not report it as well.
  if (!unknown) problems.push(...operandProblems(spec, operands));
  return { flags, operands };
}

/** `<folder>` is one word, `[folder]` at most one, `<files...>` one or more, `<run> [folder]` one or two, `<run> <name>` two. */
function operandProblems({ words, operands }: CommandSpec, found: readonly string[]): string[] {
  const command = `'${words.join(' ')}'`;
  const names = operands?.split(' ') ?? [];
  const most = operands?.includes('...') ? Number.POSITIVE_INFINITY : names.length;
  const least = names.filter((name) => name.startsWith('<')).length;
  const missing = found.length < least ? [`${command} needs ${operands}`] : [];
  const takes = ['no arguments', `one argument, ${operands}`][names.length] ?? `at most ${names.length}, ${operands}`;
  return [...missing, ...found.slice(most).map((word) => `'${word}': ${command} takes ${takes}`)];
}

/** `; did you mean --engine?`, or nothing. */
function suggestion(wrong: string, names: readonly OptionName[]): string {
  const meant = flagMeantBy(wrong, names);
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Other programs' names for our flags, without the dashes. */
const otherNames: Readonly<Partial<Record<OptionName, readonly string[]>>> = {
  model: ['m', 'checkpoint', 'model-name', 'model-path'],
  reference: ['ref', 'ref-model', 'reference-model'],
  precision: ['dtype', 'bf16'],
  prompt: ['p', 'text'],
  input: ['i', 'file', 'input-file'],
  temperature: ['t', 'temp'],
  maxNewTokens: ['max-tokens', 'max-length', 'max-completion-length'],
  samples: ['n', 'num-completions', 'eval-samples'],
  numTrain: ['train-size'],
  numTest: ['test-size'],
  seed: ['s', 'random-seed'],
  numSamples: ['num-generations', 'n-samples'],
  algo: ['algorithm', 'method'],
  epochs: ['e', 'num-epochs', 'num-train-epochs'],
  batchSize: ['b', 'batch', 'train-batch-size'],
  lr: ['l', 'learning-rate'],
  out: ['o', 'output', 'output-dir', 'output-folder'],
  resume: ['r', 'resume-from-checkpoint', 'continue'],
  saveEvery: ['save-steps'],
};

/** @param wrong `--learning-rate` or `-o`. @param names options of the command. */
function flagMeantBy(wrong: string, names: readonly OptionName[]): string | undefined {
  const word = wrong.replace(/^-+/, '');
  const named = names.find((name) => flag(name) === wrong || otherNames[name]?.includes(word));
  if (named !== undefined) return flag(named);
  // With more than a third of the letters wrong, it is a different word.
  const maxDistance = Math.max(2, Math.floor(wrong.length / 3));
  if (word.length === 1) return undefined;
  const words = names.flatMap((name) => [flag(name), ...(otherNames[name] ?? []).map((other) => `--${other}`)]);
  const closest = closestMatch(wrong, words, { maxDistance });
  return closest && flagMeantBy(closest, names);
}
