"use strict";
/* What the pages share: the choice of colours, and the keys of a matrix. */
(() => {
  const theme = document.getElementById("theme");
  theme.parentElement.hidden = false;
  const remembered = (() => { try { return localStorage.getItem("quantcheck-colours"); } catch { return null; } })();
  function colours(name) {
    if (name) document.documentElement.dataset.theme = name;
    else delete document.documentElement.dataset.theme;
  }
  if (["light", "dark"].includes(remembered)) { theme.value = remembered; colours(remembered); }
  theme.addEventListener("change", () => {
    colours(theme.value);
    try { localStorage.setItem("quantcheck-colours", theme.value); } catch { /* a page may have no storage */ }
  });
})();

/* One of the cells of a table is in the order of focus, arrow keys go to the others. `cells` gives
   the visible ones by row. */
function roving(table, cells) {
  const grid = { current: null, rove };
  function rove(cell) {
    if (grid.current) grid.current.tabIndex = -1;
    grid.current = cell || null;
    if (grid.current) grid.current.tabIndex = 0;
  }
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td button, td a");
    if (!cell || event.altKey || event.metaKey) return;
    const rows = cells();
    const y = rows.findIndex((row) => row.includes(cell));
    if (y < 0) return;
    const x = rows[y].indexOf(cell);
    const jump = event.ctrlKey ? rows.length : 0;
    const to = {
      ArrowUp: [y - 1, x], ArrowDown: [y + 1, x], ArrowLeft: [y, x - 1], ArrowRight: [y, x + 1],
      PageUp: [y - 10, x], PageDown: [y + 10, x], Home: [y - jump, 0], End: [y + jump, rows[y].length - 1],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    const row = rows[Math.min(Math.max(to[0], 0), rows.length - 1)];
    const next = row[Math.min(Math.max(to[1], 0), row.length - 1)];
    rove(next);
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  return grid;
}

