/**
 * @file Resolves `--model`: a folder, or a hub id `org/name[@revision]`. For an id, the files that a model needs are downloaded
 * into the Hugging Face cache (repo.ts).
 */
import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { UserError } from '../../util/errors.js';
import { readJsonRecord } from '../../util/json.js';
import { singleWeightFile, weightFiles, weightIndexFile } from '../checkpoint/pretrained.js';
import { carriedFiles } from '../checkpoint/save.js';
import { parseModelConfig } from '../network/config.js';
import { type RemoteFile, RepoCache } from './cache.js';
import { fromHub, type HubId, type HubOptions, hubSettings, openRepo, parseHubId, type RepoRequest } from './repo.js';

export interface ResolveOptions extends HubOptions {
  /** False downloads everything except the weights, to inspect a model first. Default true. */
  readonly weights?: boolean;
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
  const cache = new RepoCache(settings.cacheFolder, id.repo, 'model');
  const { onProgress, signal } = options;
  const subject = id.revision === 'main' ? id.repo : reference;
  const request: RepoRequest = { kind: 'model', id, subject, settings, cache, onProgress, signal };
  return await fromHub(
    { kind: 'model', settings, subject: reference },
    () => snapshotOf(cache, id, options),
    () => download(request, options),
    'a model folder',
    options.onNotice,
  );
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

async function download(request: RepoRequest, options: ResolveOptions): Promise<string> {
  const { id, subject, cache } = request;
  const { commit, listed, get } = await openRepo(request);
  const find = (path: string, name = path): RemoteFile => {
    const file = listed.get(path);
    if (file === undefined) throw new UserError(`${subject} is not a model that tinyzero can run: it has no ${name}.`);
    if (file.size > maxSmallBytes && !path.endsWith('.safetensors')) {
      throw new UserError(`${subject}: the hub reports ${file.size} bytes for ${path}, which is impossible.`);
    }
    return file;
  };

  const folder = cache.snapshot(commit);
  // The config first: an unsupported model is rejected before gigabytes are downloaded.
  await get([find('config.json')]);
  const configPath = join(folder, 'config.json');
  parseModelConfig(readJsonRecord(configPath), `config.json of ${subject}`);
  find('tokenizer.json');
  const small = carriedFiles.flatMap((name) => (listed.has(name) ? [find(name)] : []));
  if (options.weights === false) {
    await get(small);
    return folder;
  }
  if (listed.has(singleWeightFile)) {
    await get([...small, find(singleWeightFile)]);
  } else {
    await get([find(weightIndexFile, 'weights in safetensors format')]);
    await get([...small, ...weightFiles(folder).map((name) => find(name))]);
  }
  cache.setCommit(id.revision, commit);
  return folder;
}
