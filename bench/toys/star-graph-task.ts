/**
 * @file The star graph, a task on which policy gradients are known to fail. A start node has three arms of three nodes, and
 * the edges are listed in random order. The question asks for the path from the start to the end of a given arm. A model
 * trained to predict the next token learns to follow edges but guesses the first one, so 1/3 is right (Bachmann and
 * Nagarajan, "The Pitfalls of Next-Token Prediction", 2024, arXiv 2403.06963). Policy gradients leave it there (Zhou et
 * al., "Q♯", 2025, arXiv 2502.20548).
 *
 *     tinyzero train --task bench/toys/star-graph-task.ts --model FOLDER
 *
 * Uses only the built-in model's vocabulary: nodes are digits, `3=7` is an edge.
 */
import { defineTask, type Random } from 'tinyzero';

export const degree = 3;
const arm = 3;

export interface StarGraph {
  readonly edges: readonly (readonly [number, number])[];
  /** From the start to the asked end. */
  readonly path: readonly number[];
}

/** @param heldOut whether the graph is one to test on, by a rule about its two ends. */
export function drawGraph(random: Random, heldOut: boolean): StarGraph {
  return drawArms(random, degree, heldOut);
}

/** A graph with as many nodes but one arm: a walk along all of its edges, in which nothing is to be guessed. Not held out. */
export function drawWalk(random: Random): StarGraph {
  return drawArms(random, 1, false);
}

function drawArms(random: Random, arms: number, heldOut: boolean): StarGraph {
  const length = (degree * arm) / arms;
  for (;;) {
    const [start, ...nodes] = random.shuffle([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) as [number, ...number[]];
    const paths = Array.from({ length: arms }, (_, i) => [start, ...nodes.slice(i * length, (i + 1) * length)]);
    const edges = paths.flatMap((path) => path.slice(1).map((node, i) => [path[i]!, node] as const));
    const path = random.pick(paths);
    if (((3 * start + path.at(-1)!) % 7 === 0) === heldOut) return { edges: random.shuffle(edges), path };
  }
}

export const promptOf = ({ edges, path }: StarGraph) =>
  `${edges.map(([from, to]) => `${from}=${to}`).join(', ')}. ${path[0]} + ${path.at(-1)}?\n`;

export const solutionOf = ({ path }: StarGraph) => path.join(', ');

export default defineTask<StarGraph>({
  name: 'star graph',
  problems: (random, n) => Array.from({ length: n }, () => drawGraph(random, false)),
  heldOut: (random, n) => Array.from({ length: n }, () => drawGraph(random, true)),
  prompt: promptOf,
  solution: solutionOf,
  reward: (completion, graph, { finished }) => {
    const exact = finished && completion === solutionOf(graph);
    return { reward: Number(exact), exact, parsed: /^\d(, \d)*$/.test(completion), parts: {} };
  },
});
