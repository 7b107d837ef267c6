/**
 * @file The Hugging Face cache on disk, in the layout that huggingface_hub (Python) shares: `models--org--name/`
 * (`datasets--org--name/` for a dataset) with `blobs/<etag>`, `snapshots/<commit>/<file>` linking to blobs, and
 * `refs/<revision>` naming a commit. Handles only the layout; the caller downloads.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, createReadStream, existsSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { lock } from 'proper-lockfile';
import { UserError } from '../../util/errors.js';
import { makeFolder, readRegularFile, writeFileAtomic } from '../../util/file.js';
import { readJsonRecord } from '../../util/json.js';
import { check, integer, list, object, text } from '../../util/schema.js';

const commitPattern = /^[0-9a-f]{40}$/;

export function isCommit(revision: string): boolean {
  return commitPattern.test(revision);
}

/** A file in the hub's listing of a repository. */
export interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** Git's hash of the content, or SHA-256 for large files; also the name of the blob. */
  readonly etag: string;
}

const listingShape = object({ files: list(object({ path: text, size: integer({ min: 0 }), etag: text })) });

/** What a repository holds. */
export type RepoKind = 'model' | 'dataset';

export class RepoCache {
  private readonly root: string;
  private readonly locks: string;

  constructor(cacheFolder: string, repo: string, kind: RepoKind) {
    const name = `${kind}s--${repo.replaceAll('/', '--')}`;
    this.root = join(cacheFolder, name);
    this.locks = join(cacheFolder, '.locks', name);
  }

  snapshot(commit: string): string {
    return join(this.root, 'snapshots', commit);
  }

  /** The commit that `revision` named when it was last downloaded completely. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision;
    const path = join(this.root, 'refs', revision);
    const commit = existsSync(path) ? readRegularFile(path).toString().trim() : '';
    return isCommit(commit) ? commit : undefined;
  }

  /** Records the commit of `revision`. Called last, so that a recorded revision always has a complete snapshot. */
  setCommit(revision: string, commit: string): void {
    if (!isCommit(revision)) writeFileAtomic(join(this.root, 'refs', revision), commit);
  }

  has(commit: string, file: RemoteFile): boolean {
    return fileSize(this.pathOf(commit, file)) === file.size;
  }

  pathOf(commit: string, { path }: RemoteFile): string {
    return join(this.snapshot(commit), path);
  }

  /** Keeps the list of files of `commit`, which the layout itself does not have. */
  saveListing(commit: string, listed: ReadonlyMap<string, RemoteFile>): void {
    writeFileAtomic(this.listing(commit), `${JSON.stringify({ files: [...listed.values()] })}\n`);
  }

  /** The files of `commit`, whether or not they were downloaded; undefined without a readable list. */
  listingOf(commit: string): ReadonlyMap<string, RemoteFile> | undefined {
    const path = this.listing(commit);
    if (!existsSync(path)) return undefined;
    try {
      const { files } = check(listingShape, readJsonRecord(path), { path });
      return new Map(files.map((file) => [file.path, file]));
    } catch (error) {
      if (error instanceof UserError) return undefined;
      throw error;
    }
  }

  private listing(commit: string): string {
    return join(this.root, 'tinyzero', `${commit}.json`);
  }

  /**
   * Adds `file` to the snapshot of `commit`. Unless the content exists already, calls `fetch` to complete the given path,
   * which may hold part of it. One process at a time downloads a blob; others wait for it.
   */
  async add(commit: string, file: RemoteFile, fetch: (path: string) => Promise<void>): Promise<void> {
    if (!/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(file.etag)) {
      throw new UserError(`The hub gave the unusable identifier ${JSON.stringify(file.etag)} for ${file.path}.`);
    }
    const blob = join(this.root, 'blobs', file.etag);
    makeFolder(dirname(blob));
    makeFolder(this.locks);
    const release = await lock(blob, {
      realpath: false,
      lockfilePath: join(this.locks, `${file.etag}.tinyzero`),
      stale: 20_000,
      retries: { forever: true, minTimeout: 200, maxTimeout: 2000 },
      // A lock lost to a stalled clock costs at most a second download, since content is verified before use.
      onCompromised: () => {},
    });
    try {
      if (fileSize(blob) !== file.size) await fill(blob, file, fetch);
    } finally {
      await release().catch(() => {});
    }
    link(blob, this.pathOf(commit, file));
  }
}

async function fill(blob: string, file: RemoteFile, fetch: (path: string) => Promise<void>): Promise<void> {
  const incomplete = `${blob}.incomplete`;
  for (let attempt = 1; ; attempt += 1) {
    await fetch(incomplete);
    if ((await hashFile(incomplete, file)) === file.etag) break;
    // The earlier part may have been damaged on disk: start again once.
    rmSync(incomplete);
    if (attempt === 2) {
      throw new UserError({
        problem: `${file.path} arrived twice with the wrong content.`,
        expected: `the hash ${file.etag}`,
        fix: 'A proxy between here and the hub may be changing the data.',
      });
    }
  }
  renameSync(incomplete, blob);
}

/** SHA-256 (64 digits), or Git's SHA-1 of a blob object, whichever the etag is. */
async function hashFile(path: string, { etag, size }: RemoteFile): Promise<string> {
  const hash = createHash(etag.length === 64 ? 'sha256' : 'sha1');
  if (etag.length === 40) hash.update(`blob ${size}\0`);
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

function link(blob: string, pointer: string): void {
  makeFolder(dirname(pointer));
  rmSync(pointer, { force: true });
  try {
    symlinkSync(relative(dirname(pointer), blob), pointer);
  } catch {
    copyFileSync(blob, pointer); // Windows without permission to create links
  }
}

function fileSize(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
