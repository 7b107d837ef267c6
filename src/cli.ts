#!/usr/bin/env node
/**
 * @file The command line: finds the command, checks its arguments, runs it, and turns errors into exit codes. It loads
 * no code of any command before that command runs, so `--help` is quick.
 */
import { CommanderError } from 'commander';
import { buildProgram, checkArguments, findCommand, normalize } from './cli/command-line.js';
import { exitCodes, systemErrorCode, UserError } from './util/errors.js';
import { packageVersion } from './util/version.js';

/** Runs one command line (without node and script) and returns its exit code. */
export async function main(given: readonly string[]): Promise<number> {
  if (given.includes('--no-color')) {
    // What every program goes by, those that we start too.
    process.env.NO_COLOR = '1';
    delete process.env.FORCE_COLOR;
  }
  try {
    const args = normalize(given);
    // Commander stops at the first wrong argument; this names all of them.
    const command = findCommand(args);
    if (command !== undefined) checkArguments(command, args.slice(command.words.length), process.env);
    let exitCode: number = exitCodes.ok;
    const program = buildProgram(packageVersion(), args, (code) => {
      exitCode = code;
    });
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    const [{ paintFor }, { fitted }] = await Promise.all([
      import('./cli/terminal/paint.js'),
      import('./cli/terminal/columns.js'),
    ]);
    const name = paintFor(process.stderr).bad('tinyzero:');
    if (error instanceof UserError) {
      process.stderr.write(`${fitted(`${name} ${error.message}`, process.stderr)}\n`);
      return error.exitCode;
    }
    process.stderr.write(`${name} this is a bug in tinyzero.\n${error instanceof Error ? error.stack : error}\n`);
    return exitCodes.failure;
  }
}

// Whoever read our output has had enough (`| head`): there is nobody left to tell.
process.stdout.on('error', (error) => {
  if (systemErrorCode(error) === 'EPIPE') process.exit(exitCodes.ok);
  throw error;
});

// Messages have nowhere to go once the terminal is closed; the work still has to be saved.
process.stderr.on('error', () => {});

// Not process.exit(): output that is still on its way to a pipe must arrive.
process.exitCode = await main(process.argv.slice(2));
