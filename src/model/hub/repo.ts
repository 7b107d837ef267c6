/**
 * @file A repository on a Hugging Face hub, of a model or a dataset: resolves a revision to a commit, lists its files and
 * downloads them into the standard Hugging Face cache, where they are found offline. Reads the environment variables of
 * huggingface_hub: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN (or the token file), HF_HUB_OFFLINE,
 * HF_HUB_DOWNLOAD_TIMEOUT. `downloadFileToCacheDir` of @huggingface/hub is not used: it restarts interrupted downloads from
 * the beginning and does not check hashes.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { UserError } from '../../util/errors.js';
import { explainAsyncWrites, readRegularFile } from '../../util/file.js';
import { describe } from '../../util/json.js';
import { isCommit, type RemoteFile, type RepoCache, type RepoKind } from './cache.js';
import { downloadTo, type HubConnection, HubUnreachable, hubFetch, requireUsable } from './http.js';

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
  /** Bytes received over all files of the repository, including those of an interrupted download. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

/** How a repository is resolved, for models and datasets alike. */
export interface HubOptions {
  readonly settings?: HubSettings;
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  /** Receives a sentence for the user that is neither progress nor an error. */
  readonly onNotice?: ((text: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface HubId {
  readonly repo: string;
  readonly revision: string;
}

/** `org/name` or `org/name@revision` (branch, tag or commit); undefined for anything else. */
export function parseHubId(reference: string, defaultRevision = 'main'): HubId | undefined {
  const match = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([\w.-]+(?:\/[\w.-]+)*))?$/.exec(reference);
  const [, repo, revision = defaultRevision] = match ?? [];
  // The revision becomes a path under refs/.
  if (repo === undefined || revision.split('/').some((part) => /^\.+$/.test(part))) return undefined;
  return { repo, revision };
}

/** A repository at one commit. */
export interface OpenRepo {
  readonly commit: string;
  /** Its files by path. */
  readonly listed: ReadonlyMap<string, RemoteFile>;
  /** Downloads those of `files` that are not in the cache. */
  get(files: readonly RemoteFile[]): Promise<void>;
}

export interface RepoRequest {
  readonly kind: RepoKind;
  readonly id: HubId;
  /** For errors: `org/name@revision`. */
  readonly subject: string;
  readonly settings: HubSettings;
  readonly cache: RepoCache;
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @throws UserError when the hub does not have it or does not answer. */
export async function openRepo(request: RepoRequest): Promise<OpenRepo> {
  const { kind, id, subject, settings, cache, onProgress, signal } = request;
  const { repo, revision } = id;
  requireUsable(settings);
  const connection: HubConnection = { ...settings, signal, kind };
  // Imported here, so that local folders do not pay its load time (50 ms).
  const { listFiles, modelInfo, datasetInfo } = await import('@huggingface/hub');
  const api = { hubUrl: settings.endpoint, fetch: hubFetch(connection, subject) };
  const info = { ...api, name: repo, revision, additionalFields: ['sha' as const] };
  const { sha: commit } = await (kind === 'model' ? modelInfo(info) : datasetInfo(info));
  if (typeof commit !== 'string' || !isCommit(commit)) {
    throw new UserError(`${subject}: the hub returned ${describe(commit)} instead of a commit.`);
  }
  const listed = new Map<string, RemoteFile>();
  for await (const entry of listFiles({
    ...api,
    repo: { type: kind, name: repo },
    revision: commit,
    recursive: true,
  })) {
    const etag = entry.lfs?.oid ?? entry.oid;
    if (entry.type === 'file' && etag !== undefined) {
      listed.set(entry.path, { path: entry.path, size: entry.lfs?.size ?? entry.size, etag });
    }
  }
  const root = `${settings.endpoint}/${kind === 'dataset' ? 'datasets/' : ''}${repo}/resolve/${commit}`;
  const wanted: RemoteFile[] = [];
  const get = async (files: readonly RemoteFile[]) => {
    wanted.push(...files);
    const totalBytes = wanted.reduce((sum, file) => sum + file.size, 0);
    let doneBytes = totalBytes - files.reduce((sum, file) => sum + file.size, 0);
    for (const file of files) {
      const report = (bytes: number) => onProgress?.({ file: file.path, receivedBytes: doneBytes + bytes, totalBytes });
      const url = `${root}/${file.path.split('/').map(encodeURIComponent).join('/')}`;
      if (!cache.has(commit, file)) {
        const what = `${file.path} of ${subject}`;
        await cache.add(commit, file, (path) => downloadTo(connection, url, path, file.size, what, report));
      }
      report(file.size);
      doneBytes += file.size;
    }
  };
  return { commit, listed, get };
}

/**
 * Returns the result of `download`, or that of `cached` when `HF_HUB_OFFLINE` is set or the hub does not answer.
 *
 * @param otherwise what can be used instead of the hub; named in the error when offline and the cache is incomplete.
 * @throws UserError
 */
export async function fromHub<T>(
  { kind, settings, subject }: Pick<RepoRequest, 'kind' | 'settings' | 'subject'>,
  cached: () => T | undefined,
  download: () => Promise<T>,
  otherwise: string,
  onNotice?: (text: string) => void,
): Promise<T> {
  if (settings.offline) {
    const found = cached();
    if (found !== undefined) return found;
    throw new UserError({
      problem: `${subject} is not fully in the cache, and this command may not download it.`,
      fix: `Download it once by a command without HF_HUB_OFFLINE, or use ${otherwise}.`,
    });
  }
  try {
    return await explainAsyncWrites(settings.cacheFolder, download, 'Set HF_HOME to a writable folder.');
  } catch (error) {
    if (!(error instanceof HubUnreachable)) throw error;
    const { reason } = error;
    const found = cached();
    // A misspelt path is more likely than a hub that is down.
    if (found === undefined && existsSync(dirname(subject))) {
      const what = kind === 'model' ? 'folder' : 'file';
      throw new UserError(
        { problem: `There is no ${what} ${subject}. As a hub id: ${error.message}` },
        { cause: error },
      );
    }
    if (found === undefined) throw error;
    onNotice?.(`The hub does not answer (${reason}): using the cached copy of ${subject}.`);
    return found;
  }
}
