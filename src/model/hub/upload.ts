/**
 * @file Uploads a model folder to a Hugging Face hub, as one commit, through @huggingface/hub. Reads the
 * environment variables of repo.ts. The caller asks the user for confirmation.
 */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { UserError } from '../../util/errors.js';
import { regularFileBytes } from '../../util/file.js';
import { adapterConfigFile } from '../checkpoint/adapter.js';
import { carriedFiles } from '../checkpoint/save.js';
import { requireUsable } from './http.js';
import type { HubSettings } from './repo.js';

export interface FileToUpload {
  readonly name: string;
  readonly bytes: number;
}

/** The files of the model in `folder`, without those that only training uses. @throws UserError if there is no model. */
export function modelFilesOf(folder: string): FileToUpload[] {
  const known: readonly string[] = [...carriedFiles, 'config.json', adapterConfigFile];
  const weights = /^(model|adapter_model).*\.safetensors(\.index\.json)?$/;
  const names = readdirSync(folder).filter((name) => known.includes(name) || weights.test(name));
  if (!names.some((name) => weights.test(name)) || !names.some((name) => name.endsWith('config.json'))) {
    throw new UserError(`${folder} is not a model folder: it has no weights and config.json.`);
  }
  return names.sort().map((name) => ({ name, bytes: regularFileBytes(join(folder, name)) }));
}

export interface Upload {
  /** `org/name` */
  readonly repo: string;
  readonly folder: string;
  readonly files: readonly FileToUpload[];
  /** The text of README.md. */
  readonly card: string;
  readonly private: boolean;
}

/** The token to upload with. @throws UserError if there is none, or the hub cannot be used. */
export function uploadToken(settings: HubSettings): string {
  requireUsable(settings);
  if (settings.token !== undefined) return settings.token;
  throw new UserError({
    problem: `Uploading to ${settings.endpoint} needs a token.`,
    fix: 'Set HF_TOKEN to one with write access, or log in with `hf auth login`.',
  });
}

/**
 * Creates the repository if it is missing, and commits the files.
 *
 * @returns the address of the repository.
 * @throws UserError for a missing token, and when the hub rejects the upload.
 */
export async function uploadModel(
  { repo, folder, files, card, private: isPrivate }: Upload,
  settings: HubSettings,
  signal: AbortSignal,
): Promise<string> {
  const { endpoint } = settings;
  const token = uploadToken(settings);
  const { createRepo, HubApiError, uploadFiles } = await import('@huggingface/hub');
  const withSignal: typeof fetch = (input, init) => {
    const signals = init?.signal ? [init.signal, signal] : [signal];
    return fetch(input, { ...init, signal: AbortSignal.any(signals) });
  };
  const call = {
    repo: { type: 'model' as const, name: repo },
    accessToken: token,
    hubUrl: endpoint,
    fetch: withSignal,
  };
  const explained = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof HubApiError) throw refused(repo, endpoint, error);
      if (!(error instanceof TypeError)) throw error;
      // Node's fetch failed: no answer.
      const cause = error.cause instanceof Error ? error.cause.message : error.message;
      throw new UserError(`The hub at ${endpoint} does not answer: ${cause}.`, { cause: error });
    }
  };
  await explained(async () => {
    try {
      await createRepo({ ...call, ...(isPrivate && { visibility: 'private' }) });
    } catch (error) {
      // The repository exists.
      if (!(error instanceof HubApiError) || error.statusCode !== 409) throw error;
    }
  });
  await explained(() =>
    uploadFiles({
      ...call,
      commitTitle: 'Upload a model trained with tinyzero',
      files: [
        ...files.map(({ name }) => ({ path: name, content: pathToFileURL(resolve(folder, name)) })),
        { path: 'README.md', content: new Blob([card]) },
      ],
    }),
  );
  return `${endpoint}/${repo}`;
}

function refused(
  repo: string,
  endpoint: string,
  { statusCode, message }: { readonly statusCode: number; readonly message: string },
): UserError {
  const fix =
    statusCode === 401 || statusCode === 403
      ? `Check that the token has write access to ${repo.split('/')[0]}.`
      : 'Run the command again; what was uploaded is not sent twice.';
  return new UserError({ problem: `The hub at ${endpoint} refused ${repo}: ${statusCode}, ${message}.`, fix });
}
