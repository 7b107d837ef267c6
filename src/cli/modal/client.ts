/**
 * @file Opens Modal's own SDK (npm `modal`, an optional package, pinned to one version) and explains its errors. The
 * account is that of Modal's own tools: MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or the profile in ~/.modal.toml.
 */
import { pathToFileURL } from 'node:url';
import type { App, ModalClient, Sandbox, Volume } from 'modal';
import { findPackage, packageVersion } from '../../engine/packages.js';
import { UserError } from '../../util/errors.js';
import { appName } from './layout.js';

export type { App, Image, Sandbox, Volume } from 'modal';

type Sdk = typeof import('modal');

/** The package's tag `latest` names something else, so the version is always given. */
const sdkVersion = '0.11.1';
const install = `npm install modal@${sdkVersion}`;

export interface Modal {
  readonly sdk: Sdk;
  readonly client: ModalClient;
}

/** @throws UserError if the SDK is not installed or there is no token. */
export async function openModal(): Promise<Modal> {
  const entry = findPackage('modal');
  if (entry === undefined) {
    throw new UserError({
      problem: "`--on modal` needs Modal's own package, which is not installed.",
      fix: `Add it with \`${install}\`.`,
    });
  }
  const version = packageVersion(entry, 'modal');
  if (version !== sdkVersion) {
    throw new UserError({
      problem: 'The installed package `modal` is a different package or version.',
      expected: `modal ${sdkVersion}`,
      found: `modal ${version}`,
      fix: `Add it with \`${install}\`.`,
    });
  }
  const sdk = (await import(pathToFileURL(entry).href)) as Sdk & { default?: Sdk };
  const { ModalClient: Client } = sdk.default ?? sdk;
  const client = new Client({ logLevel: 'error' });
  const { tokenId, tokenSecret, oauthRefreshToken } = client.profile;
  if (!(tokenId && tokenSecret) && !oauthRefreshToken) {
    throw new UserError({
      problem: 'Modal needs a token, but none is set.',
      expected: 'MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or a profile in ~/.modal.toml',
      fix: 'Create one at https://modal.com/settings/tokens, or with `pip install modal && modal setup`.',
    });
  }
  return { sdk: sdk.default ?? sdk, client };
}

/** The app, and the volume by name; both are created if missing. */
export async function openVolume(modal: Modal, name: string): Promise<{ app: App; volume: Volume }> {
  return await explained(modal, `opening the volume ${name}`, async () => ({
    app: await modal.client.apps.fromName(appName, { createIfMissing: true }),
    volume: await modal.client.volumes.fromName(name, { createIfMissing: true }),
  }));
}

/** The running sandbox of a run; undefined if none runs. */
export async function runningSandbox(modal: Modal, name: string): Promise<Sandbox | undefined> {
  return await explained(modal, `looking for ${name}`, async () => {
    try {
      const sandbox = await modal.client.sandboxes.fromName(appName, name);
      return (await sandbox.poll()) === null ? sandbox : undefined;
    } catch (error) {
      if (error instanceof modal.sdk.NotFoundError) return undefined;
      throw error;
    }
  });
}

/** Status codes of gRPC. */
const status = { denied: 7, exhausted: 8, unavailable: 14, unauthenticated: 16, deadline: 4 };

/** Whether Modal could not be reached, as opposed to refusing the request. */
export function isLostConnection(error: unknown): boolean {
  const code = statusOf(error);
  return code === status.unavailable || code === status.deadline || code === 1 || code === 13 || code === 2;
}

function statusOf(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

/**
 * Runs `work`, which talks to Modal.
 *
 * @param doing what it does, for errors: `building the image`. @throws UserError that says what is wrong and what to do.
 */
export async function explained<T>({ sdk, client }: Modal, doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UserError || !(error instanceof Error)) throw error;
    const code = statusOf(error);
    const details = 'details' in error && typeof error.details === 'string' ? error.details : error.message;
    const said = details.trim().replace(/\.?$/, '.');
    const fail = (fix: string, problem = `Modal failed while ${doing}: ${said}`) =>
      new UserError({ problem, fix }, { cause: error });
    if (code === status.unauthenticated || code === status.denied) {
      throw fail('Create a new token at https://modal.com/settings/tokens.', `Modal rejected the token: ${said}`);
    }
    if (code === status.exhausted || error instanceof sdk.ResourceExhaustedError) {
      throw fail(
        'Try another --gpu, wait and start again, or raise the limits of the workspace at https://modal.com/settings. ' +
          'Nothing runs and nothing more is charged.',
      );
    }
    if (isLostConnection(error)) {
      throw fail(
        'Check the network and https://status.modal.com, then start the command again: finished work is kept.',
        `Modal does not answer at ${client.profile.serverUrl}: ${said}`,
      );
    }
    if (code !== undefined || error.constructor.name in sdk)
      throw fail('Finished work is kept; start the command again.');
    throw error;
  }
}
