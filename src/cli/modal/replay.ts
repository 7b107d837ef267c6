/**
 * @file Shows the output of a remote command: its `--json` events become the same lines, bars and curves as those of a
 * local command, or are passed on with `--json`. Other lines, such as those of a crash, are shown unchanged.
 */
import type { SftEvent, SftMetrics, TrainEvent } from '../../run/events.js';
import type { StepMetrics } from '../../stage2/step-metrics.js';
import { printable } from '../../util/errors.js';
import { isRecord, type JsonRecord } from '../../util/json.js';
import { type Reporter, type Work, workUnits } from '../../util/reporter.js';
import { printEvent } from '../terminal/output.js';
import { paintFor } from '../terminal/paint.js';
import { sftProgress, trainProgress } from '../train-progress.js';

export interface Replay {
  line(text: string): void;
  end(): void;
  /** The event `result`, once the command has printed it. */
  readonly result: JsonRecord | undefined;
  /** The event `error`. */
  readonly error: { readonly message: string; readonly exitCode: number } | undefined;
}

/** One line of the metrics of a run, of `train` or `sft`. */
export type RunMetrics = StepMetrics | SftMetrics;

/** Work whose progress is taken from the events of updates instead. */
const updateTitles = ['Stage 2', 'Training'];
/** Events of runs that are shown as they are. */
type ShownEvent = Extract<
  TrainEvent | SftEvent,
  { readonly kind: 'stage2' | 'evaluated' | 'training' | 'measured' | 'step' }
>;
const shownKinds: readonly unknown[] = [
  'stage2',
  'evaluated',
  'training',
  'measured',
  'step',
] satisfies ShownEvent['kind'][];

/** Training continues after update `step`. */
interface ResumedEvent {
  readonly kind: 'resumed';
  readonly step: number;
  readonly history: readonly RunMetrics[];
}

interface RunProgress {
  onEvent(event: TrainEvent | SftEvent | ResumedEvent): void;
  end(): void;
}

/**
 * @param json print the events on stdout too. @param earlier metrics of the updates before those that are printed.
 * @param onGpu the name of a run that should use a GPU: a line says so if it does not.
 */
export function replay(reporter: Reporter, json: boolean, earlier: readonly RunMetrics[] = [], onGpu?: string): Replay {
  // The lines of these events arrive as notes.
  const quiet = { ...reporter, line: () => {} };
  const freshProgress = (isSft: boolean): RunProgress =>
    isSft ? sftProgress(quiet) : trainProgress(quiet, paintFor(process.stderr));
  let progress = freshProgress(false);
  let history = earlier;
  let work: { readonly title: string; readonly shown: Work } | undefined;
  let result: JsonRecord | undefined;
  let error: Replay['error'];

  const endWork = () => {
    work?.shown.end();
    work = undefined;
  };
  const handle = (event: JsonRecord) => {
    const { event: kind, ...fields } = event;
    if (kind === 'result') {
      result = fields;
      return;
    }
    if (kind === 'error') {
      error = { message: String(fields.message), exitCode: Number(fields.exitCode) };
      return;
    }
    if (json) printEvent({ event: String(kind), ...fields });
    const shown = { kind, ...fields };
    if (kind === 'note') {
      work?.shown.hide();
      reporter.line(printable(String(fields.text)));
    } else if (kind === 'progress' && !updateTitles.includes(String(fields.title))) {
      const title = printable(String(fields.title));
      if (work?.title !== title) {
        endWork();
        work = { title, shown: reporter.work(title, workUnits.find((unit) => unit === fields.unit) ?? 'steps') };
      }
      work.shown.update({ done: Number(fields.done), total: Number(fields.total) });
    } else if (kind === 'opened') {
      // A log may hold several sandboxes of the same run.
      endWork();
      progress.end();
      progress = freshProgress('lines' in fields);
      if (onGpu !== undefined && !String(fields.engine).includes('GPU')) {
        reporter.line(`${onGpu} does not use the GPU that you pay for. Stop it with \`tinyzero modal stop ${onGpu}\`.`);
      }
    } else if (isShown(shown)) {
      endWork();
      if (shown.kind === 'step') history = [...history, shown.metrics];
      progress.onEvent(shown);
    } else if (kind === 'resumed') {
      const step = Number(fields.step);
      history = history.filter((metrics) => metrics.step <= step);
      progress.onEvent({ kind, step, history });
    }
  };
  return {
    line(text) {
      const event = eventOf(text);
      if (event !== undefined) handle(event);
      else if (text.trim() !== '') reporter.line(printable(text));
    },
    end() {
      endWork();
      progress.end();
    },
    get result() {
      return result;
    },
    get error() {
      return error;
    },
  };
}

/** The image of a run has this version of the program, so its events have the fields of ours. */
const isShown = (event: object): event is ShownEvent => 'kind' in event && shownKinds.includes(event.kind);

/** As {@link isShown}, for a line of the metrics. */
export const isMetrics = (line: unknown): line is RunMetrics => isRecord(line) && typeof line.step === 'number';

function eventOf(text: string): JsonRecord | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) && typeof value.event === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
