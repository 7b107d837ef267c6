/**
 * @file Runs the command line in a pseudo-terminal, which Python's standard library opens (Node has no such call). It types when
 * an expected text appears, and returns everything that was written. Tests are skipped by name without Python, as on Windows.
 */
import { cliPath } from './cli.js';
import { runPython, withoutPython } from './python.js';

export const withoutTerminal = withoutPython('pty', 'termios');

export interface Step {
  /** Text that must have been written since the last step. */
  readonly wait: string;
  /** Keys to press then. */
  readonly send: string;
}

const script = `
import fcntl, json, os, pty, select, struct, sys, termios, time
job = json.load(sys.stdin)
pid, fd = pty.fork()
if pid == 0:
    os.execvpe(job["argv"][0], job["argv"], {**os.environ, **job["env"]})
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", job["rows"], job["columns"], 0, 0))
seen, start, steps, end = b"", 0, job["steps"], time.time() + job["seconds"]
while time.time() < end:
    if select.select([fd], [], [], 0.1)[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    if steps and steps[0]["wait"].encode() in seen[start:]:
        start = len(seen)
        os.write(fd, steps.pop(0)["send"].encode())
else:
    os.kill(pid, 9)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps({"output": seen.decode("utf-8", "replace"), "code": code, "left": len(steps)}))
`;

export interface TerminalResult {
  /** Everything written, control sequences included. */
  readonly output: string;
  readonly code: number;
  /** Steps whose text never came. */
  readonly left: number;
}

export interface TerminalOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs `tinyzero` in a terminal of the given size; it is killed after a minute. */
export function inTerminal(
  args: readonly string[],
  steps: readonly Step[],
  { columns = 80, rows = 24, env = {} }: TerminalOptions = {},
): TerminalResult {
  const argv = [process.execPath, cliPath, ...args];
  const plain = { TERM: 'xterm-256color', CI: '', NO_COLOR: '', FORCE_COLOR: '' };
  return runPython(script, { argv, steps, columns, rows, env: { ...plain, ...env }, seconds: 60 }) as TerminalResult;
}
