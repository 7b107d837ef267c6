/**
 * @file `tinyzero completion`: prints the completion script of bash, zsh or fish. The scripts hold all words, from the
 * command table and the option table, so that completing starts no program.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables of shells
import { usageError } from '../../../model/open.js';
import { everyCommandOptionNames } from '../../../options/names.js';
import { alternatives, type OptionSpec } from '../../../options/spec.js';
import { flag, type OptionName, type OptionValues, options } from '../../../options/table.js';
import { describeOption } from '../../../options/texts.js';
import { exitCodes } from '../../../util/errors.js';
import type { CommandSpec } from '../../command-spec.js';
import { printEvent } from '../../terminal/output.js';

export async function printCompletion(
  table: CommandTable,
  { json }: OptionValues<'json'>,
  [given = '']: readonly string[],
): Promise<number> {
  const shell = shells.find((name) => name === given);
  if (shell === undefined) throw usageError(`completion: expected ${alternatives(shells)}, found '${given}'.`);
  const script = completionScript(shell, table);
  if (json) printEvent({ event: 'result', shell, script });
  else process.stdout.write(script);
  return exitCodes.ok;
}

export function completionScript(shell: (typeof shells)[number], table: CommandTable): string {
  const words = completionWords(table);
  return { bash, zsh, fish }[shell](words);
}

const note = (shell: string) => `Completion of tinyzero in ${shell}, written by \`tinyzero completion ${shell}\`.`;

/** In single quotes, for any of the three shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Names of groups, and of commands, as alternatives of a `case` on `"$command $word"`. */
function steps({ first, second }: CompletionWords): string[] {
  return [
    ...first.map(([word]) => ` ${word}`),
    ...[...second].flatMap(([group, subs]) => subs.map(([sub]) => `${group} ${sub}`)),
  ];
}

/** The words that can follow an incomplete command, which is empty or a group. */
function starts({ first, second }: CompletionWords) {
  return [['', first] as const, ...second];
}

/** Every name that words can follow. Each appears once, since `runs` is both a group and a command. */
function places(words: CompletionWords) {
  const subs = new Map(starts(words));
  const commands = new Map(words.commands.map((command) => [command.name, command]));
  return [...new Set([...subs.keys(), ...commands.keys()])].map((name) => ({
    ...{ name, subs: subs.get(name) ?? [], command: commands.get(name) },
  }));
}

function bash(words: CompletionWords): string {
  const values = (command: CommandWords, { flag, values }: FlagWords) => {
    const pattern = quoted(`${command.name} ${flag}`);
    if (values.kind === 'none') return [];
    if (values.kind === 'text') return [`    ${pattern}) return ;;`];
    if (values.kind === 'choices')
      return [`    ${pattern}) _tinyzero_words ${quoted(values.choices.join(' '))}; return ;;`];
    return [`    ${pattern}) _tinyzero_words ${quoted(values.also.join(' '))}; _tinyzero_files; return ;;`];
  };
  const given = (choices: readonly string[]) => `_tinyzero_words ${quoted(choices.join(' '))}`;
  const following = ({ name, subs, command }: ReturnType<typeof places>[number]) => {
    const operands = command?.operands;
    const parts = [
      ...(subs.length > 0 ? [`[[ $command && ! $next ]] || ${given(subs.map(([word]) => word))}`] : []),
      ...(operands?.kind === 'choices' ? [given(operands.choices)] : []),
      ...(operands?.kind === 'files' ? ['_tinyzero_files'] : []),
    ];
    return parts.length === 0 ? [] : [`    ${quoted(name)}) ${parts.join('; ')} ;;`];
  };
  const lines = [
    `# ${note('bash')}`,
    '_tinyzero_words() {',
    '  COMPREPLY+=($(compgen -W "$1" -- "$cur"))',
    '}',
    '_tinyzero_files() {',
    "  local IFS=$'\\n'",
    '  compopt -o filenames 2>/dev/null',
    '  COMPREPLY+=($(compgen -f -- "$cur"))',
    '}',
    '_tinyzero() {',
    '  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= next=1 word i',
    '  COMPREPLY=()',
    '  for ((i = 1; i < COMP_CWORD; i++)); do',
    '    word=${COMP_WORDS[i]}',
    '    if [[ ! $command || $next ]]; then',
    '      case "$command $word" in',
    `      ${steps(words).map(quoted).join('|')}) command="\${command:+$command }$word" next=1; continue ;;`,
    '      esac',
    '    fi',
    '    next=',
    '  done',
    '  case "$command $prev" in',
    ...words.commands.flatMap((command) => command.flags.flatMap((flag) => values(command, flag))),
    '  esac',
    '  if [[ $cur == -* ]]; then',
    '    case "$command" in',
    ...words.commands.map(
      ({ name, flags }) => `    ${quoted(name)}) _tinyzero_words ${quoted(flags.map(({ flag }) => flag).join(' '))} ;;`,
    ),
    "    '') _tinyzero_words '--help --version' ;;",
    '    esac',
    '    return',
    '  fi',
    '  case "$command" in',
    ...places(words).flatMap(following),
    '  esac',
    '}',
    'complete -F _tinyzero tinyzero',
  ];
  return `${lines.join('\n')}\n`;
}

function zsh(words: CompletionWords): string {
  // In a specification of _arguments, brackets and colons have a meaning.
  const plain = (text: string) => text.replace(/[[\]:\\]/g, (char) => `\\${char}`);
  const action = (values: FlagWords['values']) => {
    if (values.kind === 'choices') return `(${values.choices.join(' ')})`;
    if (values.kind !== 'files') return ' ';
    return values.also.length === 0
      ? '_files'
      : `_alternative 'words:name:(${values.also.join(' ')})' 'files:file:_files'`;
  };
  const spec = ({ flag, help, values }: FlagWords) =>
    quoted(`*${flag}[${plain(help)}]${values.kind === 'none' ? '' : `:value:${action(values).replaceAll("'", '"')}`}`);
  const operand = (values: FlagWords['values']) =>
    values.kind === 'none' ? [] : [quoted(`*:argument:${action(values)}`)];
  const argumentsOf = ({ flags, operands }: CommandWords) =>
    `shift $((at - 1)) words; ((CURRENT -= at - 1)); _arguments ${[...flags.map(spec), ...operand(operands)].join(' ')}`;
  const described = (subs: readonly (readonly [string, string])[]) =>
    subs.map(([word, summary]) => quoted(`${word}:${plain(summary)}`)).join(' ');
  const lines = [
    '#compdef tinyzero',
    `# ${note('zsh')}`,
    '_tinyzero() {',
    '  local command= next=1 word',
    '  local -a subs',
    '  integer i at=1',
    '  for ((i = 2; i < CURRENT; i++)); do',
    '    word=${words[i]}',
    '    if [[ -z $command || -n $next ]]; then',
    '      case "$command $word" in',
    `      ${steps(words).map(quoted).join('|')}) command="\${command:+$command }$word" next=1 at=$i; continue ;;`,
    '      esac',
    '    fi',
    '    next=',
    '  done',
    '  case "$command" in',
    ...places(words).map(({ name, subs, command }) => {
      const parts = [
        ...(subs.length > 0
          ? [`subs=(${described(subs)}); [[ $PREFIX == -* || ( -n $command && -z $next ) ]] || _describe command subs`]
          : []),
        ...(command ? [argumentsOf(command)] : []),
      ];
      return `  ${quoted(name)}) ${parts.join('; ')} ;;`;
    }),
    '  esac',
    '}',
    // Loaded from a folder of $fpath the file is the function; read by `source` it is not.
    'if [[ $funcstack[1] == _tinyzero ]]; then _tinyzero "$@"; else compdef _tinyzero tinyzero; fi',
  ];
  return `${lines.join('\n')}\n`;
}

function fish(words: CompletionWords): string {
  const text = (value: string) => `'${value.replace(/[\\']/g, (char) => `\\${char}`)}'`;
  const at = (name: string) => `-n ${text(`__tinyzero_at "${name}"`)}`;
  const rightAfter = (name: string) => `-n ${text(`__tinyzero_at "${name}" next`)}`;
  const flagLine =
    (name: string) =>
    ({ flag, help, values }: FlagWords) => {
      const given = {
        none: '',
        text: ' -x',
        files: ` -r -F${values.kind === 'files' && values.also.length > 0 ? ` -a ${text(values.also.join(' '))}` : ''}`,
        choices: ` -x -a ${text(values.kind === 'choices' ? values.choices.join(' ') : '')}`,
      }[values.kind];
      return `complete -c tinyzero ${at(name)} -l ${flag.slice(2)}${given} -d ${text(help)}`;
    };
  const operandLine = ({ name, operands }: CommandWords) =>
    operands.kind === 'choices'
      ? [`complete -c tinyzero ${at(name)} -a ${text(operands.choices.join(' '))}`]
      : operands.kind === 'files'
        ? [`complete -c tinyzero ${at(name)} -F`]
        : [];
  const lines = [
    `# ${note('fish')}`,
    'function __tinyzero_at',
    '  set -l command ""',
    '  set -l next next',
    '  for word in (commandline -opc)[2..-1]',
    '    if test -z "$command" -o -n "$next"',
    '      switch "$command $word"',
    `        case ${steps(words).map(text).join(' ')}`,
    '          set command (string trim -- "$command $word")',
    '          set next next',
    '          continue',
    '      end',
    '    end',
    '    set next ""',
    '  end',
    '  test "$command" = "$argv[1]"; and test -z "$argv[2]" -o -z "$command" -o -n "$next"',
    'end',
    'complete -c tinyzero -f',
    ...starts(words).flatMap(([group, subs]) =>
      subs.map(([word, summary]) => `complete -c tinyzero ${rightAfter(group)} -a ${text(word)} -d ${text(summary)}`),
    ),
    ...words.commands.flatMap((command) => [...command.flags.map(flagLine(command.name)), ...operandLine(command)]),
  ];
  return `${lines.join('\n')}\n`;
}

/** What may follow a flag, or stand as an argument. */
type Values =
  | { readonly kind: 'none' }
  | { readonly kind: 'text' }
  | { readonly kind: 'files'; readonly also: readonly string[] }
  | { readonly kind: 'choices'; readonly choices: readonly string[] };

interface FlagWords {
  readonly flag: string;
  /** One line. */
  readonly help: string;
  readonly values: Values;
}

interface CommandWords {
  /** `engine install` */
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly FlagWords[];
  readonly operands: Values;
}

interface CompletionWords {
  /** The first words, with their summaries. */
  readonly first: readonly (readonly [word: string, summary: string])[];
  /** The second words of the groups. */
  readonly second: ReadonlyMap<string, readonly (readonly [word: string, summary: string])[]>;
  readonly commands: readonly CommandWords[];
}

export const shells = ['bash', 'zsh', 'fish'] as const;

const shippedModels = ['builtin', 'builtin-b'];

/** All commands, and the summaries of their groups. */
export interface CommandTable {
  readonly commands: readonly CommandSpec[];
  readonly groups: Readonly<Record<string, string>>;
}

function completionWords({ commands, groups }: CommandTable): CompletionWords {
  const first = new Map<string, string>();
  const second = new Map<string, (readonly [string, string])[]>();
  for (const { words, summary } of commands) {
    const [word = '', sub] = words;
    first.set(word, sub === undefined ? summary : (groups[word] ?? ''));
    if (sub !== undefined) second.set(word, [...(second.get(word) ?? []), [sub, summary]]);
  }
  return { first: [...first], second, commands: commands.map(commandWords) };
}

function commandWords({ words, summary, options: own, texts, operands }: CommandSpec): CommandWords {
  const name = words.join(' ');
  const flags = [...own, ...everyCommandOptionNames].map((option): FlagWords => {
    const help = describeOption(option, texts?.[option]).replace(/\s+/g, ' ');
    return { flag: flag(option), help, values: valuesOf(option) };
  });
  return {
    name,
    summary,
    flags: [...flags, { flag: '--help', help: 'show help', values: { kind: 'none' } }],
    operands: operandValues(operands),
  };
}

function valuesOf(option: OptionName): Values {
  const spec: OptionSpec = options[option];
  if (spec.type === 'boolean') return { kind: 'none' };
  if (spec.type === 'choice') return { kind: 'choices', choices: spec.choices };
  if (spec.type !== 'string' && spec.type !== 'list') return { kind: 'text' };
  if (!/file|folder|path/.test(spec.placeholder)) return { kind: 'text' };
  return { kind: 'files', also: ['model', 'reference', 'compare'].includes(option) ? shippedModels : [] };
}

function operandValues(operands: string | undefined): Values {
  if (operands === undefined) return { kind: 'none' };
  if (operands === '<shell>') return { kind: 'choices', choices: shells };
  return operands === '<org/name>' ? { kind: 'text' } : { kind: 'files', also: [] };
}
