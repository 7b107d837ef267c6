import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderTemplate } from '../../../src/model/checkpoint/chat-template.js';
import { readFixture } from '../../helpers/files.js';

test('every template style renders as in the reference', () => {
  const { templates, cases } = readFixture('chat-templates.json');
  assert.ok(cases.length >= 32);
  for (const { style, messages, bos_token, add_generation_prompt, rendered } of cases) {
    const variables = { messages, add_generation_prompt, tools: null, documents: null };
    const text = renderTemplate(templates[style], bos_token === null ? variables : { ...variables, bos_token });
    assert.equal(text, rendered, style);
  }
});

test('results of filters and methods within the limits are unchanged', () => {
  const cases: [string, string][] = [
    ["{{ range(3) | join('-') }} {{ range(1, 7, 2) | list }} {{ range(3, 0, -1) | join }}", '0-1-2 [1, 3, 5] 321'],
    [
      "{{ 'banana'.replace('a', 'oo') }} {{ 'banana' | replace('a', 'o') }} {{ 'ab'['replace']('a', 'c') }}",
      'boonoonoo bonono cb',
    ],
    ["{{ 'banana'.replace('a', 'o', 1) }} {{ 'abc' | join('+') }}", 'bonana a+b+c'],
    ["{{ 'a\\nb' | indent(2) }}|{{ 'a\\nb' | indent(width=2, first=true) }}", 'a\n  b|  a\n  b'],
    ['{{ {"a": [1, 2]} | tojson(indent=1) }}', '{\n "a": [\n  1,\n  2\n ]\n}'],
    ["{% filter replace('a', 'b') %}aa{% endfilter %}{% filter upper %}x{% endfilter %}", 'bbX'],
    [
      '{% set ns = namespace(n=0) %}{% for i in range(1000) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}',
      '499500',
    ],
    ["{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('a') ~ m('b'.upper()) }}", '<a><B>'],
  ];
  for (const [template, expected] of cases) assert.equal(renderTemplate(template, {}), expected, template);
});

const doubling = (change: string) =>
  `{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ${change} %}{% endfor %}{{ ns.x }}`;

test('a template that would run forever or exhaust the memory is rejected', () => {
  const loops = (depth: number) => '{% for i in range(1000) %}'.repeat(depth) + '{% endfor %}'.repeat(depth);
  const cases: [string, RegExp][] = [
    ['{{ range(1000000000) }}', /value of more than/],
    ['{{ range(0, 1e300, 1e290) | length }}', /value of more than|steps|longer/],
    ['{{ range(0, 1, 0) }}', /value of more than/],
    ['{% set r = range %}{{ r(1000000000) }}', /value of more than/],
    ['{% call range(1000000000) %}{% endcall %}', /value of more than/],
    [loops(4), /steps|longer/],
    [doubling('ns.x ~ ns.x'), /value of more than|too many/],
    [doubling('ns.x + ns.x'), /value of more than|too many/],
    [doubling('[ns.x, ns.x]'), /value of more than|too many|nested/],
    [doubling("ns.x.replace('a', ns.x)"), /value of more than/],
    [doubling("ns.x | replace('a', ns.x)"), /value of more than/],
    [doubling("ns.x | replace('', ns.x)"), /value of more than/],
    [doubling('ns.x | join(ns.x)'), /value of more than/],
    [doubling('[ns.x] + [ns.x] | join(ns.x)'), /value of more than|too many/],
    ['{{ "a\n\nb" | indent(1000000000) }}', /value of more than/],
    ['{{ [1, [2]] | tojson(indent=1000000000) }}', /value of more than/],
    ['{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}', /nested|call stack/],
    ['{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}', /./],
    [`{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`, /call stack/],
    [`{% set x = 'ab' * 1 %}`, /Unknown operator/],
    [
      `{% set x = range(9999) | join(',') %}${Array.from({ length: 6000 }, (_, i) => `{% set a${i} = x.upper() %}`).join('')}`,
      /values of more than/,
    ],
    ['\n'.repeat(3_000_000), /more than 262144 characters/],
    ['{'.repeat(250_000), /./],
    ["{{ raise_exception('no') }}", /^no$/],
  ];
  for (const [template, reason] of cases) {
    assert.throws(
      () => renderTemplate(template, {}),
      (error) => error instanceof Error && reason.test(error.message),
      template.slice(0, 80),
    );
  }
});

test('a failed template leaves the interpreter unchanged', () => {
  assert.throws(() => renderTemplate('{{ range(1000000000) }}', {}));
  assert.equal(renderTemplate('{{ range(2) }}', {}), '[0, 1]');
});
