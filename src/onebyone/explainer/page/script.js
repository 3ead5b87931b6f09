"use strict";
// Everything but the exhibit: colours, the picture, folding, sorting, filtering, downloads.
// Plain functions on the page as it was written; without this script it can still be read.

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const data = (id) => JSON.parse(document.getElementById(id).textContent);

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text; // never HTML: names are the user's
  return made;
}

// --- light, dark, or as the system has it -------------------------------------------------------

const THEMES = { auto: "light dark", light: "light", dark: "dark" };

function setUpTheme() {
  const button = find("#theme");
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(button.textContent) + 1) % names.length];
    button.textContent = next;
    button.setAttribute("aria-label", `Colours: ${next === "auto" ? "as the system has them" : next}`);
    document.documentElement.style.colorScheme = THEMES[next];
    document.dispatchEvent(new Event("repaint"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new Event("repaint")));
}

// --- the picture --------------------------------------------------------------------------------

function setUpPicture() {
  const layers = data("layer-data");
  const readout = find("#readout");
  let here = null;

  function show(index) {
    here = index;
    const layer = layers[index];
    readout.replaceChildren(element("b", layer.path || layer.name), document.createElement("br"),
      element("span", layer.about));
    if (layer.why) readout.append(document.createElement("br"), element("span", `Why: ${layer.why}.`));
    all(".picture .here").forEach((one) => one.classList.remove("here"));
    all(`.picture [data-layer="${index}"]`).forEach((one) => one.classList.add("here"));
  }

  // To the layer's line in the table, if the filter lets it be seen.
  function goTo(index) {
    const row = all("#table tbody tr").find((one) => Number(one.cells[0].textContent) === index + 1);
    if (!row || row.hidden) return;
    all("#table .here").forEach((one) => one.classList.remove("here"));
    row.classList.add("here");
    row.scrollIntoView({ block: "center" });
  }

  for (const picture of all(".picture")) {
    picture.addEventListener("click", (event) => {
      if (event.target.dataset.layer) goTo(Number(event.target.dataset.layer));
    });
    picture.addEventListener("pointerover", (event) => {
      if (event.target.dataset.layer) show(Number(event.target.dataset.layer));
    });
    picture.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && here !== null) goTo(here);
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      if (!step) return;
      event.preventDefault();
      const last = layers.length - 1;
      show(Math.max(0, Math.min(last, here === null ? 0 : here + step)));
      find(".here", picture).scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  }
  for (const choice of all("input[name=width]")) {
    choice.addEventListener("change", () => {
      for (const box of all(".picture-box")) box.hidden = box.dataset.width !== choice.value;
    });
  }
}

// --- what a chart's mark stands for -------------------------------------------------------------

function setUpTips() {
  const tip = find("#tip");
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.("svg.chart [aria-roledescription][aria-label]");
    const isMark = mark && !["axis", "legend"].includes(mark.getAttribute("aria-roledescription"));
    tip.hidden = !isMark;
    if (isMark) tip.textContent = mark.getAttribute("aria-label");
  });
  document.addEventListener("pointermove", (event) => {
    if (tip.hidden) return;
    const box = tip.getBoundingClientRect();
    const above = event.clientY - box.height - 12;
    tip.style.left = `${Math.max(6, Math.min(event.clientX + 12, innerWidth - box.width - 6))}px`;
    tip.style.top = `${above > 4 ? above : event.clientY + 18}px`;
  });
}

// --- the table by module ------------------------------------------------------------------------

function setUpModules() {
  const rows = all("#modules tbody tr");
  const level = (row) => Number(row.dataset.level);
  const fold = (row) => find("button.fold", row);

  function refresh() {
    let closed = Infinity; // the depth of the line whose inside is not shown
    for (const row of rows) {
      if (level(row) <= closed) closed = Infinity;
      row.hidden = level(row) > closed;
      if (!row.hidden && fold(row)?.getAttribute("aria-expanded") === "false") closed = level(row);
    }
  }

  function open(depth) {
    for (const row of rows) fold(row)?.setAttribute("aria-expanded", String(level(row) < depth));
    for (const button of all("[data-depth]"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.depth) === depth));
    refresh();
  }

  for (const row of rows)
    fold(row)?.addEventListener("click", (event) => {
      const button = event.currentTarget;
      button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") === "false"));
      refresh();
    });
  for (const button of all("[data-depth]"))
    button.addEventListener("click", () => open(Number(button.dataset.depth)));
  open(2);
  addEventListener("beforeprint", () => open(99));
  addEventListener("afterprint", () => open(2));
}

// --- the table of layers ------------------------------------------------------------------------

function setUpTable() {
  const table = find("#table");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = all("thead th", table);
  const layers = data("layer-data");

  // A number where the cell has one, else its words; what was not measured comes last.
  function value(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return cell.classList.contains("n") ? Number(cell.textContent) : cell.textContent.trim();
  }

  function sort(column) {
    const head = heads[column];
    const isNumber = head.classList.contains("n");
    const before = head.getAttribute("aria-sort");
    // Numbers are mostly asked for from the largest on, names from the first.
    const down = before ? before === "ascending" : isNumber && column > 0;
    const sign = down ? -1 : 1;
    const compare = (a, b) => (isNumber ? a - b : a.localeCompare(b, "en", { numeric: true }));
    const rows = [...body.rows];
    rows.sort((a, b) => sign * compare(value(a, column), value(b, column)));
    body.append(...rows);
    heads.forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }
  heads.forEach((head, column) => find("button", head).addEventListener("click", () => sort(column)));

  const text = find("#find");
  const only = find("#only");
  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    let macs = 0;
    for (const row of body.rows) {
      // Its name, role and pattern: reasons name other layers, too.
      const content = [1, 2, 3].map((i) => row.cells[i].textContent.toLowerCase()).join(" ");
      row.hidden = !words.every((word) => content.includes(word)) ||
        Boolean(only.value && row.dataset.label !== only.value);
      if (row.hidden) continue;
      count += 1;
      macs += layers[Number(row.cells[0].textContent) - 1].macs;
    }
    find("#found").value =
      `${count} of ${layers.length} layers, ${macs.toLocaleString("en")} multiply-adds`;
  }
  text.addEventListener("input", filter);
  only.addEventListener("change", filter);
  filter();

  function save(name, type, content) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000); // the download has begun by then
  }

  function csv() {
    const names = Object.keys(layers[0]).filter((name) => !["label", "colour", "about"].includes(name));
    const cell = (content) => {
      const shown = Array.isArray(content) ? content.join("x") : String(content ?? "");
      return /[",\n\r]/.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown;
    };
    return [names, ...layers.map((one) => names.map((name) => one[name]))]
      .map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }
  const name = document.title.split(":")[0].replace(/[^\w.-]+/g, "_");
  find("#csv").addEventListener("click", () => save(`${name}.csv`, "text/csv", csv()));
  find("#json").addEventListener("click", () =>
    save(`${name}.json`, "application/json", JSON.stringify(data("report-data"), null, 2)));
}

function setUpPrint() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((one) => (one.open = true));
  });
  addEventListener("afterprint", () => opened.forEach((one) => (one.open = false)));
}

[setUpTheme, setUpPicture, setUpTips, setUpModules, setUpTable, setUpPrint].forEach((part) => part());
