/**
 * @file Which native engine this machine can run: a key into packages.ts, or the reason why there is none.
 */
import { Unavailable } from './fetch/unavailable.js';
import type { Variant, Wheel } from './packages.js';

/** The properties of a machine that decide. */
export interface Platform {
  readonly platform: string;
  readonly arch: string;
  /** Version of the GNU C library, `null` on Linux without it (Alpine's musl), undefined elsewhere. */
  readonly glibc?: string | null;
}

export function thisPlatform(): Platform {
  const { platform, arch } = process;
  return platform === 'linux' ? { platform, arch, glibc: glibcVersion() } : { platform, arch };
}

/** TensorFlow 2.21's wheels are tagged manylinux_2_27. */
const wheelGlibc = [2, 27] as const;
/** libtensorflow 2.9 was built on Ubuntu 16.04. */
const officialGlibc = [2, 23] as const;

/** TensorFlow's wheel for this machine. */
export function chooseWheel(wheels: Readonly<Record<string, Wheel>>, machine: Platform, variant: Variant): Wheel {
  const wheel = wheels[`${machine.platform}-${machine.arch}-${variant}`];
  if (wheel === undefined) {
    throw new Unavailable(
      'unsupported-platform',
      `TensorFlow has no ${variant === 'gpu' ? 'CUDA ' : ''}wheel for ${machine.platform} ${machine.arch}.`,
    );
  }
  requireGlibc(machine, wheelGlibc, "TensorFlow's wheel");
  return wheel;
}

/** Throws if this Linux has no glibc or one older than `needed`. */
function requireGlibc(machine: Platform, needed: readonly [number, number], what: string): void {
  if (machine.platform !== 'linux') return;
  if (machine.glibc === null || machine.glibc === undefined) {
    throw new Unavailable('unsupported-platform', `${what} needs the GNU C library, and this Linux uses another one.`);
  }
  const [major = 0, minor = 0] = machine.glibc.split('.').map(Number);
  if (major < needed[0] || (major === needed[0] && minor < needed[1])) {
    throw new Unavailable(
      'unsupported-platform',
      `${what} needs glibc ${needed.join('.')} or newer, and this system has ${machine.glibc}.`,
    );
  }
}

export function requireOfficialGlibc(machine: Platform): void {
  requireGlibc(machine, officialGlibc, 'libtensorflow');
}

/** From Node's report, which names the C library in use. */
function glibcVersion(): string | null {
  // Otherwise the report looks up host names, which may take seconds.
  const reporter: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report;
  const before = reporter.excludeNetwork;
  reporter.excludeNetwork = true;
  const report = reporter.getReport() as { header?: { glibcVersionRuntime?: string } };
  reporter.excludeNetwork = before;
  return report.header?.glibcVersionRuntime ?? null;
}
