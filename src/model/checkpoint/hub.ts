/**
 * @file Resolves `--model`: a folder, or a hub id `org/name[@revision]`. For an id, the files that a model needs are
 * downloaded into the standard Hugging Face cache, where they are found again offline. Environment variables as in
 * huggingface_hub: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN (or the token file), HF_HUB_OFFLINE,
 * HF_HUB_DOWNLOAD_TIMEOUT. `downloadFileToCacheDir` of @huggingface/hub is not used: it restarts interrupted downloads from
 * the beginning and does not check hashes.
 */
import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { UserError } from '../../util/errors.js';
import { explainAsyncWrites, readRegularFile } from '../../util/file.js';
import { describe, readJsonRecord } from '../../util/json.js';
import { parseModelConfig } from '../network/config.js';
import { isCommit, type RemoteFile, RepoCache } from './hub-cache.js';
import { downloadTo, type HubConnection, HubUnreachable, hubFetch, requireUsable } from './hub-http.js';
import { singleWeightFile, weightFiles, weightIndexFile } from './pretrained.js';
import { carriedFiles } from './save.js';

export interface HubSettings {
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly cacheFolder: string;
  /** Use the cache only. */
  readonly offline: boolean;
  readonly timeoutMs: number;
  readonly retryPauseMs: number;
}

/** Settings from environment variables. An empty variable counts as absent. */
export function hubSettings(env: Readonly<Record<string, string | undefined>> = process.env): HubSettings {
  const get = (...names: string[]) =>
    names.map((name) => env[name]).find((value) => value !== undefined && value !== '');
  const expand = (path: string) => (/^~(?=$|[/\\])/.test(path) ? join(homedir(), path.slice(1)) : path);
  const home = expand(get('HF_HOME') ?? join(get('XDG_CACHE_HOME') ?? '~/.cache', 'huggingface'));
  const tokenPath = expand(get('HF_TOKEN_PATH') ?? join(home, 'token'));
  const fileToken = existsSync(tokenPath) ? readRegularFile(tokenPath, 2 ** 16).toString() : '';
  const timeoutSeconds = Number(get('HF_HUB_DOWNLOAD_TIMEOUT') ?? 30);
  return {
    endpoint: (get('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, ''),
    token: (get('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN') ?? fileToken).trim() || undefined,
    cacheFolder: expand(get('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub')),
    offline: /^(1|true|yes|on)$/i.test(get('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE') ?? ''),
    timeoutMs: timeoutSeconds > 0 ? timeoutSeconds * 1000 : 30_000,
    retryPauseMs: 500,
  };
}

export interface HubProgress {
  /** The file being downloaded, relative to the repository. */
  readonly file: string;
  /** Bytes received over all files of the model, including those of an interrupted download. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface ResolveOptions {
  readonly settings?: HubSettings;
  readonly onProgress?: (progress: HubProgress) => void;
  /** False downloads everything except the weights, to inspect a model first. Default true. */
  readonly weights?: boolean;
  /** Receives a sentence for the user that is neither progress nor an error. */
  readonly onNotice?: (text: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * The folder of the model `reference`, downloaded first if necessary.
 *
 * @param reference an existing folder, or `org/name` or `org/name@revision` (branch, tag or commit).
 * @throws UserError when there is no such model or it cannot be downloaded.
 */
export async function resolveModel(reference: string, options: ResolveOptions = {}): Promise<string> {
  if (statSync(reference, { throwIfNoEntry: false })?.isDirectory()) return resolve(reference);
  const id = parseHubId(reference);
  if (id === undefined) {
    throw new UserError({
      problem: `There is no model ${JSON.stringify(reference)}.`,
      expected: 'a folder, a .gguf file, or a hub id such as org/name or org/name@revision',
    });
  }
  const settings = options.settings ?? hubSettings();
  const cache = new RepoCache(settings.cacheFolder, id.repo);
  if (settings.offline) {
    const folder = snapshotOf(cache, id, options);
    if (folder !== undefined) return folder;
    throw new UserError({
      problem: `${reference} is not fully in the cache, and HF_HUB_OFFLINE is set.`,
      fix: 'Run once without HF_HUB_OFFLINE, or use a model folder.',
    });
  }
  try {
    return await explainAsyncWrites(
      settings.cacheFolder,
      () => download(id, settings, cache, options),
      'Set HF_HOME to a writable folder.',
    );
  } catch (error) {
    if (!(error instanceof HubUnreachable)) throw error;
    const { reason } = error;
    const folder = snapshotOf(cache, id, options);
    // A misspelt path is more likely than a hub that is down.
    if (folder === undefined && existsSync(dirname(reference))) {
      throw new UserError(
        { problem: `There is no folder ${reference}. As a hub id: ${error.message}` },
        { cause: error },
      );
    }
    if (folder === undefined) throw error;
    options.onNotice?.(`The hub does not answer (${reason}): using the cached copy of ${reference}.`);
    return folder;
  }
}

interface HubId {
  readonly repo: string;
  readonly revision: string;
}

function parseHubId(reference: string): HubId | undefined {
  const match = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([\w.-]+(?:\/[\w.-]+)*))?$/.exec(reference);
  const [, repo, revision = 'main'] = match ?? [];
  // The revision becomes a path under refs/.
  if (repo === undefined || revision.split('/').some((part) => /^\.+$/.test(part))) return undefined;
  return { repo, revision };
}

/** The folder of a revision if it is complete. */
function snapshotOf(
  cache: RepoCache,
  { revision }: HubId,
  { weights = true }: Pick<ResolveOptions, 'weights'>,
): string | undefined {
  const commit = cache.commitOf(revision);
  const folder = commit === undefined ? undefined : cache.snapshot(commit);
  if (folder === undefined || !existsSync(join(folder, 'config.json')) || !existsSync(join(folder, 'tokenizer.json'))) {
    return undefined;
  }
  if (!weights) return folder;
  try {
    return weightFiles(folder).every((name) => existsSync(join(folder, name))) ? folder : undefined;
  } catch {
    return undefined;
  }
}

/** Size limit of files other than weights, as in {@link readRegularFile}. */
const maxSmallBytes = 256 * 2 ** 20;

async function download(id: HubId, settings: HubSettings, cache: RepoCache, options: ResolveOptions): Promise<string> {
  const { repo, revision } = id;
  const subject = revision === 'main' ? repo : `${repo}@${revision}`;
  requireUsable(settings);
  const connection: HubConnection = { ...settings, signal: options.signal };
  // Imported here, so that local folders do not pay its load time (50 ms).
  const { listFiles, modelInfo } = await import('@huggingface/hub');
  const api = { hubUrl: settings.endpoint, fetch: hubFetch(connection, subject) };
  const { sha: commit } = await modelInfo({ ...api, name: repo, revision, additionalFields: ['sha'] });
  if (typeof commit !== 'string' || !isCommit(commit)) {
    throw new UserError(`${subject}: the hub names no commit but ${describe(commit)}.`);
  }
  const listed = new Map<string, RemoteFile>();
  for await (const entry of listFiles({
    ...api,
    repo: { type: 'model', name: repo },
    revision: commit,
    recursive: true,
  })) {
    const etag = entry.lfs?.oid ?? entry.oid;
    if (entry.type === 'file' && etag !== undefined) {
      listed.set(entry.path, { path: entry.path, size: entry.lfs?.size ?? entry.size, etag });
    }
  }
  const find = (path: string, name = path): RemoteFile => {
    const file = listed.get(path);
    if (file === undefined) throw new UserError(`${subject} is not a model that tinyzero can run: it has no ${name}.`);
    if (file.size > maxSmallBytes && !path.endsWith('.safetensors')) {
      throw new UserError(`${subject}: its ${path} is said to have ${file.size} bytes, which cannot be.`);
    }
    return file;
  };

  const wanted: RemoteFile[] = [];
  const folder = cache.snapshot(commit);
  const get = async (...files: RemoteFile[]) => {
    wanted.push(...files);
    const totalBytes = wanted.reduce((sum, file) => sum + file.size, 0);
    let doneBytes = totalBytes - files.reduce((sum, file) => sum + file.size, 0);
    for (const file of files) {
      const report = (bytes: number) =>
        options.onProgress?.({ file: file.path, receivedBytes: doneBytes + bytes, totalBytes });
      const url = `${settings.endpoint}/${repo}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`;
      if (!cache.has(commit, file)) {
        await cache.add(commit, file, (path) =>
          downloadTo(connection, url, path, file.size, `${file.path} of ${subject}`, report),
        );
      }
      report(file.size);
      doneBytes += file.size;
    }
  };
  // The config first: an unsupported model is rejected before gigabytes are downloaded.
  await get(find('config.json'));
  const configPath = join(folder, 'config.json');
  parseModelConfig(readJsonRecord(configPath), `config.json of ${subject}`);
  find('tokenizer.json');
  const small = carriedFiles.flatMap((name) => (listed.has(name) ? [find(name)] : []));
  if (options.weights === false) {
    await get(...small);
    return folder;
  }
  if (listed.has(singleWeightFile)) {
    await get(...small, find(singleWeightFile));
  } else {
    await get(find(weightIndexFile, 'weights in safetensors format'));
    await get(...small, ...weightFiles(folder).map((name) => find(name)));
  }
  cache.setCommit(revision, commit);
  return folder;
}
