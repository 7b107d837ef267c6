/**
 * @file Makes a run's `report.html`: reads the folders, renders the page, writes one file. What every caller loads only when
 * a report is due, since the chart library takes a quarter of a second.
 */
import { join } from 'node:path';
import { requireRun, runFiles } from '../run/folder.js';
import { writeFileAtomic } from '../util/file.js';
import { explainWrites } from '../util/write.js';
import { renderPage } from './page.js';
import { readRunRecord } from './read.js';
import type { Verdict } from './verdict.js';

export interface ReportRequest {
  /** The run's folder. */
  readonly folder: string;
  /** Folders of runs to lay over it. */
  readonly compare?: readonly string[];
  /** Where the report goes; `report.html` in the run's folder where it is not said. */
  readonly out?: string;
}

/** @throws UserError when a folder holds no run, a file in it is damaged, or the report cannot be written. */
export function writeReport({ folder, compare = [], out }: ReportRequest): { path: string; verdict: Verdict } {
  const path = out ?? join(folder, runFiles.report);
  const { page, verdict } = renderPage([readRunRecord(folder), ...compare.map(readRunRecord)]);
  // Writing creates missing folders, and a run that was removed meanwhile must not come back as a folder with a report alone.
  requireRun(folder);
  explainWrites(path, () => writeFileAtomic(path, page));
  return { path, verdict };
}
