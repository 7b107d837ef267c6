/** @file What the scripts of both pages share, as text: elements, the status line, and multiplication tables whose cells are marked. */
export const tableScript = `
const byId = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const state = (text) => { byId('state').textContent = text; };
const signs = { right: '●', near: '◐', wrong: '○' };

/** An empty table, and its cells by their factors: '7 8'. */
function productTable(factors, heldOut, title) {
  const table = make('table');
  const caption = make('caption', { textContent: title });
  table.append(caption, make('tr', {}, make('td'), ...factors.map((b) => make('th', { scope: 'col', textContent: b }))));
  const cells = new Map();
  for (const a of factors) {
    const row = make('tr', {}, make('th', { scope: 'row', textContent: a }));
    for (const b of factors) {
      const cell = make('td');
      if (heldOut.includes(Math.min(a, b) + '×' + Math.max(a, b))) cell.classList.add('held');
      cells.set(a + ' ' + b, cell);
      row.append(cell);
    }
    table.append(row);
  }
  return { table, caption, cells };
}

/** Shows an answer in the cell of the factors in \`name\`. */
function markCell(cell, name, mark, text, reward) {
  const product = name.replace(' ', ' × ');
  cell.classList.remove(...Object.keys(signs));
  cell.classList.add(mark);
  cell.textContent = signs[mark];
  cell.title = product + ': ' + text + ' (reward ' + reward + ')';
  cell.setAttribute('aria-label', product + ', ' + mark);
}
`;
