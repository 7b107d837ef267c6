import assert from 'node:assert/strict';
import { test } from 'node:test';
import { html, trusted } from '../../src/report/html.js';

test('every value is escaped, in text and in attributes; only HTML made here is not', () => {
  const hostile = `</p><script>alert('1')</script> & "quoted"`;
  const inner = html`<b title="${hostile}">${hostile}</b>`;
  const escaped = '&lt;/p&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;quoted&quot;';
  assert.equal(inner.markup, `<b title="${escaped}">${escaped}</b>`);
  assert.equal(html`<p>${inner}</p>`.markup, `<p>${inner.markup}</p>`);
  assert.equal(html`<p>${trusted('<svg></svg>')}</p>`.markup, '<p><svg></svg></p>');
  // What only looks like our HTML is text.
  assert.equal(html`${String({ markup: '<b>' })}`.markup, '[object Object]');
});

test('lists are joined at any depth, false and undefined leave nothing, 0 is a number', () => {
  assert.equal(html`<ul>${[1, [2, html`<li>`], ['<']]}</ul>`.markup, '<ul>12<li>&lt;</ul>');
  assert.equal(html`${false}${undefined}${0}${''}`.markup, '0');
});
