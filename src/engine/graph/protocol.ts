/**
 * @file Messages that configure TensorFlow's sessions and servers (config.proto, rewriter_config.proto, cluster.proto,
 * tensorflow_server.proto).
 */
import { clusterJob } from './graphdef.js';
import type { Message } from './protobuf.js';
import * as proto from './protobuf.js';

/**
 * A ConfigProto. TensorFlow's graph optimiser is off: it finds almost nothing in these graphs, and reads the whole graph for
 * each function. Threads do not spin while they wait, which would slow down those that work.
 *
 * @param addresses `address:port` of the processes among which a session divides its graph; none: it runs in one.
 * @param timeoutMs after which every call fails; 0: never.
 */
export function encodeConfig(addresses: readonly string[] = [], timeoutMs = 0): Uint8Array {
  return proto.toBytes(configOf(addresses, timeoutMs));
}

/** A ConfigProto with which TensorFlow takes at most this share, 0 to 1, of a GPU's memory. */
export function encodeGpuShare(share: number): Uint8Array {
  const gpu = proto.message();
  proto.double(gpu, 1, share); // per_process_gpu_memory_fraction
  const config = proto.message();
  proto.nested(config, 6, gpu);
  return proto.toBytes(config);
}

function configOf(addresses: readonly string[], timeoutMs: number): Message {
  const rewriting = proto.message();
  proto.integer(rewriting, 19, 1); // disable_meta_optimizer
  const graphOptions = proto.message();
  proto.nested(graphOptions, 10, rewriting);
  const experimental = proto.message();
  proto.integer(experimental, 9, 1); // disable_thread_spinning

  const config = proto.message();
  proto.nested(config, 10, graphOptions);
  if (timeoutMs > 0) proto.integer(config, 11, timeoutMs); // operation_timeout_in_ms
  if (addresses.length > 0) {
    proto.nested(config, 14, clusterOf(clusterJob, addresses));
    proto.integer(config, 15, 1); // isolate_session_state: a session's variables go with it
  }
  proto.nested(config, 16, experimental);
  return config;
}

/** Sessions give a server another name than it started with; TensorFlow refuses the same one. */
const waitingJob = 'waiting';

/** A ServerDef of a server that knows no other process: sessions tell it of them. */
export function encodeServer(address: string): Uint8Array {
  const server = proto.message();
  proto.nested(server, 1, clusterOf(waitingJob, [address]));
  proto.string(server, 2, waitingJob);
  proto.integer(server, 3, 0);
  proto.nested(server, 4, configOf([], 0));
  proto.string(server, 5, 'grpc');
  return proto.toBytes(server);
}

/** A ClusterDef with one job, whose task i has the i-th address. */
function clusterOf(name: string, addresses: readonly string[]): Message {
  const job = proto.message();
  proto.string(job, 1, name);
  for (const [index, address] of addresses.entries()) {
    const task = proto.message();
    proto.integer(task, 1, index);
    proto.string(task, 2, address);
    proto.nested(job, 2, task);
  }
  const cluster = proto.message();
  proto.nested(cluster, 1, job);
  return cluster;
}
