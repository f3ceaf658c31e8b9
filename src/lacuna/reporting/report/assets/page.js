"use strict";
(() => {
  const one = (selector, inside = document) => inside.querySelector(selector);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const json = (id) => JSON.parse(one("#" + id).textContent);
  // children are texts or nodes: nothing is ever read as HTML
  const make = (name, about = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(about)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  };
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const shown = (value) => {
    if (!isNumber(value)) return value === null || value === undefined ? "–" : String(value);
    if (Number.isInteger(value)) return Math.abs(value) < 1e15 ? value.toLocaleString("en") : String(value);
    const size = Math.abs(value);
    if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
    return value.toFixed(size >= 1000 ? 0 : size >= 10 ? 2 : size >= 1 ? 2 : 3).replace("-", "−");
  };
  const charts = json("charts");
  const tables = json("tables");
  const single = json("single");

  // ---- tables -------------------------------------------------------------------------------------------------------

  const FILTERS = [2, 40]; // values of a column that a list of them filters
  const SEARCHED = 5; // rows of a table that needs no search
  const keyOf = (value) => (Array.isArray(value) ? value[0] : value);
  const textOf = (value) => (Array.isArray(value) ? (isNumber(value[0]) ? `${shown(value[0])} ± ${shown(value[1])}` : "–") : String(value ?? ""));

  function buildTable(host, table, caption, open) {
    const kinds = table.columns.map(([kind]) => kind);
    const numeric = kinds.map((kind) => kind === "number" || kind === "interval");
    const state = { sort: -1, down: false, text: "", chosen: new Map(), shown: table.page, order: [] };
    const body = make("tbody");
    const count = make("output", { "aria-live": "polite" });
    const more = make("button", { type: "button", class: "more", onclick: () => { state.shown += 4 * table.page; fill(); } });

    const cellOf = (value, kind) => {
      if (kind === "interval") {
        if (!value || !isNumber(value[0])) return make("td", { class: "number" }, "–");
        const half = isNumber(value[1]) ? make("span", { class: "plus" }, ` ± ${shown(value[1])}`) : null;
        return make("td", { class: "number" }, shown(value[0]), half);
      }
      if (kind === "number") return make("td", { class: "number" }, shown(value));
      const text = value === null || value === undefined || value === "" ? "–" : String(value);
      return make("td", text.length > 60 ? { class: "long" } : {}, text);
    };
    const fill = () => {
      body.replaceChildren(...state.order.slice(0, state.shown).map((index) => {
        const cells = table.rows[index].map((value, i) => cellOf(value, kinds[i]));
        if (open) {
          const place = table.rows[index].filter((_, i) => i < open.names).join(", ");
          cells.unshift(make("td", {}, make("button", { type: "button", "aria-label": `Open ${place}`, onclick: () => open.cell(index, state.order) }, "Open")));
        }
        return make("tr", {}, ...cells);
      }));
      const total = table.rows.length;
      const noun = total === 1 ? "row" : "rows";
      count.textContent = state.order.length === total ? `${total.toLocaleString("en")} ${noun}` : `${state.order.length.toLocaleString("en")} of ${total.toLocaleString("en")} rows`;
      const left = state.order.length - state.shown;
      more.hidden = left <= 0;
      more.textContent = `Show more rows (${left.toLocaleString("en")} left)`;
    };
    const apply = () => {
      const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
      let order = table.rows.map((_, index) => index);
      for (const [column, value] of state.chosen) order = order.filter((index) => String(table.rows[index][column] ?? "") === value);
      if (words.length) {
        order = order.filter((index) => {
          const row = table.rows[index].map(textOf).join(" ").toLowerCase();
          return words.every((word) => row.includes(word));
        });
      }
      if (state.sort >= 0) {
        const keys = table.rows.map((row) => keyOf(row[state.sort]));
        const sign = state.down ? -1 : 1;
        order.sort((a, b) => {
          const x = keys[a], y = keys[b];
          const none = (v) => v === null || v === undefined || v === "";
          if (none(x) || none(y)) return none(x) - none(y) || a - b; // the empty ones last, whatever the direction
          const both = isNumber(x) && isNumber(y) ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
          return sign * both || a - b;
        });
      }
      state.order = order;
      fill();
    };
    const headings = table.columns.map(([, title], i) => {
      const heading = make("th", { scope: "col", class: numeric[i] ? "number" : null, "aria-sort": "none" });
      heading.append(make("button", { type: "button", onclick: () => {
        if (state.sort !== i) [state.sort, state.down] = [i, false];
        else if (!state.down) state.down = true;
        else [state.sort, state.down] = [-1, false];
        headings.forEach((other, j) => other.setAttribute("aria-sort", j !== state.sort ? "none" : state.down ? "descending" : "ascending"));
        apply();
      } }, title));
      return heading;
    });
    const bar = make("div", { class: "bar" });
    table.columns.forEach(([kind, title], i) => {
      const values = kind === "filter" ? [...new Set(table.rows.map((row) => String(row[i] ?? "")))] : [];
      if (values.length < FILTERS[0] || values.length > FILTERS[1]) return;
      const choose = make("select", { onchange: (event) => {
        if (event.target.selectedIndex) state.chosen.set(i, values[event.target.selectedIndex - 1]);
        else state.chosen.delete(i);
        state.shown = table.page;
        apply();
      } }, make("option", {}, "all"), ...values.map((value) => make("option", {}, value || "–")));
      bar.append(make("label", {}, title, choose));
    });
    if (table.rows.length > SEARCHED) bar.append(make("label", {}, "Search", make("input", { type: "search", oninput: (event) => { state.text = event.target.value; state.shown = table.page; apply(); } })));
    bar.append(count);
    const first = open ? [make("td", {})] : [];
    const grid = make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...first, ...headings)), body);
    host.replaceChildren(bar, make("div", { class: "rows", tabindex: "0", role: "region", "aria-label": caption }, grid), more);
    apply();
  }

  // ---- charts -------------------------------------------------------------------------------------------------------

  const AT_ONCE = 8; // panels of a chart that are drawn before a reader asks for more
  const ui = getComputedStyle(document.documentElement).getPropertyValue("--ui");
  const axis = { labelColor: "#3d4148", titleColor: "#3d4148", labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", gridColor: "#e8eaed", domainColor: "#9aa0a9", tickColor: "#9aa0a9", labelPadding: 4, titlePadding: 6 };
  const CONFIG = { font: ui, aria: false, background: null, view: { stroke: null }, axis, scale: { clamp: true } };
  const tip = one("#tip");
  const tooltip = (handler, event, item, value) => {
    if (value === null || value === undefined || value === "" || typeof value !== "object") { tip.hidden = true; return; }
    const rows = Object.entries(value).filter(([, text]) => !["undefined", "null", "NaN", ""].includes(String(text)));
    tip.replaceChildren(make("table", {}, make("tbody", {}, ...rows.map(([key, text]) => make("tr", {}, make("th", {}, key), make("td", {}, String(text)))))));
    tip.hidden = rows.length === 0;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 16 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 16}px`;
  };
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

  // see `payload.columnar`
  const rowsOf = ({ length, columns }) => {
    const valueOf = (column, i) => (Array.isArray(column) ? column[i] : "is" in column ? column.is : column.at[i] === null ? null : column.of[column.at[i]]);
    return Array.from({ length }, (_, i) => Object.fromEntries(Object.entries(columns).map(([key, column]) => [key, valueOf(column, i)])));
  };
  // labels of an axis take at most a third of a narrow panel
  const narrowed = (spec, width) => JSON.parse(JSON.stringify(spec, (key, value) =>
    ["minExtent", "maxExtent"].includes(key) ? Math.min(value, Math.round(width / 3)) : key === "labelLimit" ? Math.min(value, Math.max(Math.round(width / 3) - 8, 60)) : value));

  function draw(plot, template, rows, params, alt) {
    const free = template.width === undefined;
    const width = Math.max(plot.clientWidth, 160);
    const spec = free ? narrowed(template, width) : structuredClone(template);
    spec.params = (spec.params ?? []).map((param) => (param.name in params ? { ...param, value: params[param.name] } : param));
    spec.data = { values: rows };
    spec.config = CONFIG;
    if (free) Object.assign(spec, { width, autosize: { type: "fit-x", contains: "padding" } });
    try {
      const view = new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: "svg", container: plot, hover: false });
      view.logLevel(vega.Error).tooltip(tooltip).run();
      for (const svg of all("svg", plot)) svg.setAttribute("aria-hidden", "true");
      // after the view, which names its container itself
      for (const [name, value] of Object.entries({ role: "img", "aria-label": alt })) plot.setAttribute(name, value);
      plot.removeAttribute("aria-roledescription");
      plot.view = view;
      if (free) resized.observe(plot);
    } catch (error) {
      plot.replaceChildren(make("p", { class: "broken" }, "This chart could not be drawn; its values are in the table below."));
      console.error(error);
    }
    return plot.view;
  }
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const width = Math.max(target.clientWidth, 160);
      if (target.view && Math.abs(target.view.width() - width) > 1 && target.drawn !== width) {
        target.drawn = width;
        target.view.signal("width", width).runAsync();
      }
    }
  });
  const drawSoon = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) drawNow(entry.target);
  }, { rootMargin: "500px 0px" });
  const waiting = new Map();
  const drawNow = (plot) => {
    const job = waiting.get(plot);
    if (!job) return;
    waiting.delete(plot);
    drawSoon.unobserve(plot);
    job();
  };
  const later = (plot, job) => { waiting.set(plot, job); drawSoon.observe(plot); };
  const drawAll = () => [...waiting.keys()].forEach(drawNow);

  function panelOf(title, wide) {
    const plot = make("div", { class: "plot" });
    const around = wide ? make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, scrolls sideways` }, plot) : plot;
    return [make("div", { class: "panel" }, title ? make("h4", {}, title) : null, around), plot];
  }

  function valuesTable(host, chart, variant, caption) {
    const rows = [];
    for (const panel of variant.panels) for (const row of rowsOf(panel.rows)) if (!row.line) rows.push([panel.title, ...chart.columns.map(([field]) => row[field] ?? null)]);
    const kinds = chart.columns.map(([, title], i) => [rows.some((row) => isNumber(row[i + 1])) ? "number" : "filter", title]);
    buildTable(host, { columns: [["filter", "panel"], ...kinds], rows, page: 25 }, caption);
  }

  function setUp(figure) {
    const chart = charts[figure.dataset.chart];
    const host = one(".panels", figure), choose = one(".view select", figure), values = one(".values", figure);
    const caption = `Values of “${one("h3", figure).textContent}”`;
    const picked = new Set();
    let count = AT_ONCE;
    const show = () => {
      const variant = chart.variants[choose ? choose.selectedIndex : 0];
      all(".plot", host).forEach((plot) => { waiting.delete(plot); plot.view?.finalize(); });
      one(":scope > .more", figure)?.remove();
      host.classList.toggle("one", variant.panels.length === 1);
      host.replaceChildren();
      for (const panel of variant.panels.slice(0, count)) {
        const [box, plot] = panelOf(panel.title, chart.wide);
        host.append(box);
        later(plot, () => draw(plot, chart.specs[variant.spec], rowsOf(panel.rows), { ...panel.params, pick: [...picked] }, panel.alt));
      }
      const left = variant.panels.length - count;
      if (left > 0) host.after(make("button", { type: "button", class: "more", onclick: () => { count = Infinity; show(); } }, `Show all ${variant.panels.length} panels`));
      values.filled = false;
      if (values.open) fillValues();
    };
    const fillValues = () => {
      if (values.filled) return;
      values.filled = true;
      valuesTable(one(".table", values), chart, chart.variants[choose ? choose.selectedIndex : 0], caption);
    };
    choose?.addEventListener("change", show);
    values.addEventListener("toggle", () => { if (values.open) fillValues(); });
    for (const button of all("[data-pick]", figure)) {
      button.addEventListener("click", () => {
        const label = button.dataset.pick;
        if (!picked.delete(label)) picked.add(label);
        button.setAttribute("aria-pressed", picked.has(label));
        for (const plot of all(".plot", host)) plot.view?.signal("pick", [...picked]).runAsync();
      });
    }
    show();
  }

  // ---- one cell -----------------------------------------------------------------------------------------------------

  let cells = null;
  async function unpack() {
    if (cells) return cells;
    const bytes = Uint8Array.from(atob(one("#cell-files").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    cells = JSON.parse(await new Response(stream).text());
    return cells;
  }
  const plain = (entries) => make("table", { class: "plain" }, make("tbody", {}, ...entries.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, typeof value === "object" && value !== null ? JSON.stringify(value) : shown(value))))));
  const numbers = (title, columns, rows) => {
    const host = make("div", { class: "table" });
    const details = make("details", { class: "values" }, make("summary", {}, "Values as a table"), host);
    details.addEventListener("toggle", () => { if (details.open && !host.firstChild) buildTable(host, { columns, rows, page: 50 }, title); });
    return details;
  };

  function curvesOf(cell, parts) {
    const titles = { loss: "loss", val_accuracy: "validation accuracy (%)", lr: "learning rate" };
    if (!cell.history) return [make("h4", {}, "Training curve"), make("p", { class: "note" }, "No curve: the method takes no steps, or its history could not be read.")];
    const host = make("div", { class: "panels" });
    for (const [name, title] of Object.entries(titles)) {
      if (!cell.history[name]) continue;
      const rows = cell.history.epoch.map((epoch, i) => ({ epoch, v: cell.history[name][i] }));
      const [box, plot] = panelOf(title);
      host.append(box);
      const last = rows[rows.length - 1];
      parts.push(() => draw(plot, single.history, rows, {}, `${title} by epoch: from ${shown(rows[0].v)} to ${shown(last.v)} in epoch ${last.epoch}`));
    }
    const names = Object.keys(cell.history);
    const rows = cell.history.epoch.map((_, i) => names.map((name) => cell.history[name][i]));
    return [make("h4", {}, "Training curve"), host, numbers("Training curve", names.map((name) => ["number", name]), rows)];
  }
  function confidencesOf(cell, parts) {
    if (!cell.confidence) return [make("h4", {}, "Confidence"), make("p", { class: "note" }, "No histograms: the predictions could not be read.")];
    const host = make("div", { class: "panels" });
    const width = 1 / single.bins;
    for (const [name, bins] of Object.entries(cell.confidence)) {
      const rows = bins.map((v, i) => ({ low: i * width, high: (i + 1) * width, v }));
      const [box, plot] = panelOf(`${name}, ${shown(cell.samples[name])} samples`);
      host.append(box);
      parts.push(() => draw(plot, single.confidence, rows, { colour: single.parts[name] }, `Confidence on ${name}: ${shown(bins[single.bins - 1])} % of the samples are in the highest of ${single.bins} bins, ${shown(bins[0])} % in the lowest`));
    }
    const names = Object.keys(cell.confidence);
    const rows = Array.from({ length: single.bins }, (_, i) => [i * width, (i + 1) * width, ...names.map((name) => cell.confidence[name][i])]);
    return [make("h4", {}, "Confidence in the label, as % of the samples"), host, numbers("Confidence", [["number", "from"], ["number", "to"], ...names.map((name) => ["number", name])], rows)];
  }
  function confusionOf(cell, parts) {
    const names = single.classes[cell.place[0]];
    const label = (i) => (names && names[i] !== undefined ? names[i] : String(i));
    const heading = make("h4", {}, "Confusion matrix of the test set");
    if (cell.confusion) {
      const rows = [];
      cell.confusion.forEach((counts, i) => {
        const total = counts.reduce((a, b) => a + b, 0) || 1;
        counts.forEach((n, j) => rows.push({ label: label(i), predicted: label(j), n, share: (100 * n) / total }));
      });
      const [box, plot] = panelOf("", true);
      const right = cell.confusion.reduce((sum, counts, i) => sum + counts[i], 0);
      parts.push(() => draw(plot, { ...single.confusion }, rows, {}, `Confusion matrix: ${right} of ${rows.reduce((sum, row) => sum + row.n, 0)} test samples are classified as their label`));
      const table = cell.confusion.map((counts, i) => [label(i), ...counts]);
      return [heading, box, numbers("Confusion matrix", [["text", "label"], ...cell.confusion.map((_, i) => ["number", label(i)])], table)];
    }
    if (!cell.confusions) return [];
    const host = make("div", { class: "table" });
    buildTable(host, { columns: [["text", "label"], ["text", "predicted"], ["number", "samples"]], rows: cell.confusions.map(([i, j, n]) => [label(i), label(j), n]), page: 20 }, "Commonest confusions");
    return [heading, make("p", { class: "note" }, `The commonest confusions among ${cell.classes} classes.`), host];
  }
  function optionsOf(cell) {
    const blocks = Object.entries(cell.options ?? {}).map(([name, values]) => make("div", {}, make("h4", {}, name === "unlearner" ? "Hyper-parameters" : `Options of ${name}`), plain(Object.entries(values))));
    const facts = Object.entries({ ...cell.facts, ...cell.versions, "config hash": cell.config });
    return make("div", { class: "pair" }, ...blocks, make("div", {}, make("h4", {}, "Facts of the job"), plain(facts)));
  }

  async function openCell(index, order) {
    const host = one("#cell");
    host.hidden = false;
    let cell;
    try {
      cell = (await unpack())[index];
    } catch (error) {
      host.replaceChildren(make("p", { class: "broken" }, "This browser cannot unpack the details of cells (DecompressionStream is missing)."));
      return;
    }
    const at = order.indexOf(index);
    const [dataset, model, recipe, seed, scenario, pruner, sparsity, unlearner] = cell.place;
    const state = pruner === "dense" ? "dense" : `${pruner} ${sparsity}`;
    const step = (name, to) => make("button", { type: "button", disabled: to < 0 || to >= order.length, onclick: () => openCell(order[to], order) }, name);
    const parts = [];
    const log = cell.log.length ? make("pre", {}, cell.log.join("\n")) : make("p", { class: "note" }, "No log.");
    const metrics = Object.entries(cell.metrics).map(([name, value]) => [name, value]);
    const list = make("div", { class: "table" });
    host.replaceChildren(...[
      make("div", { class: "steps" }, step("Previous cell", at - 1), step("Next cell", at + 1), make("a", { href: "#cells" }, "Back to the list")),
      make("h3", {}, `${unlearner} · ${scenario} · ${state} · seed ${seed}`),
      make("p", { class: "note" }, `${dataset}, ${model}, ${recipe}`),
      ...cell.gaps.map((gap) => make("p", { class: "warning" }, gap)),
      ...curvesOf(cell, parts),
      ...confidencesOf(cell, parts),
      ...confusionOf(cell, parts),
      optionsOf(cell),
      make("h4", {}, "End of the log"),
      log,
      make("h4", {}, "All metrics"),
      list,
    ]);
    buildTable(list, { columns: [["text", "metric"], ["number", "value"]], rows: metrics, page: 100 }, "Metrics of the cell");
    parts.forEach((part) => part());
    host.focus({ preventScroll: true });
    host.scrollIntoView({ block: "start" });
    host.dataset.cell = index;
  }

  // ---- the page -----------------------------------------------------------------------------------------------------

  for (const host of all(".table[data-table]")) {
    const table = tables[host.dataset.table];
    buildTable(host, table, host.dataset.caption, table.names ? { cell: openCell, names: table.names } : null);
  }
  all("figure[data-chart]").forEach(setUp);
  addEventListener("beforeprint", drawAll);
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const narrow = matchMedia("(max-width: 62rem)");
  const contents = one("#toc");
  const fold = () => { contents.open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
  for (const link of links.values()) link.addEventListener("click", () => { if (narrow.matches) contents.open = false; });
  const mark = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const [key, link] of links) key === entry.target.id ? link.setAttribute("aria-current", "location") : link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  all("main > section").forEach((section) => mark.observe(section));
  // for tests, and for those who look
  window.lacuna = { drawAll, waiting: () => waiting.size };
  document.documentElement.dataset.ready = "yes";
})();
