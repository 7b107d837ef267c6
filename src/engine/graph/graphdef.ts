/**
 * @file The messages that TensorFlow reads: graphs as a GraphDef (graph.proto, node_def.proto, attr_value.proto,
 * tensor.proto) or a SavedModel (saved_model.proto, meta_graph.proto), which tfjs-node's addon requires, and the
 * configuration of sessions and servers (config.proto, rewriter_config.proto, cluster.proto, tensorflow_server.proto).
 */
import { dtypeNumbers } from '../dtype.js';
import type { Shape } from '../shape.js';
import type { Attribute, ConstantValue, Graph, GraphNode, Output } from './graph.js';
import type { Message } from './protobuf.js';
import * as proto from './protobuf.js';

/** Version of the GraphDefs: that of TensorFlow 2.9, the oldest supported library. Newer ones can read it. */
const graphDefVersion = 1087;

/** The tag under which the addon finds the graph. */
export const savedModelTag = 'serve';

/**
 * A GraphDef with the nodes of all `graphs`; node names must be unique.
 *
 * @param replicas processes of a cluster: each computes a copy of every graph, and its part of a joint one.
 */
export function encodeGraphDef(graphs: readonly Graph[], replicas = 1): Uint8Array {
  return proto.toBytes(graphDefOf(graphs, replicas));
}

/** The bytes of a `saved_model.pb` with the same content. */
export function encodeSavedModel(graphs: readonly Graph[]): Uint8Array {
  const metaInfo = proto.message();
  proto.string(metaInfo, 4, savedModelTag);
  const metaGraph = proto.message();
  proto.nested(metaGraph, 1, metaInfo);
  proto.nested(metaGraph, 2, graphDefOf(graphs, 1));

  const savedModel = proto.message();
  proto.integer(savedModel, 1, 1);
  proto.nested(savedModel, 2, metaGraph);
  return proto.toBytes(savedModel);
}

function graphDefOf(graphs: readonly Graph[], replicas: number): Message {
  const graphDef = proto.message();
  for (let replica = 0; replica < replicas; replica++) {
    const prefix = replicaPrefix(replica);
    for (const graph of graphs) {
      if (graph.joint && replica > 0) continue;
      for (const node of graph.nodes) {
        const device = replicas > 1 ? replicaDevice(node.replica ?? replica) : '';
        proto.nested(graphDef, 1, encodeNode(node, prefix, device));
      }
    }
  }
  const versions = proto.message();
  proto.integer(versions, 1, graphDefVersion);
  proto.nested(graphDef, 4, versions);
  return graphDef;
}

/** `name:1`, the name of a tensor in a GraphDef and for the addon. */
export function tensorName(output: Output): string {
  return `${output.node.name}:${output.index}`;
}

/** The job of all processes of a cluster; replica i is its task i. */
export const clusterJob = 'tinyzero';

/** Where TensorFlow places the nodes of a replica. */
function replicaDevice(replica: number): string {
  return `/job:${clusterJob}/task:${replica}`;
}

/** The prefix of the names of a replica's nodes. */
export function replicaPrefix(replica: number): string {
  return replica === 0 ? '' : `replica_${replica}/`;
}

function encodeNode(node: GraphNode, prefix: string, device: string): Message {
  const result = proto.message();
  proto.string(result, 1, `${prefix}${node.name}`);
  proto.string(result, 2, node.op);
  for (const input of node.inputs) proto.string(result, 3, `${prefix}${tensorName(input)}`);
  for (const control of node.control) proto.string(result, 3, `^${prefix}${control.name}`);
  if (device !== '') proto.string(result, 4, device);
  for (const [name, attribute] of Object.entries(node.attributes)) {
    const entry = proto.message();
    proto.string(entry, 1, name);
    proto.nested(entry, 2, encodeAttribute(attribute));
    proto.nested(result, 5, entry);
  }
  return result;
}

function encodeAttribute(attribute: Attribute): Message {
  const result = proto.message();
  if ('type' in attribute) proto.integer(result, 6, dtypeNumbers[attribute.type]);
  else if ('int' in attribute) proto.integer(result, 3, attribute.int);
  else if ('float' in attribute) proto.float(result, 4, attribute.float);
  else if ('bool' in attribute) proto.integer(result, 5, attribute.bool ? 1 : 0);
  else if ('string' in attribute) proto.string(result, 2, attribute.string);
  else if ('shape' in attribute) proto.nested(result, 7, encodeShape(attribute.shape));
  else if ('unknownShape' in attribute) {
    const shape = proto.message();
    proto.integer(shape, 3, 1);
    proto.nested(result, 7, shape);
  } else if ('ints' in attribute) {
    const list = proto.message();
    proto.packedIntegers(list, 3, attribute.ints);
    proto.nested(result, 1, list);
  } else proto.nested(result, 8, encodeConstant(attribute.tensor));
  return result;
}

function encodeConstant({ dtype, shape, data }: ConstantValue): Message {
  const result = proto.message();
  proto.integer(result, 1, dtypeNumbers[dtype]);
  proto.nested(result, 2, encodeShape(shape));
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data.length === 1) {
    // One element in a `*_val` field stands for all elements; tensor_content has no such rule.
    if (dtype === 'float32') {
      proto.bytes(result, 5, raw);
    } else {
      proto.packedIntegers(result, dtype === 'bool' ? 11 : 7, [data[0]!]);
    }
  } else {
    proto.bytes(result, 4, raw);
  }
  return result;
}

function encodeShape(shape: Shape): Message {
  const result = proto.message();
  for (const dimension of shape) {
    const size = proto.message();
    proto.integer(size, 1, dimension);
    proto.nested(result, 2, size);
  }
  return result;
}

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
  proto.integer(experimental, 12, 1); // optimize_for_static_graph: the GraphDef is not kept next to the graph
  proto.integer(experimental, 14, 1); // disable_output_partition_graphs: nor the part of it that a function runs

  const config = proto.message();
  proto.nested(config, 10, graphOptions);
  if (timeoutMs > 0) proto.integer(config, 11, timeoutMs); // operation_timeout_in_ms
  if (addresses.length > 0) {
    proto.nested(config, 14, clusterOf(clusterJob, addresses));
    proto.integer(config, 15, 1); // isolate_session_state: a session's variables are freed with it
  }
  proto.nested(config, 16, experimental);
  return config;
}

/** The job name that a server starts with. Sessions then give it another; TensorFlow refuses the same one. */
const waitingJob = 'waiting';

/** The ServerDef of a server that knows no other processes at first; sessions name them later. */
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
export function clusterOf(name: string, addresses: readonly string[]): Message {
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
