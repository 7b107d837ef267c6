/** @file Explains how a run on Modal can fail. */
import { options } from '../../options/table.js';
import { shellWord } from '../../report/command.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { formatDuration } from './duration.js';
import { killedCode, makesRun, type RemoteCommand, timedOutCode } from './layout.js';
import type { Replay } from './replay.js';

interface EndedJob {
  readonly name: string;
  readonly command: RemoteCommand;
  readonly timeoutSeconds: number;
  readonly volume: string;
  /** Folder of the run here. */
  readonly output: string;
}

/** The error for exit code `code`; `said`: what the command said last. */
export function endedBy(code: number, job: EndedJob, said: Replay['error']): UserError {
  const { name, timeoutSeconds } = job;
  const onwards = resumeCommand(job);
  if (code === timedOutCode) {
    return new UserError({
      problem: `${name} was saved and stopped: it reached its time limit of ${formatDuration(timeoutSeconds)}.`,
      fix: `Resume it with \`${onwards}\`; --timeout sets the limit.`,
    });
  }
  if (code === exitCodes.interrupted) {
    return new UserError(
      { problem: `${name} is stopped and saved on the volume ${job.volume}.`, fix: `Resume it with \`${onwards}\`.` },
      { exitCode: exitCodes.interrupted },
    );
  }
  // A process is killed by the sandbox's end, or by the system when memory runs out.
  if (code === killedCode || said === undefined) {
    return new UserError({
      problem: `${name} was killed (exit code ${code}): its sandbox ended, or it ran out of memory.`,
      fix: `What it saved is on the volume. Read the end of \`tinyzero modal logs ${name}\`, and resume with \`${onwards}\`.`,
    });
  }
  return new UserError(`${name} ended on Modal: ${said.message}`, { exitCode: said.exitCode });
}

function resumeCommand({ output, command, volume }: Omit<EndedJob, 'timeoutSeconds'>): string {
  const where = volume === options.volume.default ? '' : ` --volume ${volume}`;
  return makesRun(command)
    ? `tinyzero ${command} --on modal --resume ${shellWord(output)}${where}`
    : 'the same command';
}
