/**
 * @file Resolves a dataset id `org/name[@revision]`: the files of one split, downloaded into the Hugging Face cache. Without
 * a revision they are those of the branch `refs/convert/parquet`, which the hub makes for every public dataset; a dataset
 * without that branch is read from its own files.
 */
import { existsSync } from 'node:fs';
import { UserError } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';
import { isCommit, type RemoteFile, RepoCache } from './cache.js';
import { RevisionMissing } from './http.js';
import { fromHub, type HubId, type HubOptions, hubSettings, openRepo, parseHubId, type RepoRequest } from './repo.js';

export interface DatasetSplits {
  /** Folder of the files, in a dataset with several. */
  readonly subset?: string | undefined;
  readonly split: string;
  /** The split of the held-out problems, if they are not chosen from `split`. */
  readonly testSplit?: string | undefined;
}

interface DatasetFile {
  /** In the cache. */
  readonly path: string;
  /** In the repository, for errors. */
  readonly name: string;
  readonly part: 'train' | 'test' | undefined;
}

export interface ResolvedDataset {
  /** `org/name@commit`. */
  readonly pinned: string;
  readonly files: readonly DatasetFile[];
}

const converted = 'refs/convert/parquet';
const instead = 'a file of problems (.jsonl, .csv or .parquet)';
/** Size limit of the chosen splits, as downloaded. */
const maxBytes = 2 ** 30;
/** In order of preference. */
const extensions = ['.parquet', '.csv', '.tsv', '.jsonl'] as const;

/** Whether `reference` can only be a dataset id: it has that form and cannot be the name of a file. */
export function isDatasetId(reference: string): boolean {
  if (existsSync(reference) || extensions.some((extension) => reference.endsWith(extension))) return false;
  return parseHubId(reference) !== undefined;
}

/**
 * The files of the splits, in order of their names.
 *
 * @param reference for which {@link isDatasetId} is true.
 * @throws UserError when there is no such dataset or split, or it cannot be downloaded.
 */
export async function resolveDataset(
  reference: string,
  splits: DatasetSplits,
  options: HubOptions = {},
): Promise<ResolvedDataset> {
  const id = parseHubId(reference, converted)!;
  const settings = options.settings ?? hubSettings();
  const cache = new RepoCache(settings.cacheFolder, id.repo, 'dataset');
  const { onProgress, signal } = options;
  const request: RepoRequest = { kind: 'dataset', id, subject: reference, settings, cache, onProgress, signal };
  const cached = () =>
    cachedFiles(cache, id, reference, splits) ??
    (id.revision === converted ? cachedFiles(cache, { ...id, revision: 'main' }, reference, splits) : undefined);
  // A commit never changes, so its downloaded files are used without the hub.
  if (isCommit(id.revision)) {
    const found = cached();
    if (found !== undefined) return found;
  }
  const download = async () => {
    try {
      return await downloadFiles(request, splits);
    } catch (error) {
      if (!(error instanceof RevisionMissing) || id.revision !== converted) throw error;
      return await downloadFiles({ ...request, id: { ...id, revision: 'main' } }, splits);
    }
  };
  return await fromHub(request, cached, download, instead, options.onNotice);
}

async function downloadFiles(request: RepoRequest, splits: DatasetSplits): Promise<ResolvedDataset> {
  const { id, subject, cache } = request;
  const { commit, listed, get } = await openRepo(request);
  const chosen = chooseFiles(subject, listed, splits);
  const bytes = chosen.reduce((sum, { file }) => sum + file.size, 0);
  if (bytes > maxBytes) {
    throw new UserError({
      problem: `${subject} is too large for a list of problems.`,
      expected: `at most ${formatBytes(maxBytes)}`,
      found: `${formatBytes(bytes)} in ${chosen.length} files`,
      fix: 'Choose a smaller --split or --subset, or save a part of it as a file.',
    });
  }
  await get(chosen.map(({ file }) => file));
  cache.saveListing(commit, listed);
  cache.setCommit(id.revision, commit);
  return resolved(cache, id.repo, commit, chosen);
}

/** The chosen files if the cache has all of them. */
function cachedFiles(
  cache: RepoCache,
  { repo, revision }: HubId,
  subject: string,
  splits: DatasetSplits,
): ResolvedDataset | undefined {
  const commit = cache.commitOf(revision);
  const listed = commit === undefined ? undefined : cache.listingOf(commit);
  if (commit === undefined || listed === undefined) return undefined;
  const chosen = chooseFiles(subject, listed, splits);
  return chosen.every(({ file }) => cache.has(commit, file)) ? resolved(cache, repo, commit, chosen) : undefined;
}

interface Chosen {
  readonly file: RemoteFile;
  readonly part: DatasetFile['part'];
}

function resolved(cache: RepoCache, repo: string, commit: string, chosen: readonly Chosen[]): ResolvedDataset {
  const files = chosen.map(({ file, part }) => ({ path: cache.pathOf(commit, file), name: file.path, part }));
  return { pinned: `${repo}@${commit}`, files };
}

function chooseFiles(
  subject: string,
  listed: ReadonlyMap<string, RemoteFile>,
  { subset, split, testSplit }: DatasetSplits,
): Chosen[] {
  const choose = (wanted: string, flag: string) => splitFiles(subject, [...listed.values()], subset, wanted, flag);
  const train = choose(split, '--split');
  if (testSplit === undefined) return train.map((file) => ({ file, part: undefined }));
  return [
    ...train.map((file) => ({ file, part: 'train' as const })),
    ...choose(testSplit, '--test-split').map((file) => ({ file, part: 'test' as const })),
  ];
}

function splitFiles(
  subject: string,
  files: readonly RemoteFile[],
  subset: string | undefined,
  split: string,
  flag: string,
): RemoteFile[] {
  const readable = files.filter(({ path }) => isInside(path) && extensions.some((form) => path.endsWith(form)));
  const ofSubset = subset === undefined ? readable : readable.filter(({ path }) => foldersOf(path).includes(subset));
  const ofSplit = [isSplitExactly, isSplitSomewhere]
    .map((matches) => ofSubset.filter(({ path }) => matches(path, split)))
    .find((found) => found.length > 0);
  if (ofSplit === undefined) throw noSuchSplit(subject, readable, subset, split, flag);
  const form = extensions.find((extension) => ofSplit.some(({ path }) => path.endsWith(extension)))!;
  const found = ofSplit.filter(({ path }) => path.endsWith(form)).sort((a, b) => (a.path < b.path ? -1 : 1));
  const places = [...new Set(found.map(({ path }) => placeOf(path, split)))];
  if (places.length > 1) {
    throw new UserError({
      problem: `${subject} has the split ${split} in several subsets.`,
      found: listSome(places),
      fix: `Choose one, such as --subset ${places[0]!.split('/').at(-1)}.`,
    });
  }
  return found;
}

function noSuchSplit(
  subject: string,
  readable: readonly RemoteFile[],
  subset: string | undefined,
  split: string,
  flag: string,
): UserError {
  const [where, flags] = subset === undefined ? ['', flag] : [` in subset ${subset}`, `${flag} or --subset`];
  return new UserError({
    problem: `${subject} has no files of a split ${split}${where}.`,
    expected: `files ending in ${extensions.join(' ')} whose folder or name says the split`,
    found: readable.length === 0 ? 'no such files' : listSome(readable.map(({ path }) => path)),
    fix: `Choose another ${flags}, or save the problems as a file.`,
  });
}

const shownNames = 8;

function listSome(names: readonly string[]): string {
  const more = names.length > shownNames ? ` and ${names.length - shownNames} more` : '';
  return `${names.slice(0, shownNames).join(', ')}${more}`;
}

function foldersOf(path: string): string[] {
  return path.split('/').slice(0, -1);
}

/** The folder of a split's file, without the folders named after the split. */
function placeOf(path: string, split: string): string {
  return foldersOf(path)
    .filter((folder) => folder !== split && folder !== `partial-${split}`)
    .join('/');
}

/** `train/0000.parquet`, `train.csv`, `train-00000-of-00001.parquet`; `partial-train/` where the hub cut a large split. */
function isSplitExactly(path: string, split: string): boolean {
  const folders = foldersOf(path);
  const stem = path.slice(path.lastIndexOf('/') + 1).replace(/\.\w+$/, '');
  const isNamed = stem.replace(/-\d{5}-of-\d{5}$/, '') === split;
  return isNamed || folders.includes(split) || folders.includes(`partial-${split}`);
}

/** The split's name as a word of the path: `data/gsm_train.jsonl`. */
function isSplitSomewhere(path: string, split: string): boolean {
  return path
    .replace(/\.\w+$/, '')
    .split(/[/\-._ ]/)
    .includes(split);
}

/** Whether a path from the hub's listing stays inside the folder. */
function isInside(path: string): boolean {
  return path.split('/').every((part) => part !== '' && !/^\.+$/.test(part) && !/[\\:]/.test(part));
}
