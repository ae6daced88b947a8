
// The page is complete without this script, which adds filters, sorting, downloads and tooltips.
// Text from records is only set as text, never as markup.
(() => {
  "use strict";

  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const make = (tag, properties, ...inside) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...inside);
    return made;
  };
  const button = (text, does, label) => {
    const made = make("button", { type: "button" }, text);
    made.setAttribute("aria-label", label);
    made.addEventListener("click", does);
    return made;
  };

  // Names and files of downloads.
  const slug = (text) => text.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  const nameOf = (element) => {
    const part = element.closest("article");
    const title = element.closest("section, header")?.querySelector("h2, h1, h3");
    const own = element.getAttribute("aria-label") || "";
    return slug([part?.id, title?.textContent, own].filter(Boolean).join(" ")).slice(0, 80);
  };
  const save = (name, blob) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // A cell has its own text and small text.
  const SMALL = "small, .bar, .hidden, svg, .sort";
  const clean = (text) => text.replace(/\s+/g, " ").trim();
  const textOf = (cell) => {
    const copy = cell.cloneNode(true);
    all(SMALL, copy).forEach((each) => each.remove());
    all("summary", copy).forEach((each) => each.append(": "));
    return clean(copy.textContent);
  };
  const wholeOf = (cell) => {
    const small = all("small", cell).map((each) => clean(each.textContent));
    return textOf(cell) + (small.length ? ` (${small.join(", ")})` : "");
  };
  const shownCells = (table) =>
    [...table.rows]
      .filter((row) => !row.hidden)
      .map((row) => [...row.cells].filter((cell) => !cell.hidden).map(wholeOf));

  // Numbers as people read them: 97.6%, −0.12, 1,024, 4 min 10 s.
  const SECONDS = { ms: 0.001, s: 1, min: 60, h: 3600 };
  const numberOf = (text) => {
    const plain = text.replaceAll("−", "-").replaceAll(",", "").replace(/^[±+]\s*/, "");
    if (!/^-?\.?\d/.test(plain)) return null;
    const times = [...plain.matchAll(/(\d+(?:\.\d+)?) (ms|s|min|h)\b/g)];
    if (times.length) return times.reduce((sum, [, count, unit]) => sum + count * SECONDS[unit], 0);
    return parseFloat(plain);
  };

  // Sorting: by numbers if a column has them, absent ones last; a third press restores the order.
  const ORDERS = { none: "descending", descending: "ascending", ascending: "none" };
  const SIGNS = { none: "↕", descending: "↓", ascending: "↑" };
  const sortBy = (table, rows, head, column) => {
    const order = ORDERS[head.getAttribute("aria-sort") || "none"];
    for (const each of table.tHead.rows[0].cells) {
      const now = each === head ? order : "none";
      each.setAttribute("aria-sort", now);
      const sign = each.querySelector(".sort");
      if (sign) sign.textContent = SIGNS[now];
    }
    const key = (row) => (row.cells[column] ? textOf(row.cells[column]) : "");
    const keys = new Map(rows.map((row) => [row, key(row)]));
    const numeric = rows.some((row) => numberOf(keys.get(row)) !== null);
    const value = (row) => (numeric ? numberOf(keys.get(row)) : keys.get(row) || null);
    const compare = (a, b) => (numeric ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    const turn = order === "descending" ? -1 : 1;
    const sorted = [...rows];
    if (order !== "none") {
      sorted.sort((first, second) => {
        const [a, b] = [value(first), value(second)];
        if (a === null || b === null) return (a === null) - (b === null);
        return turn * compare(a, b);
      });
    }
    table.tBodies[0].append(...sorted);
  };
  const sortable = (table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 3 || table.tHead?.rows.length !== 1) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const title = textOf(head);
      if (!title) return;
      const press = button(SIGNS.none, () => sortBy(table, rows, head, column), `Sort by ${title}`);
      press.className = "sort";
      head.append("\u00a0", press);  // on the line of the last word
    });
  };

  // Tables as files.
  const csvCell = (text) => {
    const plain = text.replaceAll("−", "-");
    const safe = /^[=+@\t]|^-(?![\d.,]+[%×]?( |$))/.test(plain) ? `'${plain}` : plain; // no formulas
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const asCsv = (rows) => rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
  const asMarkdown = ([head, ...rows]) => {
    const line = (cells) => `| ${cells.map((text) => text.replace(/[\\|]/g, "\\$&")).join(" | ")} |`;
    return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n") + "\n";
  };
  const LATEX = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
    "±": "$\\pm$", "×": "$\\times$", "−": "$-$", "–": "--", "…": "\\dots{}", "ε": "$\\epsilon$",
    "†": "$\\dagger$", "·": "$\\cdot$", "≤": "$\\le$", "≥": "$\\ge$", "²": "$^2$",
  };
  const latexCell = (text) => text.replace(/[\\~^±×−–…ε†·≤≥²]|[&%$#_{}]/g, (sign) => LATEX[sign] || `\\${sign}`);
  const asLatex = ([head, ...rows]) => {
    const line = (cells) => `${cells.map(latexCell).join(" & ")} \\\\`;
    return [
      "% \\usepackage{booktabs}",
      `\\begin{tabular}{l${"r".repeat(Math.max(head.length - 1, 0))}}`,
      "\\toprule", line(head), "\\midrule", ...rows.map(line), "\\bottomrule",
      "\\end{tabular}", "",
    ].join("\n");
  };
  const FORMS = { CSV: ["csv", asCsv], LaTeX: ["tex", asLatex], Markdown: ["md", asMarkdown] };
  const tableTools = (box, table) => {
    const name = box.getAttribute("aria-label") || "table";
    const tools = make("div", { className: "tools" });
    for (const [title, [ending, write]] of Object.entries(FORMS)) {
      const does = () =>
        save(`${nameOf(box)}.${ending}`, new Blob([write(shownCells(table))], { type: "text/plain" }));
      tools.append(button(title, does, `Download the table ${name} as ${title}`));
    }
    box.after(tools);
  };

  // Figures as files, with the page's colours as values and its background.
  const standalone = (svg) => {
    const copy = svg.cloneNode(true);
    all(".tip, [hidden]", copy).forEach((each) => each.remove());
    const page = getComputedStyle(svg);
    const solid = (text) =>
      text
        .replace(/var\((--[\w-]+)\)/g, (_, name) => page.getPropertyValue(name).trim())
        .replaceAll("currentColor", page.color);
    for (const each of all("[style]", copy)) each.setAttribute("style", solid(each.getAttribute("style")));
    const [left, top, width, height] = svg.getAttribute("viewBox").split(/\s+/).map(Number);
    const paper = document.createElementNS(svg.namespaceURI, "rect");
    const place = { x: left, y: top, width, height, fill: page.getPropertyValue("--page").trim() };
    for (const [key, value] of Object.entries(place)) paper.setAttribute(key, value);
    copy.prepend(paper);
    for (const [key, value] of Object.entries({ xmlns: svg.namespaceURI, width, height })) {
      copy.setAttribute(key, value);
    }
    return { text: new XMLSerializer().serializeToString(copy), width, height };
  };
  const SHARP = 3; // pixels of a PNG per pixel of the page
  const savePng = (name, { text, width, height }) => {
    const picture = new Image();
    picture.onload = () => {
      const canvas = make("canvas", { width: SHARP * width, height: SHARP * height });
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(name, blob), "image/png");
      URL.revokeObjectURL(picture.src);
    };
    picture.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  };
  const figureTools = (svg) => {
    const tools = make("div", { className: "tools" });
    const name = () => nameOf(svg);
    const asSvg = () =>
      save(`${name()}.svg`, new Blob([standalone(svg).text], { type: "image/svg+xml" }));
    tools.append(
      button("SVG", asSvg, "Download the figure as SVG"),
      button("PNG", () => savePng(`${name()}.png`, standalone(svg)), "Download the figure as PNG"),
    );
    svg.after(tools);
  };

  // Tooltips: of the point nearest to the pointer, or of the one selected with arrow keys.
  const tip = make("div", { id: "tip", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const REACH = 28;
  const hide = () => {
    tip.hidden = true;
    all(".tip.on").forEach((each) => each.classList.remove("on"));
  };
  const tell = (text, box) => {
    hide();
    tip.textContent = text;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.min(Math.max(box.left + box.width / 2 - width / 2, 8), innerWidth - width - 8);
    const above = box.top - height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
  };
  const tellPoint = (point) => {
    tell(point.dataset.tip, point.getBoundingClientRect());
    point.classList.add("on");
  };
  const middle = (point) => {
    const box = point.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const beside = (low, at, high) => Math.max(low - at, 0, at - high);
  const distance = (point, x, y) => {
    const [left, top] = middle(point);
    if (point.tagName !== "rect") return Math.hypot(left - x, top - y);
    const box = point.getBoundingClientRect(); // as near everywhere in it
    return Math.hypot(beside(box.left, x, box.right), beside(box.top, y, box.bottom));
  };
  const nearest = (points, x, y) => {
    let [best, least] = [null, Infinity];
    for (const point of points) {
      const away = distance(point, x, y);
      if (away < least) [best, least] = [point, away];
    }
    return { best, least };
  };
  const withTips = (svg) => {
    const points = () => all(".tip", svg).filter((point) => !point.hasAttribute("hidden"));
    if (!points().length) return;
    all("g > title", svg).forEach((each) => each.remove()); // the browser's own tips
    svg.tabIndex = 0;
    svg.setAttribute("aria-roledescription", "figure; arrow keys read its points");
    let at = null;
    const step = (key) => {
      const shown = points();
      if (!shown.includes(at)) return shown[0];
      const on = key === "ArrowRight" || key === "ArrowDown";
      const after = (list, each) => list[(list.indexOf(each) + (on ? 1 : list.length - 1)) % list.length];
      const owners = [...new Set(shown.map((point) => point.dataset.rule))];
      if (owners.length < 2 || key === "ArrowRight" || key === "ArrowLeft") return after(shown, at);
      const owner = after(owners, at.dataset.rule);
      const x = middle(at)[0];
      const away = (point) => Math.abs(middle(point)[0] - x);
      const own = shown.filter((point) => point.dataset.rule === owner);
      return own.reduce((best, point) => (away(point) < away(best) ? point : best));
    };
    svg.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      if (!event.key.startsWith("Arrow") || !points().length) return;
      event.preventDefault();
      at = step(event.key);
      tellPoint(at);
    });
    svg.addEventListener("pointermove", ({ clientX, clientY }) => {
      const { best, least } = nearest(points(), clientX, clientY);
      if (best && least < REACH) tellPoint(best);
      else hide();
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
  };
  const withRuleTip = (link) => {
    const entry = document.getElementById(link.getAttribute("href").slice(1));
    const does = entry && clean(entry.querySelector("dd").firstChild.textContent);
    if (!does) return;
    const show = () => tell(does, link.getBoundingClientRect());
    for (const [event, react] of [["pointerenter", show], ["focus", show], ["pointerleave", hide], ["blur", hide]]) {
      link.addEventListener(event, react);
    }
  };

  // Filter of rules.
  const filters = (box) => {
    const boxes = all("input", box);
    const apply = () => {
      const off = new Set(boxes.filter((each) => !each.checked).map((each) => each.value));
      for (const each of all("[data-rule]")) each.toggleAttribute("hidden", off.has(each.dataset.rule));
      hide();
    };
    box.addEventListener("change", apply);
    for (const press of all("[data-show]", box)) {
      press.addEventListener("click", () => {
        const every = press.dataset.show === "all";
        for (const each of boxes) each.checked = every || "control" in each.dataset;
        apply();
      });
    }
    box.hidden = false;
    apply(); // a browser may have restored the selection
  };

  // Filters of a table's rows: lists of the rows' values, and a text search.
  const rowFilters = (form) => {
    const rows = all("tbody tr", document.getElementById(form.dataset.table));
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const said = form.querySelector("output");
    const apply = () => {
      const chosen = all("select", form).filter((each) => each.value);
      const words = form.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of rows) {
        const fits = chosen.every((each) => row.dataset[each.name] === each.value);
        row.hidden = !(fits && words.every((word) => texts.get(row).includes(word)));
        count += !row.hidden;
      }
      said.textContent = `${count} of ${rows.length} rows`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    apply();
  };

  // A cue for tables that are wider than their space.
  const cue = (box) => {
    const told = make("p", { className: "cue", hidden: true }, "Scroll sideways for more columns →");
    told.setAttribute("aria-hidden", "true");
    box.before(told);
    const look = () => {
      told.hidden = box.scrollWidth <= box.clientWidth + 1;
    };
    new ResizeObserver(look).observe(box);
    look();
  };

  const NARROW = 1216; // pixels, below which the contents are above the page
  if (innerWidth < NARROW) all(".side details").forEach((each) => (each.open = false));
  for (const box of all(".scroll")) {
    cue(box);
    const table = box.querySelector("table");
    if (!table) continue;
    tableTools(box, table);
    if (!table.matches(".confusion")) sortable(table);
  }
  for (const svg of all("figure svg[role=img]")) {
    figureTools(svg);
    withTips(svg);
  }
  all('a[href^="#rule-"]').forEach(withRuleTip);
  all(".filter").forEach(filters);
  all("form.rows").forEach(rowFilters);
  addEventListener("scroll", hide, { passive: true });
})();
