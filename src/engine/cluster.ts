/**
 * @file Runs several processes as one engine. Each worker runs TensorFlow's server (docs/scale.md). The training process is
 * replica 0; its sessions place a copy of each graph on every process. Workers have no model or files of their own.
 */
import { lookup } from 'node:dns/promises';
import { connect } from 'node:net';
import { exitCodes, UserError } from '../util/errors.js';
import { Graph } from './graph/graph.js';
import { encodeConfig, encodeGraphDef, encodeServer, replicaPrefix, tensorName } from './graph/graphdef.js';
import { engineFormat } from './install/installed.js';
import { nativeOps } from './lowering/native-ops.js';
import type { KernelsAddon } from './native.js';

/** The processes among which graphs are divided. */
export interface Cluster {
  /** TensorFlow's server in this process, which is replica 0. */
  readonly target: string;
  /** `address:port` of each replica, this process first. */
  readonly addresses: readonly string[];
  /** The same processes, as the user named them. */
  readonly names: readonly string[];
}

export interface Address {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
}

/** Parses `host:port`. @throws UserError (wrong usage) that names `option`. */
export function parseAddress(option: string, text: string): Address {
  const [, host, digits] = /^([\w.-]+):(\d{1,5})$/.exec(text.trim()) ?? [];
  const port = Number(digits);
  if (host !== undefined && port <= 65535) return { host, port };
  throw new UserError(
    { problem: `${option}: expected host:port, such as 127.0.0.1:4001, found '${text}'.` },
    { exitCode: exitCodes.usage },
  );
}

/**
 * Starts TensorFlow's server, which serves sessions of other processes until this one ends.
 *
 * @returns `address:port` where it listens, and nowhere else.
 * @throws UserError when it cannot listen there.
 */
export async function serve(addon: KernelsAddon, { host, port }: Address): Promise<string> {
  const address = await addressOf(host);
  try {
    return addon.serve(encodeServer(`${address}:${port}`), address).replace(/^grpc:\/\//, '');
  } catch (error) {
    throw new UserError(
      {
        problem: `TensorFlow cannot listen on ${host}:${port}: ${(error as Error).message.replace(/\.$/, '')}.`,
        fix: 'Choose an address of this machine and a free port.',
      },
      { cause: error },
    );
  }
}

/** Joins the workers to a cluster. @throws UserError that names the one that does not answer. */
export async function joinWorkers(addon: KernelsAddon, workers: readonly Address[]): Promise<Cluster> {
  const routes = await Promise.all(workers.map(routeTo));
  const isLoopback = ({ remote }: Route) => remote.startsWith('127.');
  const elsewhere = routes.find((route) => !isLoopback(route));
  const here = workers[routes.findIndex(isLoopback)];
  if (elsewhere !== undefined && here !== undefined) {
    throw new UserError(
      {
        problem: `Workers on other machines cannot reach ${here.host}:${here.port}, which is a loopback address.`,
        fix: `Start that worker with --listen ${elsewhere.local}:${here.port}, and use this address in --workers.`,
      },
      { exitCode: exitCodes.usage },
    );
  }
  // Workers fetch results from this process, at the address from which it reaches them.
  const own = await serve(addon, { host: elsewhere?.local ?? '127.0.0.1', port: 0 });
  return {
    target: `grpc://${own}`,
    addresses: [own, ...routes.map(({ remote, port }) => `${remote}:${port}`)],
    names: ['this process', ...workers.map(({ host, port }) => `${host}:${port}`)],
  };
}

/** A process that does not answer one small run within this time is not a tinyzero worker. */
const firstRunMs = 60_000;

/** Runs one small graph on every process. @throws UserError naming a worker of another version or without an answer. */
export function requireSameEngines(addon: KernelsAddon, cluster: Cluster): void {
  const graph = new Graph('about');
  const about = graph.add(nativeOps.about, [], { dtype: 'int32', shape: [2] });
  const { addresses, names, target } = cluster;
  const config = encodeConfig(addresses, firstRunMs);
  const session = addon.load(encodeGraphDef([graph], addresses.length), target, config);
  try {
    for (const [replica, name] of names.entries()) {
      const fetch = `${replicaPrefix(replica)}${tensorName(about)}`;
      let format: number | undefined;
      try {
        format = addon.run(session, addon.prepare([], [fetch]), [], [])[0]![0];
      } catch (error) {
        throw misfit(name, (error as Error).message, error);
      }
      if (format !== engineFormat) throw misfit(name, `engine format ${format} instead of ${engineFormat}`);
    }
  } finally {
    addon.close(session);
  }
}

function misfit(name: string, why: string, cause?: unknown): UserError {
  return new UserError(
    {
      problem: `The worker ${name} is incompatible with this process: ${why.replace(/\.$/, '')}.`,
      fix: 'Run the same version of tinyzero everywhere.',
    },
    { cause },
  );
}

interface Route {
  readonly local: string;
  readonly remote: string;
  readonly port: number;
}

const connectMs = 10_000;

/** Connects to a worker, once, to see that something listens there and from which address it is reached. */
async function routeTo({ host, port }: Address): Promise<Route> {
  const remote = await addressOf(host);
  return await new Promise((resolve, reject) => {
    const socket = connect({ host: remote, port, timeout: connectMs });
    const fail = (why: string) => {
      socket.destroy();
      reject(
        new UserError({
          problem: `No worker answers at ${host}:${port} (${why}).`,
          fix: `Start one there: \`tinyzero worker --listen ${host}:${port}\`.`,
        }),
      );
    };
    socket.once('connect', () => {
      const local = socket.localAddress!;
      socket.destroy();
      resolve({ local, remote, port });
    });
    socket.once('timeout', () => fail(`nothing within ${connectMs / 1000} s`));
    socket.once('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
  });
}

/** The IPv4 address of a host. TensorFlow's server listens on no other. */
async function addressOf(host: string): Promise<string> {
  try {
    return (await lookup(host, { family: 4 })).address;
  } catch (error) {
    throw new UserError(
      {
        problem: `The host ${host} has no IPv4 address.`,
        fix: 'Give a name that this machine can resolve, or an IPv4 address.',
      },
      { cause: error },
    );
  }
}

/** A worker exited or can no longer be reached. */
export class LostWorkerError extends UserError {
  constructor(worker: string, cause: Error) {
    super(
      {
        problem: `The worker ${worker} was lost: its process ended, or the network to it failed.`,
        fix: 'Resume the run with --resume and the --workers that are left, or with none.',
      },
      { cause },
    );
  }
}

/** The worker whose loss a TensorFlow error reports, if any. */
export function lostWorker(error: Error, { names, addresses }: Cluster): LostWorkerError | undefined {
  const { message } = error;
  const isLost = /UNAVAILABLE|Unavailable|failed to connect|Connection reset|Socket closed|recvmsg|Broken pipe/i.test(
    message,
  );
  if (!isLost) return undefined;
  const task = /\/job:tinyzero\/replica:0\/task:(\d+)/.exec(message)?.[1];
  const address = addresses.findIndex((each, index) => index > 0 && message.includes(each));
  const replica = address > 0 ? address : Number(task ?? -1);
  return new LostWorkerError(names[replica] ?? 'that was computing', error);
}
