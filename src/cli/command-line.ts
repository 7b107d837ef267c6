/**
 * @file Builds commander's program from the command table and the option table, and checks a command's arguments
 * before commander sees them, so that all problems are reported at once.
 */
import { parseArgs } from 'node:util';
import { Command, Option } from 'commander';
import { resolveOptions } from '../options/parse.js';
import {
  commonOptionNames,
  describeOption,
  flag,
  type OptionName,
  type OptionSpec,
  options,
  usage,
} from '../options/table.js';
import { exitCodes, UserError } from '../util/errors.js';
import { type CommandSpec, commands, groups } from './command-table.js';

/** The command that `args` begin with, if they ask to run it and not for its help. */
export function findCommand(args: readonly string[]): CommandSpec | undefined {
  if (asksForHelp(args)) return undefined;
  return commands.find(({ words }) => words.every((word, index) => args[index] === word));
}

/**
 * The command line in its usual form: options that every command takes may also come before the command, and
 * `help train` is `train --help`.
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

const firstExamples = [
  ['train', 'the built-in model learns to multiply, in about half a minute'],
  ['play --checkpoint runs/mine --compare builtin', 'what a run changed, answer by answer'],
] as const;
const closing = `
Examples:
${firstExamples.map(example).join('\n')}

\`tinyzero <command> --help\` shows the options and examples of a command.`;

/** @param done gets the exit code of the command that ran. */
export function buildProgram(version: string, args: readonly string[], done: (exitCode: number) => void): Command {
  const program = new Command('tinyzero')
    .description('Train a small language model to reason with A*PO reinforcement learning, and prove that it learned.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError('Run `tinyzero --help` for all commands.')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'tinyzero: ')) })
    .configureHelp({ helpWidth: Math.min(maxHelpWidth, process.stdout.columns ?? maxHelpWidth) });
  program.addHelpText('after', closing);
  const groupCommands = new Map<string, Command>();
  for (const spec of commands) {
    const [first = '', second] = spec.words;
    let parent = program;
    if (second !== undefined) {
      parent = groupCommands.get(first) ?? addGroup(program, first);
      groupCommands.set(first, parent);
    }
    addCommand(parent, second ?? first, spec, args, done);
  }
  return program;
}

function addGroup(program: Command, name: string): Command {
  const examples = commands.filter(({ words }) => words[0] === name).flatMap((spec) => spec.examples.slice(0, 1));
  return program
    .command(name)
    .description(groups[name] ?? '')
    .helpCommand(false)
    .addHelpText('after', `\nExamples:\n${examples.map(example).join('\n')}`);
}

function addCommand(
  parent: Command,
  name: string,
  spec: CommandSpec,
  args: readonly string[],
  done: (exitCode: number) => void,
): void {
  const command = parent.command(name).summary(spec.summary);
  command.description([capitalize(spec.summary), spec.details].filter(Boolean).join('.\n\n'));
  if (spec.operands !== undefined) command.argument(spec.operands);
  for (const name of spec.options) command.addOption(new Option(usage(name), describeOption(name)));
  for (const name of commonOptionNames) {
    command.addOption(new Option(usage(name), describeOption(name)).helpGroup('Options of every command:'));
  }
  command.addHelpText('after', `\nExamples:\n${spec.examples.map(example).join('\n')}`);
  command.action(async () => {
    const { values, operands, given } = checkArguments(spec, args.slice(spec.words.length), process.env);
    const { run } = await spec.load();
    done(await run(values as never, operands, given));
  });
}

function example([line, what]: readonly [string, string]): string {
  return `  $ tinyzero ${line}\n      ${what}`;
}

/**
 * The values of a command's options, its other arguments, and the options that had a flag.
 *
 * @throws UserError (wrong usage) that lists every problem of the command line.
 */
export function checkArguments(spec: CommandSpec, args: readonly string[], env: NodeJS.ProcessEnv) {
  const problems: string[] = [];
  const flags: Partial<Record<OptionName, string | boolean | string[]>> = {};
  const names = [...spec.options, ...commonOptionNames];
  const byFlag = new Map(names.map((name) => [flag(name).slice(2), name]));
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      [...byFlag].map(([long, name]) => [long, { type: options[name].type === 'boolean' ? 'boolean' : 'string' }]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const operands: string[] = [];
  let unknown = false;
  /** The list whose flag stands before: it takes all words up to the next flag, or up to `--`. */
  let list: string[] | undefined;
  for (const token of tokens) {
    if (token.kind !== 'positional') list = undefined;
    if (token.kind === 'option') {
      const name = byFlag.get(token.name);
      if (name === undefined) {
        unknown = true;
        problems.push(`${token.rawName}: there is no such option${suggest(token.rawName, names.map(flag))}`);
      } else if ((options[name] as OptionSpec).type === 'boolean') {
        if (token.value !== undefined) problems.push(`${token.rawName}: takes no value, found '${token.value}'`);
        flags[name] = true;
      } else if (token.value === undefined) problems.push(`${token.rawName}: needs a value, ${usage(name)}`);
      else if ((options[name] as OptionSpec).type === 'list') {
        list = (flags[name] as string[] | undefined) ?? [];
        list.push(token.value);
        flags[name] = list;
      } else flags[name] = token.value;
    } else if (token.kind === 'positional' && list !== undefined) {
      list.push(token.value);
    } else if (token.kind === 'positional' && spec.operands !== undefined) {
      operands.push(token.value);
    } else if (token.kind === 'positional' && !unknown) {
      // After an unknown option a word may be its value, which says nothing new.
      problems.push(`'${token.value}': '${spec.words.join(' ')}' takes no arguments`);
    }
  }
  const values = resolveOptions(names, flags, env, problems);
  if (problems.length > 0) {
    const list =
      problems.length === 1
        ? problems[0]
        : `these arguments are wrong:\n${problems.map((problem) => `  ${problem}`).join('\n')}`;
    const help = `Run \`tinyzero ${spec.words.join(' ')} --help\` for all options.`;
    throw new UserError(`${list}\n${help}`, { exitCode: exitCodes.usage });
  }
  return { values, operands, given: new Set(Object.keys(flags) as OptionName[]) };
}

/** `; did you mean --engine?` when a known flag is near, else nothing. */
function suggest(wrong: string, known: readonly string[]): string {
  const ranked = known
    .map((name) => ({ name, distance: editDistance(wrong, name) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  // Up to a third of the letters wrong is a slip, more is another word.
  return best !== undefined && best.distance <= Math.max(2, wrong.length / 3) ? `; did you mean ${best.name}?` : '';
}

/** Levenshtein distance. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitute = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
