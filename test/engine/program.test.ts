/** What a program promises, on every engine: state, order, all or nothing, errors. Results here are exact. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import type { TypedArray } from '../../src/engine/dtype.js';
import { updateRows } from '../../src/engine/ops/state-ops.js';
import { type FunctionSpec, NumericsError, ProgramError, type ProgramSpec } from '../../src/engine/program.js';
import { testEveryWay, type Way } from '../helpers/engines.js';
import { nativeTest } from '../helpers/native.js';

const vector = { dtype: 'float32', shape: [3] } as const;
const scalar = { dtype: 'float32', shape: [] } as const;

type Tensors = Readonly<Record<string, tf.Tensor>>;
const get = (tensors: Tensors, name: string) => tensors[name] as tf.Tensor;

/** Makes the program, runs `use`, frees it. */
function withProgram(way: Way, spec: ProgramSpec, use: (program: ReturnType<Way['create']>) => void): void {
  const program = way.create(spec);
  try {
    use(program);
  } finally {
    program.dispose();
  }
}

function fn(body: FunctionSpec['body'], rest: Partial<FunctionSpec> = {}): FunctionSpec {
  return { inputs: {}, body, ...rest };
}

const add: FunctionSpec = {
  inputs: { amount: scalar },
  body: (state, inputs) => {
    const sum = tf.add(get(state, 'x'), get(inputs, 'amount'));
    return { outputs: { before: get(state, 'x'), sum }, assign: { x: sum } };
  },
};

testEveryWay('all functions see a state update, and a function sees the state from before its call', (way) => {
  const functions = { add, double: fn((state) => ({ outputs: { twice: tf.mul(get(state, 'x'), 2) } })) };
  withProgram(way, { state: { x: vector }, functions }, (program) => {
    program.write('x', Float32Array.of(1, 2, 3));
    const first = program.run('add', { amount: Float32Array.of(10) });
    assert.deepEqual(first, { before: Float32Array.of(1, 2, 3), sum: Float32Array.of(11, 12, 13) });
    assert.deepEqual(program.run('double'), { twice: Float32Array.of(22, 24, 26) });
    assert.deepEqual(program.run('add', { amount: Float32Array.of(1) }).before, Float32Array.of(11, 12, 13));
    assert.deepEqual(program.read('x'), Float32Array.of(12, 13, 14));
  });
});

testEveryWay('outputs that differ from the declared ones are an error that names the first', (way) => {
  const run = (outputs: FunctionSpec['outputs']) => {
    const functions = { f: fn(() => ({ outputs: { sum: tf.scalar(2) } }), { outputs }) };
    withProgram(way, { state: {}, functions }, (program) => assert.deepEqual(program.run('f').sum, Float32Array.of(2)));
  };
  run({ sum: 'float32' });
  assert.throws(() => run({ sum: 'int32' }), /f: output sum: expected int32, found float32/);
  assert.throws(() => run({ sum: 'float32', more: 'bool' }), /f: output more: expected bool, found none/);
  assert.throws(() => run({}), /f: output sum: expected no such output, found float32/);
});

testEveryWay('each of 150 state tensors keeps its own values', (way) => {
  const names = Array.from({ length: 150 }, (_, i) => `tensor ${i}`);
  const state = Object.fromEntries(names.map((name, i) => [name, { ...vector, shape: [1 + (i % 3)] }]));
  const valuesOf = (i: number) => new Float32Array(1 + (i % 3)).fill(i + 0.5);
  withProgram(way, { state, functions: {} }, (program) => {
    for (const [i, name] of names.entries()) program.write(name, valuesOf(i));
    program.fill('tensor 100', 7);
    for (const [i, name] of names.entries()) {
      assert.deepEqual(program.read(name), i === 100 ? Float32Array.of(7, 7) : valuesOf(i), name);
    }
  });
});

testEveryWay('every dtype and rank can be written, filled and read', (way) => {
  const state = {
    float: { dtype: 'float32', shape: [2, 1, 2] },
    int: { dtype: 'int32', shape: [3] },
    bool: { dtype: 'bool', shape: [2] },
    scalar: { dtype: 'float32', shape: [] },
    'int scalar, with an odd name: π/β^2': { dtype: 'int32', shape: [] },
  } as const;
  withProgram(way, { state, functions: {} }, (program) => {
    const values: Record<keyof typeof state, TypedArray> = {
      float: Float32Array.of(1.5, -0, Number.NaN, Number.NEGATIVE_INFINITY),
      int: Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1),
      bool: Uint8Array.of(1, 0),
      scalar: Float32Array.of(0.1),
      'int scalar, with an odd name: π/β^2': Int32Array.of(-7),
    };
    for (const [name, each] of Object.entries(values)) program.write(name, each);
    for (const [name, each] of Object.entries(values)) assert.deepEqual(program.read(name), each, name);
    program.fill('float', 2.5);
    program.fill('int', -3);
    program.fill('bool', 1);
    program.fill('scalar', 4);
    assert.deepEqual(program.read('float'), Float32Array.of(2.5, 2.5, 2.5, 2.5));
    assert.deepEqual(program.read('int'), Int32Array.of(-3, -3, -3));
    assert.deepEqual(program.read('bool'), Uint8Array.of(1, 1));
    assert.deepEqual(program.read('scalar'), Float32Array.of(4));
    assert.deepEqual(program.read('int scalar, with an odd name: π/β^2'), Int32Array.of(-7));
  });
});

testEveryWay('names of functions, inputs and outputs may hold any characters', (way) => {
  const odd: FunctionSpec = {
    inputs: { 'ä b': scalar, ä_b: scalar },
    body: (_state, inputs) => ({
      outputs: { 'x/y:0': tf.sub(get(inputs, 'ä b'), get(inputs, 'ä_b')), '^z,': get(inputs, 'ä b') },
    }),
  };
  withProgram(way, { state: {}, functions: { 'f: ,^': odd, 'f_ __': odd } }, (program) => {
    const inputs = { 'ä b': Float32Array.of(5), ä_b: Float32Array.of(2) };
    for (const name of ['f: ,^', 'f_ __']) {
      assert.deepEqual(program.run(name, inputs), { 'x/y:0': Float32Array.of(3), '^z,': Float32Array.of(5) });
    }
  });
});

testEveryWay('two states are swapped', (way) => {
  const swap = fn((state) => ({ assign: { a: get(state, 'b'), b: get(state, 'a') } }));
  withProgram(way, { state: { a: vector, b: vector }, functions: { swap } }, (program) => {
    program.write('a', Float32Array.of(1, 2, 3));
    program.write('b', Float32Array.of(4, 5, 6));
    program.run('swap');
    assert.deepEqual([program.read('a'), program.read('b')], [Float32Array.of(4, 5, 6), Float32Array.of(1, 2, 3)]);
    program.run('swap');
    assert.deepEqual([program.read('a'), program.read('b')], [Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6)]);
  });
});

// Each of these is the input itself to an optimising graph compiler, and might share its memory.
const disguises: Record<string, (x: tf.Tensor) => tf.Tensor> = {
  'the input': (x) => x,
  'a reshaped input': (x) => x.reshape([3, 1]).reshape([1, 3]).reshape([3]),
  'the input times 1': (x) => tf.mul(x, 1),
  'the input plus 0': (x) => tf.add(x, 0),
  'the input over 1': (x) => tf.div(x, tf.ones([3])),
  'a whole slice of the input': (x) => tf.slice(x, 0, 3),
  'the input where true': (x) => tf.where(tf.ones([3], 'bool'), x, tf.zeros([3])),
};
for (const [name, disguise] of Object.entries(disguises)) {
  testEveryWay(`state assigned ${name} does not change with the caller's array`, (way) => {
    const set: FunctionSpec = {
      inputs: { x: vector },
      body: (_state, inputs) => ({ outputs: { same: get(inputs, 'x') }, assign: { a: disguise(get(inputs, 'x')) } }),
    };
    withProgram(way, { state: { a: vector }, functions: { set } }, (program) => {
      // TensorFlow uses a fed array's own memory only if that is aligned to 64 bytes: one of 16 neighbours is.
      const room = new ArrayBuffer(256);
      for (let offset = 0; offset < 64; offset += 4) {
        const array = new Float32Array(room, offset, 3);
        array.set([1, 2, 3]);
        const { same } = program.run('set', { x: array });
        array.fill(9);
        same?.fill(8);
        assert.deepEqual(program.read('a'), Float32Array.of(1, 2, 3), `offset ${offset}`);
      }
    });
  });
}

testEveryWay('written and read arrays belong to the caller', (way) => {
  withProgram(
    way,
    { state: { a: vector }, functions: { get: fn((state) => ({ outputs: { a: get(state, 'a') } })) } },
    (program) => {
      const room = new ArrayBuffer(256);
      for (let offset = 0; offset < 64; offset += 4) {
        const array = new Float32Array(room, offset, 3);
        array.set([1, 2, 3]);
        program.write('a', array);
        array.fill(9);
        program.read('a').fill(8);
        program.run('get').a?.fill(7);
        assert.deepEqual(program.read('a'), Float32Array.of(1, 2, 3));
      }
    },
  );
});

const matrix = { dtype: 'float32', shape: [4, 2] } as const;
const putRow: FunctionSpec = {
  inputs: { at: { dtype: 'int32', shape: [1] }, row: { dtype: 'float32', shape: [1, 2] } },
  body: (state, inputs) => {
    const cache = updateRows(get(state, 'cache'), get(inputs, 'at'), get(inputs, 'row'));
    return { outputs: { total: tf.sum(cache) }, assign: { cache } };
  },
};

testEveryWay('a state assigned from another does not change when the other is updated in place', (way) => {
  const copies: FunctionSpec['body'][] = [
    (state) => ({ assign: { copy: get(state, 'cache') } }),
    (state) => ({ assign: { copy: tf.mul(get(state, 'cache'), 1) } }),
    (state) => ({ assign: { copy: get(state, 'cache').reshape([2, 4]).reshape([4, 2]) } }),
  ];
  const functions = { putRow, ...Object.fromEntries(copies.map((body, index) => [`copy${index}`, fn(body)])) };
  withProgram(way, { state: { cache: matrix, copy: matrix }, functions }, (program) => {
    for (const index of copies.keys()) {
      program.fill('cache', 1);
      program.run(`copy${index}`);
      program.run('putRow', { at: Int32Array.of(1), row: Float32Array.of(5, 5) });
      assert.deepEqual(program.read('copy'), new Float32Array(8).fill(1), `copy ${index}`);
      assert.deepEqual(program.read('cache'), Float32Array.of(1, 1, 5, 5, 1, 1, 1, 1));
    }
  });
});

testEveryWay('updateRows changes rows, call after call, for all functions', (way) => {
  const sum = fn((state) => ({ outputs: { sum: tf.sum(get(state, 'cache'), 1) } }));
  withProgram(way, { state: { cache: matrix }, functions: { putRow, sum } }, (program) => {
    program.fill('cache', 0);
    for (let row = 0; row < 4; row++) {
      const { total } = program.run('putRow', { at: Int32Array.of(row), row: Float32Array.of(row, 10) });
      // 10 for each row so far, and 0 + 1 + ... + row.
      assert.deepEqual(total, Float32Array.of(10 * (row + 1) + (row * (row + 1)) / 2));
    }
    program.run('putRow', { at: Int32Array.of(2), row: Float32Array.of(0, 0) });
    assert.deepEqual(program.run('sum').sum, Float32Array.of(10, 11, 0, 13));
  });
});

testEveryWay('updateRows may take its rows from the state that it updates, and work on a reshaped state', (way) => {
  const rotate = fn((state) => {
    const cache = get(state, 'cache');
    const rows = tf.gather(cache, tf.tensor1d([3, 0, 1, 2], 'int32'));
    return { assign: { cache: updateRows(cache, tf.tensor1d([0, 1, 2, 3], 'int32'), rows) } };
  });
  const asVector = fn((state) => {
    const flat = updateRows(get(state, 'cache').reshape([8]), tf.tensor1d([7, 0], 'int32'), tf.tensor1d([70, 0.5]));
    return { assign: { cache: flat.reshape([4, 2]) } };
  });
  withProgram(way, { state: { cache: matrix }, functions: { rotate, asVector } }, (program) => {
    program.write('cache', Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7));
    program.run('rotate');
    assert.deepEqual(program.read('cache'), Float32Array.of(6, 7, 0, 1, 2, 3, 4, 5));
    program.run('asVector');
    assert.deepEqual(program.read('cache'), Float32Array.of(0.5, 7, 0, 1, 2, 3, 4, 70));
  });
});

testEveryWay(
  'checkNumerics stores nothing if anything is not finite, and names the first in the order of the results',
  (way) => {
    const divide = fn(
      (state, inputs) => {
        const [x, y] = [get(state, 'x'), get(state, 'y')];
        return {
          outputs: { fine: tf.add(x, y) },
          assign: { y: tf.add(y, 1), x: tf.div(x, get(inputs, 'by')), z: tf.log(get(inputs, 'by')) },
        };
      },
      { inputs: { by: vector }, checkNumerics: true },
    );
    withProgram(way, { state: { x: vector, y: vector, z: vector }, functions: { divide } }, (program) => {
      program.write('x', Float32Array.of(1, 1, 0));
      program.write('y', Float32Array.of(1, 2, 3));
      program.write('z', Float32Array.of(0, 0, 0));
      const attempt =
        (...by: number[]) =>
        () =>
          program.run('divide', { by: Float32Array.from(by) });
      const expectNumerics = (tensor: string, found: string) => (error: unknown) => {
        assert.ok(error instanceof NumericsError, String(error));
        assert.deepEqual([error.functionName, error.tensor, error.found], ['divide', tensor, found]);
        assert.match(error.message, /^divide: \w+ has (NaN|Inf) values\. The state is unchanged\./);
        return true;
      };
      assert.throws(attempt(0, 1, 1), expectNumerics('x', 'Inf'));
      assert.throws(attempt(1, 1, 0), expectNumerics('x', 'NaN'));
      assert.throws(attempt(0, 1, 0), expectNumerics('x', 'NaN'));
      assert.throws(attempt(1, 1, -1), expectNumerics('z', 'NaN'));
      assert.deepEqual(program.read('x'), Float32Array.of(1, 1, 0));
      assert.deepEqual(program.read('y'), Float32Array.of(1, 2, 3));
      assert.deepEqual(program.read('z'), Float32Array.of(0, 0, 0));
      assert.deepEqual(attempt(1, 1, 1)(), { fine: Float32Array.of(2, 3, 3) });
      assert.deepEqual(program.read('y'), Float32Array.of(2, 3, 4));
      program.write('y', Float32Array.of(Number.POSITIVE_INFINITY, 0, 0));
      assert.throws(attempt(0, 1, 1), expectNumerics('fine', 'Inf'));
    });
  },
);

testEveryWay('checkNumerics also prevents an update in place', (way) => {
  const functions = {
    put: fn(
      (state, inputs) => ({
        outputs: { scale: tf.mul(get(inputs, 'row'), 2) },
        assign: {
          count: tf.add(get(state, 'count'), 1),
          cache: updateRows(get(state, 'cache'), tf.tensor1d([0], 'int32'), tf.sqrt(get(inputs, 'row'))),
        },
      }),
      { inputs: { row: { dtype: 'float32', shape: [1, 2] } }, checkNumerics: true },
    ),
  };
  withProgram(way, { state: { cache: matrix, count: scalar }, functions }, (program) => {
    program.fill('cache', 1);
    program.fill('count', 0);
    assert.throws(
      () => program.run('put', { row: Float32Array.of(4, -4) }),
      (error: unknown) => error instanceof NumericsError && error.tensor === 'cache' && error.found === 'NaN',
    );
    assert.deepEqual(program.read('cache'), new Float32Array(8).fill(1));
    assert.deepEqual(program.read('count'), Float32Array.of(0));
    program.run('put', { row: Float32Array.of(4, 9) });
    assert.deepEqual(program.read('cache'), Float32Array.of(2, 3, 1, 1, 1, 1, 1, 1));
  });
});

testEveryWay('a run that fails stores nothing', (way) => {
  const look: FunctionSpec = {
    inputs: { at: { dtype: 'int32', shape: [1, 1] } },
    body: (state, inputs) => ({
      outputs: { found: tf.gatherND(get(state, 'x'), get(inputs, 'at')) },
      assign: { x: tf.add(get(state, 'x'), 1) },
    }),
  };
  withProgram(way, { state: { x: vector }, functions: { look } }, (program) => {
    program.write('x', Float32Array.of(1, 2, 3));
    // WebAssembly and GPUs do not check indices, so they have nothing to fail on.
    if (way.name !== 'wasm' && way.engine.device === 'cpu') {
      assert.throws(() => program.run('look', { at: Int32Array.of(5) }), /5|indices/);
      assert.deepEqual(program.read('x'), Float32Array.of(1, 2, 3));
    }
    assert.deepEqual(program.run('look', { at: Int32Array.of(1) }), { found: Float32Array.of(2) });
    assert.deepEqual(program.read('x'), Float32Array.of(2, 3, 4));
  });
});

testEveryWay('a state that is first used inside a tidy can be used after it', (way) => {
  const twice = fn((state) => {
    const inner = tf.tidy(() => tf.mul(get(state, 'x'), 2));
    return { outputs: { sum: tf.add(inner, get(state, 'x')) } };
  });
  withProgram(way, { state: { x: vector }, functions: { twice } }, (program) => {
    program.write('x', Float32Array.of(1, 2, 3));
    for (let run = 0; run < 2; run++) assert.deepEqual(program.run('twice').sum, Float32Array.of(3, 6, 9));
  });
});

testEveryWay("programs do not see each other's state", (way) => {
  const spec = { state: { x: vector }, functions: { add } };
  withProgram(way, spec, (one) =>
    withProgram(way, spec, (other) => {
      one.write('x', Float32Array.of(1, 1, 1));
      other.write('x', Float32Array.of(2, 2, 2));
      one.run('add', { amount: Float32Array.of(5) });
      assert.deepEqual([one.read('x'), other.read('x')], [Float32Array.of(6, 6, 6), Float32Array.of(2, 2, 2)]);
    }),
  );
});

testEveryWay('an invalid call is rejected, with what was expected and what was found', (way) => {
  withProgram(way, { state: { x: vector }, functions: { add } }, (program) => {
    const refuses = (call: () => unknown, message: RegExp) =>
      assert.throws(call, (error: unknown) => {
        assert.ok(error instanceof ProgramError, String(error));
        assert.match(error.message, message);
        return true;
      });
    const amount = Float32Array.of(1);
    refuses(() => program.run('add', { amount }), /^add reads state x, which was never written$/);
    refuses(() => program.read('x'), /reads state x, which was never written$/);
    program.fill('x', 0);
    refuses(() => program.run('sub', { amount }), /^no function is named sub; there are add$/);
    refuses(() => program.run('toString'), /^no function is named toString; there are add$/);
    refuses(() => program.write('y', amount), /^no state is named y; there are x$/);
    refuses(() => program.run('add'), /^add: input amount \(float32 \[\]\) is missing$/);
    refuses(() => program.run('add', { amount, more: amount }), /^no input of add is named more; there are amount$/);
    refuses(
      () => program.run('add', { amount: Float32Array.of(1, 2) }),
      /^add: input amount: expected 1 values for shape \[\], found 2$/,
    );
    refuses(
      () => program.run('add', { amount: Int32Array.of(1) }),
      /^add: input amount: expected float32 \[\], found int32$/,
    );
    refuses(
      () => program.run('add', { amount: [1] as never }),
      /^add: input amount: expected float32 \[\], found a plain array$/,
    );
    refuses(
      () => program.run('add', { amount: 1 as never }),
      /^add: input amount: expected float32 \[\], found number$/,
    );
    refuses(() => program.run('add', { amount: Float64Array.of(1) as never }), /expected float32 \[\], found /);
    refuses(() => program.write('x', Float32Array.of(1, 2)), /^state x: expected 3 values for shape \[3\], found 2$/);
    refuses(() => program.write('x', Int32Array.of(1, 2, 3)), /^state x: expected float32 \[3\], found int32$/);
    assert.deepEqual(program.read('x'), Float32Array.of(0, 0, 0));
    program.dispose();
    for (const call of [() => program.run('add', { amount }), () => program.read('x'), () => program.fill('x', 1)]) {
      refuses(call, /: the program has been disposed$/);
    }
    program.dispose();
  });
});

/** The error that making (compiled) or first running (op by op) the program gives. */
function failure(way: Way, spec: ProgramSpec): Error {
  try {
    withProgram(way, spec, (program) => {
      for (const name of Object.keys(spec.state)) program.fill(name, 1);
      program.run('f');
    });
  } catch (error) {
    return error as Error;
  }
  return assert.fail('nothing was refused');
}

testEveryWay('a result that does not match the state is rejected, with both types', (way) => {
  const of = (body: FunctionSpec['body']) => failure(way, { state: { x: vector }, functions: { f: fn(body) } }).message;
  assert.match(
    of(() => ({ assign: { x: tf.ones([2]) } })),
    /^f: state x is float32 \[3\], but float32 \[2\] was assigned to it$/,
  );
  assert.match(
    of(() => ({ assign: { x: tf.ones([3], 'int32') } })),
    /^f: state x is float32 \[3\], but int32 \[3\] was assigned/,
  );
  assert.match(
    of(() => ({ assign: { y: tf.ones([3]) } })),
    /^no state is named y; there are x$/,
  );
});

nativeTest('uses of a value that an update in place destroys are rejected when compiled', async () => {
  const { compiledWay } = await import('../helpers/engines.js');
  const way = await compiledWay();
  const rows = () => [tf.tensor1d([0], 'int32'), tf.ones([1, 2])] as const;
  const refused = (body: FunctionSpec['body'], rest: Partial<FunctionSpec> = {}) => {
    const error = failure(way, { state: { cache: matrix, other: matrix }, functions: { f: fn(body, rest) } });
    assert.ok(error instanceof ProgramError, String(error));
    return error.message;
  };
  // The old value together with the new one, as an output, and as another state.
  const old = /^f: state cache is updated in place, but .+ uses its old value; use the updated tensor$/;
  assert.match(
    refused((state) => {
      const cache = updateRows(get(state, 'cache'), ...rows());
      return { outputs: { change: tf.sub(cache, get(state, 'cache')) }, assign: { cache } };
    }),
    old,
  );
  assert.match(
    refused((state) => ({
      outputs: { before: get(state, 'cache').reshape([8]) },
      assign: { cache: updateRows(get(state, 'cache'), ...rows()) },
    })),
    old,
  );
  assert.match(
    refused((state) => ({
      assign: { cache: updateRows(get(state, 'cache'), ...rows()), other: get(state, 'cache') },
    })),
    old,
  );
  // Without an assignment the state would change all the same.
  const unassigned = /^f: state cache is updated in place, so the updated tensor must be assigned to cache$/;
  assert.match(
    refused((state) => ({ outputs: { sum: tf.sum(updateRows(get(state, 'cache'), ...rows())) } })),
    unassigned,
  );
  assert.match(
    refused((state) => ({ assign: { cache: tf.add(updateRows(get(state, 'cache'), ...rows()), 1) } })),
    unassigned,
  );
  assert.match(
    refused((state) => ({ assign: { other: updateRows(get(state, 'cache'), ...rows()) } })),
    unassigned,
  );
  // The check comes too late.
  assert.match(
    refused(
      (state) => {
        const cache = updateRows(get(state, 'cache'), ...rows());
        return { outputs: { log: tf.log(cache) }, assign: { cache } };
      },
      { checkNumerics: true },
    ),
    /^f: log depends on an update in place, which could not be undone if log were not finite/,
  );
});
