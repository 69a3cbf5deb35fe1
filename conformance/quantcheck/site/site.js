/* The filters of the matrix. Other pages have none. */
(() => {
  const table = document.getElementById("matrix");
  const filters = document.getElementById("filters");
  if (!table || !filters) return;
  const one = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  one("filter").hidden = false;
  if (matchMedia("(max-width: 700px)").matches) one("filter").open = false;
  one("keys").hidden = false;
  const rows = all("tbody tr[id]", table).map((row) => ({
    row, words: row.dataset.words.toLowerCase(), cells: all("td[data-column]", row),
  }));
  const columns = all("thead [data-column]", table);
  const chosen = (name) => all(`input[name="${name}"]`, filters).filter((box) => box.checked).map((box) => box.value);
  const checked = (id) => Boolean(one(id)?.checked);
  const visible = (cell) => !cell.closest("[hidden]");
  const grid = roving(table, () => rows.filter(({ row }) => visible(row))
    .map(({ cells }) => cells.filter((cell) => !cell.hidden).map((cell) => cell.firstElementChild))
    .filter((found) => found.length));
  for (const { cells } of rows) for (const cell of cells) cell.firstElementChild.tabIndex = -1;

  function showColumns() {
    const several = all('input[name="line"]', filters).length > 0;
    const lines = new Set(chosen("line"));
    const fits = (cell) => (!several || lines.has(cell.dataset.line)) && (!checked("newest") || "newest" in cell.dataset);
    for (const cell of all("[data-column]", table)) cell.hidden = !fits(cell);
    for (const head of all("th.line", table)) {
      const left = columns.filter((column) => column.dataset.line === head.dataset.line && !column.hidden).length;
      head.hidden = left === 0;
      head.colSpan = Math.max(left, 1);
    }
    return columns.filter((column) => !column.hidden).length;
  }
  function filter() {
    const wanted = one("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const section = one("section").value;
    const verdicts = new Set(chosen("verdict"));
    const number = showColumns();
    let shown = 0;
    for (const { row, words, cells } of rows) {
      const found = cells.filter((cell) => !cell.hidden).map((cell) => cell.dataset.verdict);
      const fits = (!section || row.parentElement.dataset.section === section)
        && wanted.every((word) => words.includes(word))
        && found.some((verdict) => verdicts.has(verdict))
        && (!checked("unlike") || new Set(found).size > 1);
      row.hidden = !fits;
      shown += fits;
    }
    for (const body of all("tbody", table)) body.hidden = all("tr[id]:not([hidden])", body).length === 0;
    one("none").hidden = shown > 0 || rows.length === 0;
    one("result").textContent = `${shown} of ${rows.length} requirements, ${number} of ${columns.length} targets`;
    grid.rove(grid.current && visible(grid.current) ? grid.current
      : all("tbody tr[id]:not([hidden]) td:not([hidden]) a", table)[0]);
  }
  let waiting = 0;
  filters.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(filter));
  filter();
})();
