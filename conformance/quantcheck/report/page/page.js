(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const one = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const table = one("matrix");
  const dialog = one("case");
  const filters = one("filters");

  /* Everything that came from a target becomes text here, never markup. */
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }
  function prose(text) {
    return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
      if (/^`.+`$/.test(part)) return make("code", {}, part.slice(1, -1));
      if (/^\*\*.+\*\*$/.test(part)) return make("strong", {}, part.slice(2, -2));
      return part;
    });
  }
  const say = (text) => { one("said").textContent = text; };

  /* Filters */
  filters.hidden = false;
  one("keys").hidden = false;
  const rows = all("tr[data-id]", table);
  const indexed = new Map(rows.map((row) => [row, words(row.dataset.id)]));
  function words(id) {
    const requirement = data.requirements[id];
    const told = Object.values(data.cells[id]).flatMap((cell) =>
      cell.worst ? [cell.worst.case, cell.worst.message, cell.worst.reason, cell.operation, cell.title] : []);
    return [id, requirement.paragraph, requirement.check, requirement.level, requirement.source, ...told].join("\n").toLowerCase();
  }
  const chosen = (name) => all(`input[name="${name}"]`, filters).filter((box) => box.checked).map((box) => box.value);
  function filter() {
    const wanted = one("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const section = one("section").value;
    const verdicts = new Set(chosen("verdict"));
    const targets = new Set(data.targets.length > 1 ? chosen("target") : ["0"]);
    for (const cell of all("[data-target]", table)) cell.hidden = !targets.has(cell.dataset.target);
    let shown = 0;
    for (const body of all("tbody", table)) {
      let any = false;
      for (const row of all("tr[data-id]", body)) {
        const fits = (!section || body.dataset.section === section)
          && wanted.every((word) => indexed.get(row).includes(word))
          && all("td[data-target]:not([hidden]) button", row).some((cell) => verdicts.has(cell.dataset.verdict));
        row.hidden = !fits;
        any ||= fits;
        shown += fits;
      }
      body.hidden = !any;
    }
    one("none").hidden = shown > 0 || rows.length === 0;
    one("result").textContent = `${shown} of ${rows.length} requirements, ${targets.size} of ${data.targets.length} targets`;
    grid.rove(grid.current && visible(grid.current) ? grid.current : cells().flat()[0]);
  }
  let waiting = 0;
  filters.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(filter));

  /* Cells: one of them is in the order of focus, arrow keys go to the others. */
  const visible = (button) => !button.closest("[hidden]");
  const cells = () => rows.filter((row) => !row.closest("[hidden]"))
    .map((row) => all("td[data-target]:not([hidden]) button", row)).filter((found) => found.length);
  const grid = roving(table, cells);
  const place = (button) => [button.closest("tr").dataset.id, Number(button.closest("td").dataset.target)];
  table.addEventListener("click", (event) => {
    const button = event.target.closest("td button");
    if (button) open(button);
  });

  /* A case */
  function open(button) {
    grid.rove(button);
    const [id, target] = place(button);
    for (const other of all('[aria-expanded="true"]', table)) other.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-expanded", "true");
    one("case-title").textContent = `${id} on ${data.targets[target]}`;
    const list = deviations();
    one("previous").disabled = !list.some((other) => before(other, button));
    one("next").disabled = !list.some((other) => before(button, other));
    const body = one("case-body");
    body.replaceChildren();
    if (!dialog.open) dialog.showModal();
    body.append(...story(id, target, body.clientWidth - 40));
    body.scrollTop = 0;
    body.focus({ preventScroll: true });
    history.replaceState(null, "", `#${id}/${target + 1}`);
  }
  const before = (a, b) => a !== b && Boolean(a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING);
  const deviations = () => cells().flat().filter((button) => data.failed.includes(button.dataset.verdict));
  one("close").addEventListener("click", () => dialog.close());
  one("next").addEventListener("click", () => open(deviations().find((other) => before(grid.current, other))));
  one("previous").addEventListener("click", () => open(deviations().findLast((other) => before(other, grid.current))));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    if (!grid.current) return;
    grid.current.setAttribute("aria-expanded", "false");
    grid.current.focus();
    history.replaceState(null, "", location.pathname + location.search);
  });

  function story(id, target, width) {
    const requirement = data.requirements[id];
    const cell = data.cells[id][target];
    const verdict = cell ? cell.verdict : "not covered";
    const parts = [
      make("p", {}, make("span", { class: `verdict ${data.classes[verdict]}` }, `${data.symbols[verdict]} ${verdict}`),
        ` ${Object.entries(cell ? cell.counts : {}).map(([name, number]) => `${number} ${name}`).join(", ")}`),
      make("blockquote", {}, make("p", { class: "muted small" }, `${id}, check: ${requirement.check}, level: ${requirement.level}, source: ${requirement.source}`),
        make("p", {}, ...prose(requirement.paragraph)),
        requirement.basis ? make("p", { class: "small" }, requirement.basis) : null),
    ];
    if (!cell || !cell.worst) {
      parts.push(make("p", {}, verdict === "unsupported" ? "The target does not have this operation."
        : "No case of this run judges this requirement on this target."));
      return parts;
    }
    const worst = cell.worst;
    const failed = data.failed.includes(verdict);
    parts.push(make("h3", {}, failed || verdict === "difference" ? "The worst case" : "The case nearest to its bound"), facts(cell, worst));
    parts.push(...pictures(worst.evidence, width));
    if (cell.left) parts.push(make("h3", {}, "Messages of the target"), pre(cell.left));
    if (cell.reproduction.length) parts.push(...copyable("To reproduce it", cell.reproduction.join("\n")));
    for (const text of cell.vectors) {
      const [head, block] = copyable("The smallest failing example, as a vector", text);
      parts.push(head, block);
    }
    parts.push(...copyable("To run it again", cell.command));
    if (cell.deviating.length > 1) {
      const list = make("ul", { class: "cases" }, ...cell.deviating.map(([name, came, message]) =>
        make("li", {}, make("code", {}, name), ` ${data.symbols[came]} ${came}: ${message}`)));
      const summary = `All ${cell.deviating.length + cell.more} cases that do not pass`;
      parts.push(make("details", {}, make("summary", {}, summary), list,
        cell.more ? make("p", {}, `… and ${cell.more} more, in the JSON report`) : null));
    }
    return parts;
  }

  function facts(cell, worst) {
    const list = make("dl");
    const add = (name, ...value) => list.append(make("dt", {}, name), make("dd", {}, ...value));
    add("case", make("code", {}, worst.case), cell.operation ? ` (${cell.operation})` : "");
    if (cell.title) add("property", `${cell.title} (${cell.examples} generated examples)`);
    if (worst.reason) add("why", worst.reason);
    if (worst.link) {
      add("link", /^https?:\/\//.test(worst.link)
        ? make("a", { href: worst.link, rel: "noreferrer noopener", target: "_blank" }, worst.link) : worst.link);
    }
    if (worst.name) add("looks like", worst.name);
    if (worst.message) add("message", worst.message);
    if (worst.index) add("at", make("code", {}, `[${worst.index.join(", ")}]`));
    if (worst.expected !== null) add("expected", make("code", {}, worst.expected));
    if (worst.got !== null) add("got", make("code", {}, worst.got));
    if (worst.margin !== null) add("margin", `${number(worst.margin)} codes from the nearest change of code`);
    if (worst.ratio !== null && worst.ratio !== undefined) {
      /* Certificates are judged by the quotient itself, with a bound of 1. */
      add("observed ÷ bound", worst.bound === 1 ? "" : `${number(worst.observed)} ÷ ${number(worst.bound)} = `,
        make("strong", {}, number(worst.ratio)));
    }
    return list;
  }
  function number(value) {
    if (typeof value !== "number") return String(value);
    const small = value !== 0 && Math.abs(value) < 1e-3;
    return small || Math.abs(value) >= 1e7 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(4)));
  }
  const pre = (text) => make("pre", { tabindex: "0" }, text);

  function copyable(title, text) {
    const button = make("button", { type: "button", class: "plain copy" }, "Copy");
    const block = pre(text);
    button.setAttribute("aria-label", `Copy: ${title}`);
    button.addEventListener("click", async () => {
      let done = true;
      try { await navigator.clipboard.writeText(text); } catch {
        getSelection().selectAllChildren(block);
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      announce(button.textContent);
    });
    return [make("div", { class: "copied" }, make("h3", {}, title), button), block];
  }
  /* A live region outside a modal dialog is not read while it is open. */
  function announce(text) {
    dialog.append(one("said"));
    say("");
    setTimeout(() => say(text), 50);
  }

  /* Pictures */
  const SVG = "http://www.w3.org/2000/svg";
  function draw(name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) {
      if (name === "text") element.textContent = text;
      else element.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: text }));
    }
    return element;
  }
  /* Linear up to 1, logarithmic beyond, so that one wild value does not flatten the others. */
  const bend = (v) => (Math.abs(v) <= 1 ? v : Math.sign(v) * (1 + Math.log10(Math.abs(v))));
  const beyond = (largest) => (largest > 1.25 ? " Beyond 1 the scale is logarithmic." : "");
  const MARGIN = { left: 52, right: 10, top: 10, bottom: 34 };

  function plot({ title, note, label, width, low, high, ticks, count, groups, centred, axis, key, paint }) {
    const height = 230;
    const w = Math.max(width, 240) - MARGIN.left - MARGIN.right;
    const h = height - MARGIN.top - MARGIN.bottom;
    const svg = draw("svg", { width: Math.max(width, 240), height, role: "img", "aria-label": label });
    const [a, b] = [bend(low), bend(high)];
    const y = (v) => MARGIN.top + h * (1 - (Math.min(Math.max(bend(v), a), b) - a) / (b - a));
    const x = (i) => MARGIN.left + w * ((i + 0.5) / Math.max(count, 1));
    const area = { x, y, left: MARGIN.left, right: MARGIN.left + w, step: w / Math.max(count, 1), bottom: MARGIN.top + h };
    const marks = paint(svg, area);
    for (const tick of ticks.filter((t) => t >= low && t <= high)) {
      svg.append(draw("line", { class: "grid", x1: area.left, x2: area.right, y1: y(tick), y2: y(tick) }),
        draw("text", { x: area.left - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick).replace("-", "−")));
    }
    svg.append(draw("line", { class: "axis", x1: area.left, x2: area.left, y1: MARGIN.top, y2: area.bottom }));
    let free = 0;
    for (const { at, text } of groups) {
      if (centred) {
        if (x(at) >= free) svg.append(draw("text", { x: x(at), y: area.bottom + 14, "text-anchor": "middle" }, text));
        if (x(at) >= free) free = x(at) + 14 + 7 * text.length;
        continue;
      }
      if (at > 0) svg.append(draw("line", { class: "rows", x1: x(at - 0.5), x2: x(at - 0.5), y1: MARGIN.top, y2: area.bottom }));
      if (x(at - 0.5) < free) continue;
      svg.append(draw("text", { x: x(at - 0.5) + 2, y: area.bottom + 14 }, text));
      free = x(at - 0.5) + 7 * text.length + 8;
    }
    svg.append(draw("text", { x: area.right, y: height - 4, "text-anchor": "end" }, axis), ...marks);
    return make("figure", {}, make("figcaption", {}, make("strong", {}, title), note), svg,
      make("figcaption", { class: "key" }, ...key.map(([sign, text]) => make("span", {}, swatch(sign), ` ${text}`))));
  }
  function sign(kind, x, y) {
    const r = 3.5;
    if (kind === "bad") return draw("path", { class: "bad", d: `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}` });
    if (kind === "up") return draw("path", { class: "clip", d: `M${x} ${y - r - 1}l${r + 1} ${2 * r}h${-2 * r - 2}z` });
    if (kind === "down") return draw("path", { class: "clip", d: `M${x} ${y + r + 1}l${r + 1} ${-2 * r}h${-2 * r - 2}z` });
    if (kind === "box" || kind === "bar") return draw("rect", { class: kind, x: x - 6, y: y - 6, width: 12, height: 12 });
    if (kind === "limit" || kind === "stem") return draw("line", { class: kind, x1: x - 6, x2: x + 6, y1: y, y2: y });
    return draw("circle", { class: "point", cx: x, cy: y, r: 2.6 });
  }
  function swatch(kind) {
    const svg = draw("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" });
    svg.append(sign(kind, 7, 7));
    return svg;
  }
  const titled = (element, text) => { element.append(draw("title", {}, undefined)); element.lastChild.textContent = text; return element; };
  const finite = (values) => values.filter((v) => v !== null);
  const WIDE = [-1e6, -1e4, -1e3, -100, -10, -1, -0.5, 0, 0.5, 1, 10, 100, 1e3, 1e4, 1e6];
  const rowsOf = (index) => {
    const found = [];
    index.forEach((where, i) => {
      const name = where.slice(0, -1).join(", ");
      if (where.length > 1 && (!found.length || found.at(-1).name !== name)) found.push({ at: i, name, text: `row ${name}` });
    });
    return found;
  };
  const part = (shown, total) => (shown < total ? `${shown} of ${total} codes, around the worst. ` : "");

  function boxes(e, width) {
    const n = e.code.length;
    const largest = Math.max(0.7, ...finite(e.residual).map(Math.abs)) * 1.08;
    const allowed = Math.max(...finite(e.allowed), 0);
    const bad = e.outside.filter(Boolean).length;
    const clipped = e.clipped.filter(Boolean).length;
    const groups = rowsOf(e.index);
    return plot({
      title: "Residuals against the half-step box",
      note: `${part(n, e.total)}Distance of each value from its code when it was rounded, in steps. It is at most ±0.5 for a right code; rounding may add up to ${number(allowed)}. For a clipped code any distance outwards is allowed.${beyond(largest)}`,
      label: `Residuals of ${n} codes: ${bad} outside the box of half a step, ${clipped} clipped, largest ${number(Math.max(...finite(e.residual).map(Math.abs), 0))} steps.`,
      width, low: -largest, high: largest, ticks: WIDE, count: n,
      groups: groups.length ? groups : [{ at: 0, text: "" }],
      axis: e.order === "processing" ? "columns in the order of processing" : "elements",
      key: [["box", "±0.5 step"], ["point", "inside"], ["up", "clipped at the highest code"], ["down", "clipped at the lowest"], ["bad", "outside"]],
      paint(svg, { x, y, left, right, step }) {
        svg.append(draw("rect", { class: "box", x: left, width: right - left, y: y(0.5), height: y(-0.5) - y(0.5) }));
        if (Math.abs(y(0.5 + allowed) - y(0.5)) > 0.8) {
          for (const side of [1, -1]) {
            const steps = e.allowed.map((more, i) => `${x(i) - step / 2} ${y(side * (0.5 + (more ?? 0)))}h${step}`);
            svg.append(draw("path", { class: "allowed", d: `M${steps.join("L")}` }));
          }
        }
        return e.code.map((code, i) => {
          const v = e.residual[i];
          const kind = e.outside[i] ? "bad" : { 1: "up", "-1": "down", 0: "point" }[e.clipped[i]];
          return titled(sign(kind, x(i), y(v ?? largest)),
            `[${e.index[i].join(", ")}]: code ${code}, ${v === null ? "not finite" : `${number(v)} steps`}${e.outside[i] ? ", outside" : ""}`);
        });
      },
    });
  }

  function margins(e, width) {
    const n = e.margin.length;
    const wrong = e.wrong.filter(Boolean).length;
    const nearest = Math.min(...finite(e.margin.filter((_, i) => e.wrong[i])));
    return plot({
      title: "Margins",
      note: `${part(n, e.total)}Distance of each value of the exact answer from the nearest change of code, in codes. Near 0, rounding may give either code.${beyond(Math.max(...finite(e.margin)))}`,
      label: `Margins of ${n} codes, ${wrong} of them wrong, the least margin of a wrong one ${number(nearest)} codes.`,
      width, low: 0, high: Math.max(0.55, ...finite(e.margin)) * 1.05, ticks: WIDE.concat(0.25), count: n,
      groups: rowsOf(e.index), axis: "codes",
      key: [["stem", "expected code"], ["bad", "another code"]],
      paint(svg, { x, y }) {
        return e.margin.flatMap((v, i) => {
          const text = `[${e.index[i].join(", ")}]: margin ${number(v)}${e.wrong[i] ? ", wrong" : ""}`;
          const stem = titled(draw("line", { class: e.wrong[i] ? "stem over" : "stem", x1: x(i), x2: x(i), y1: y(0), y2: y(v ?? 0) }), text);
          return e.wrong[i] ? [stem, titled(sign("bad", x(i), y(v ?? 0)), text)] : [stem];
        });
      },
    });
  }

  function parameters(e, width) {
    const n = e.share.length;
    const wrong = e.wrong.filter(Boolean).length;
    const largest = Math.max(1.15, ...finite(e.share).map(Math.abs)) * 1.08;
    const name = e.output === "scale" ? "Scales" : "Zero-points";
    return plot({
      title: name,
      note: `${n < e.total ? `${n} of ${e.total}, around the worst. ` : ""}Distance of each from the expected one ÷ what rounding allows.${beyond(largest)}`,
      label: `${name} of ${n} groups: ${wrong} wrong, the largest distance ${number(Math.max(...finite(e.share).map(Math.abs), 0))} times what is allowed.`,
      width, low: -largest, high: largest, count: n,
      ticks: WIDE.filter((tick) => largest < 10 || Math.abs(tick) !== 0.5),
      groups: rowsOf(e.index), axis: "groups",
      key: [["stem", "distance"], ["limit", "what is allowed"], ["bad", "beyond it"]],
      paint(svg, { x, y, left, right }) {
        for (const side of [1, -1]) svg.append(draw("line", { class: "limit", x1: left, x2: right, y1: y(side), y2: y(side) }));
        return e.share.flatMap((share, i) => {
          const text = `[${e.index[i].join(", ")}]: expected ${number(e.expected[i])}, got ${number(e.got[i])}${e.wrong[i] ? ", wrong" : ""}`;
          const stem = titled(draw("line", { class: e.wrong[i] ? "stem over" : "stem", x1: x(i), x2: x(i), y1: y(0), y2: y(share ?? largest) }), text);
          return [stem, titled(sign(e.wrong[i] ? "bad" : "point", x(i), y(share ?? largest)), text)];
        });
      },
    });
  }

  function losses(e, width) {
    const most = Math.max(1.15, ...e.loss.map((loss, i) => (loss === null || !e.bound[i] ? 0 : loss / e.bound[i]))) * 1.05;
    const ratio = e.loss.map((loss, i) => (loss === null || !e.bound[i] ? null : loss / e.bound[i]));
    const over = ratio.filter((r) => r > 1).length;
    const n = e.row.length;
    return plot({
      title: "Loss against its bound",
      note: `${n < e.total ? `${n} of ${e.total} rows, the worst. ` : ""}Sum of squared errors of each row ÷ the bound for a right answer.${beyond(most)}`,
      label: `Loss of ${n} rows against their bounds: ${over} beyond it, the largest ${number(Math.max(...finite(ratio), 0))} of the bound.`,
      width, low: 0, high: most, ticks: WIDE, count: n,
      groups: e.row.map((row, i) => ({ at: i, text: `${row}` })), centred: true, axis: "rows",
      key: [["bar", "loss ÷ bound"], ["limit", "the bound"], ["bad", "beyond it"]],
      paint(svg, { x, y, left, right, step }) {
        const bars = ratio.flatMap((r, i) => {
          const text = `row ${e.row[i]}: loss ${number(e.loss[i])}, bound ${number(e.bound[i])}`;
          const wide = Math.min(step * 0.7, 40);
          const bar = titled(draw("rect", { class: r > 1 ? "bar over" : "bar", x: x(i) - wide / 2, width: wide, y: y(r ?? 0), height: y(0) - y(r ?? 0) }), text);
          return r > 1 ? [bar, titled(sign("bad", x(i), y(r) - 6), text)] : [bar];
        });
        return [...bars, draw("line", { class: "limit", x1: left, x2: right, y1: y(1), y2: y(1) })];
      },
    });
  }

  function differences(e) {
    const head = make("tr", {}, ...["index", "expected", "got"].map((name) => make("th", { scope: "col" }, name)));
    const body = e.index.map((where, i) => make("tr", {}, make("td", {}, `[${where.join(", ")}]`),
      make("td", {}, e.expected[i]), make("td", {}, e.got[i])));
    const less = e.count > e.index.length ? `; the ${e.index.length} largest differences` : "";
    return make("details", {}, make("summary", {}, `${e.output}: ${e.count} of ${e.total} differ from the expected ones${less}`),
      make("div", { class: "lines", tabindex: "0" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body))));
  }

  function pictures(evidence, width) {
    if (!evidence) return [];
    const made = [];
    if (evidence.codes && evidence.codes.code.length) made.push(boxes(evidence.codes, width));
    if (evidence.margins && evidence.margins.margin.length) made.push(margins(evidence.margins, width));
    for (const each of evidence.parameters ?? []) if (each.wrong.some(Boolean)) made.push(parameters(each, width));
    if (evidence.loss && evidence.loss.row.length) made.push(losses(evidence.loss, width));
    for (const each of evidence.differences ?? []) made.push(differences(each));
    return made;
  }

  filter();
  const linked = /^#([A-Z]+-\d+)\/(\d+)$/.exec(location.hash);
  const cell = linked && table.querySelector(`#${linked[1]} td[data-target="${linked[2] - 1}"] button`);
  if (cell) open(cell);
})();
