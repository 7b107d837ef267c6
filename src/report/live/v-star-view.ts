/** @file The live page of V* files: their progress, and the samples so far. */
import { preflightOf } from '../../stage1/preflight.js';
import { counted, formatSeconds } from '../../util/format.js';
import { shellWord } from '../command.js';
import { type Html, html } from '../html.js';
import { stage1Record } from '../read.js';
import { stage1Section } from '../sections/preflight.js';
import { badges, leftText, quietWorthMs, titleFor } from './opening.js';
import type { View } from './page.js';
import { type FollowedFile, type FollowedFiles, fileHeadline } from './v-star.js';

export function vStarView(found: FollowedFiles): View {
  const { files, samples } = found;
  const state = stateOf(files);
  const { done, total } = sums(files);
  const share = total === undefined ? '' : ` ${Math.floor((100 * done) / total)} %`;
  const name = files.length === 1 ? files[0].name : counted(files.length, 'file');
  return {
    title: titleFor(state === 'running' ? `Stage 1${share}` : badges[state][1], name),
    announcement: files.map((file) => `${files.length > 1 ? `${file.name}: ` : ''}${said(file)}`).join(' '),
    path: files.length === 1 ? files[0].path : counted(files.length, 'file'),
    createdBy: samples?.createdBy,
    opening: opening(found, state),
    sections: [{ id: 'stage-1', name: 'Stage 1', shows: [samples, total], body: () => samples && section(found) }],
  };
}

const tenths = 10;

/** Changes at each tenth. */
function said({ state, done, total }: FollowedFile): string {
  const tenth = total === undefined ? 0 : Math.floor((tenths * done) / total);
  return `${badges[state][1]}${state === 'running' && tenth > 0 ? `, ${tenth * tenths} % done` : ''}.`;
}

function sums(files: readonly FollowedFile[]): { readonly done: number; readonly total: number | undefined } {
  const done = files.reduce((sum, file) => sum + file.done, 0);
  const isKnown = files.every(({ total }) => total !== undefined);
  return { done, total: isKnown ? files.reduce((sum, file) => sum + file.total!, 0) : undefined };
}

function stateOf(files: readonly FollowedFile[]): FollowedFile['state'] {
  if (files.every(({ state }) => state === 'finished')) return 'finished';
  return files.some(({ state }) => state === 'running' || state === 'finished') ? 'running' : files[0]!.state;
}

function section({ files, samples }: FollowedFiles): Html {
  const { total } = sums(files);
  const ids = [...samples!.entries.keys()];
  const record = stage1Record(samples!, ids);
  if (total === undefined || record.done < total) return stage1Section({ ...record, total });
  return stage1Section({ ...record, preflight: preflightOf(samples!) });
}

function opening({ files, samples, damage }: FollowedFiles, state: FollowedFile['state']): Html {
  const [sign, label] = badges[state];
  const { done, total } = sums(files);
  const count = total === undefined ? `${counted(done, 'problem')} so far` : `${done} of ${counted(total, 'problem')}`;
  const left = secondsLeft(files);
  const [first] = files;
  return html`<section class="verdict live ${state}">
<div>
<p class="badge"><span aria-hidden="true">${sign}</span> ${label}</p>
<h1>${samples === undefined ? fileHeadline(first) : `Stage 1: ${count}`}${left !== undefined && html`<small>${leftText(left, undefined)}</small>`}</h1>
${samples && html`<p class="lead">${counted(samples.samples, 'sample')} of each problem from the reference.</p>`}
${state === 'waiting' && html`<p class="note">The page fills as soon as the file is written, as by \`tinyzero estimate-vstar --out ${shellWord(first.path)}\`.</p>`}
${damage.map((note) => html`<p class="note">${note}</p>`)}
</div>
<div><ul class="watched" aria-label="Files">${files.map(item)}</ul></div>
</section>`;
}

/** A file does not say whether a process is working on it, so a pause is only mentioned. */
function item(file: FollowedFile): Html {
  const { name, state, done, total, quietMs } = file;
  const [sign] = badges[state];
  const quiet =
    state === 'running' && quietMs >= quietWorthMs ? `, nothing written for ${formatSeconds(quietMs / 1000)}` : '';
  const bar =
    state === 'running' &&
    html`<progress aria-label="${name}"${total !== undefined && html` max="${total}" value="${done}"`}></progress>`;
  return html`<li><b>${name}</b> <span><span aria-hidden="true">${sign}</span> ${fileHeadline(file)}${quiet}</span>${bar}</li>`;
}

/** Until the last file is finished, if all are being written; undefined while unknown. */
function secondsLeft(files: readonly FollowedFile[]): number | undefined {
  const unfinished = files.filter(({ state }) => state !== 'finished');
  const left = unfinished.map(({ done, total, secondsEach, quietMs }) =>
    total === undefined || secondsEach === undefined ? undefined : (total - done) * secondsEach - quietMs / 1000,
  );
  if (left.length === 0 || left.includes(undefined)) return undefined;
  return Math.max(0, ...left.map((seconds) => seconds!));
}
