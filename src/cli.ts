#!/usr/bin/env node
/**
 * @file The entry point of the command line: finds the command, reads its arguments, runs it, and turns errors into exit
 * codes. A command's code is loaded only when it runs, so that `--help` is quick.
 */
import { CommanderError } from 'commander';
import { findCommand, helpProgram, namesConfig, normalize, parseArguments } from './cli/command-line.js';
import { asInvoked } from './cli/program-name.js';
import { exitCodes, systemErrorCode, UserError } from './util/errors.js';
import { packageVersion } from './util/machine.js';

/** Runs one command line (without node and script) and returns its exit code. */
export async function main(given: readonly string[]): Promise<number> {
  if (given.includes('--no-color')) {
    // Child processes read this too.
    process.env.NO_COLOR = '1';
    delete process.env.FORCE_COLOR;
  }
  try {
    const args = normalize(given);
    const command = findCommand(args);
    if (command === undefined) {
      // Commander knows no --json.
      helpProgram(packageVersion()).parse(
        args.filter((arg) => arg !== '--json'),
        { from: 'user' },
      );
      return exitCodes.ok;
    }
    const rest = args.slice(command.words.length);
    const readConfig = namesConfig(rest) ? (await import('./options/config-file.js')).readConfig : undefined;
    const { values, operands, given: flags } = parseArguments(command, rest, process.env, readConfig);
    // The engine reads it where it opens its devices, and child processes do too.
    if (values.gpuMemory !== undefined) process.env.TINYZERO_GPU_MEMORY = `${values.gpuMemory}`;
    const { run } = await command.load();
    return await run(values as never, operands, flags);
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
    const exitCode = exitCodeOf(error);
    if (given.includes('--json')) {
      const { printEvent } = await import('./cli/terminal/output.js');
      printEvent({ event: 'error', exitCode, message: messageOf(error) });
    }
    if (error instanceof CommanderError) return exitCode;
    const [{ paintFor }, { fitted }] = await Promise.all([
      import('./cli/terminal/paint.js'),
      import('./cli/terminal/columns.js'),
    ]);
    const name = paintFor(process.stderr).bad('tinyzero:');
    if (error instanceof UserError) {
      process.stderr.write(`${fitted(`${name} ${asInvoked(error.message)}`, process.stderr)}\n`);
      return exitCode;
    }
    process.stderr.write(`${name} this is a bug in tinyzero.\n${error instanceof Error ? error.stack : error}\n`);
    return exitCode;
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return exitCodes.usage;
  return error instanceof UserError ? error.exitCode : exitCodes.failure;
}

/** What went wrong, for scripts. Commander has printed its errors for people, or the help where a command is missing. */
function messageOf(error: unknown): string {
  if (!(error instanceof CommanderError)) return error instanceof Error ? asInvoked(error.message) : String(error);
  return error.code === 'commander.help'
    ? 'No command given; --help lists all commands.'
    : error.message.replace(/^error: /, '');
}

// A closed pipe (`| head`) is not an error.
process.stdout.on('error', (error) => {
  if (systemErrorCode(error) === 'EPIPE') process.exit(exitCodes.ok);
  process.stderr.write(`tinyzero: cannot write to standard output: ${error.message}.\n`);
  process.exit(exitCodes.failure);
});

// Ignore a closed terminal: the work must still be saved.
process.stderr.on('error', () => {});

// Not process.exit(), which would drop output that is still being written to a pipe.
process.exitCode = await main(process.argv.slice(2));
