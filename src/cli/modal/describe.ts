/** @file Describes the plan of a run on Modal and its cost, as text and for `--json`. */
import { modalGpus } from '../../options/remote.js';
import { shellWord } from '../../report/command.js';
import { formatBytes } from '../../util/format.js';
import { formatDuration } from './duration.js';
import { imagePlan } from './image.js';
import type { RemoteJob } from './job.js';
import { savingSeconds } from './layout.js';

/** The plan as data: what `--dry-run --json` prints. */
export function planOf(job: RemoteJob) {
  const { command, name, args, target, gpu, timeoutSeconds, volume, output, mostDollars, inputs, resumed } = job;
  return {
    where: 'modal',
    run: name,
    command: ['tinyzero', ...args, ...(target === undefined ? [] : [target.flag, target.path])],
    kind: command,
    gpu: { name: gpu, ...modalGpus[gpu] },
    timeoutSeconds,
    mostDollars,
    volume,
    image: imagePlan,
    sends: [...inputs, ...(resumed === undefined ? [] : [resumed])].map(({ path, bytes }) => ({ path, bytes })),
    resultsIn: output,
  };
}

const dollars = (amount: number) => `$${amount.toFixed(2)}`;

/** `A100 40 GB for at most 8 h: $2.10 an hour, at most $16.80, …` */
function describeCost({ gpu, timeoutSeconds, mostDollars }: RemoteJob): string {
  const { memory, dollarsPerHour } = modalGpus[gpu];
  return (
    `${gpu}, ${memory}, for at most ${formatDuration(timeoutSeconds)}: ${dollars(dollarsPerHour)} an hour, at most ` +
    `${dollars(mostDollars)}, beside 4 cores and 16 GB of memory (list prices of June 2026; https://modal.com/pricing).`
  );
}

export function describePlan(job: RemoteJob): string[] {
  const { run, command, sends, volume, resultsIn, image } = planOf(job);
  return [
    `${run} on Modal: ${describeCost(job)}`,
    `  runs     ${command.map(shellWord).join(' ')}`,
    `  image    ${image.join('; ')}`,
    `  volume   ${volume}, which keeps the files of every run`,
    ...sends.map(({ path, bytes }) => `  sends    ${path} (${formatBytes(bytes)})`),
    `  saves    ${formatDuration(savingSeconds(job.timeoutSeconds))} before the time is up, to be resumed`,
    `  results  ${resultsIn === '' ? 'printed here' : resultsIn}`,
  ];
}
