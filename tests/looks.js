// What tests ask of a page: how it looks, and which of its controls the keyboard reaches.
(() => {
  const CONTROLS = "button, summary, input, select, a[href], svg[tabindex], .scroll";
  const LEAST = 4.5; // of the contrast of text
  const visible = (element) => element.checkVisibility({ visibilityProperty: true });

  // Colours as [red, green, blue, opacity], and their contrast (WCAG 2).
  const colour = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    return [...numbers.slice(0, 3).map((each) => each * scale), numbers[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const own = colour(getComputedStyle(element).backgroundColor);
    if (own[3] === 1) return own;
    return over(own, element.parentElement ? behind(element.parentElement) : [255, 255, 255, 1]);
  };
  const opacity = (element) =>
    element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1;
  const linear = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = ([red, green, blue]) =>
    0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
  const contrast = (one, two) => {
    const [low, high] = [light(one), light(two)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const contrastOf = (element) => {
    const style = getComputedStyle(element);
    const ink = colour(element instanceof SVGElement ? style.fill : style.color);
    ink[3] *= opacity(element);
    const paper = behind(element);
    return contrast(over(ink, paper), paper);
  };

  // Text beyond the window's edge that no scrolling within the page reaches.
  const scrolls = (element) =>
    element && (/auto|scroll|hidden/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
  const isBeyond = (text, width) => {
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    return (box.right > width + 1 || box.left < -1) && !scrolls(text.parentElement);
  };

  // Text that is cut at a figure's edge.
  const isCut = (text, frame) => {
    const box = text.getBoundingClientRect();
    const sides = [frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom];
    return text.textContent.trim() && Math.max(...sides) > 2;
  };

  window.faults = (width) => {
    const found = { beyond: [], faint: [], cut: [] };
    const whole = document.documentElement.scrollWidth;
    if (whole > width + 1) found.beyond.push(`the page is ${whole} pixels wide`);
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text; (text = texts.nextNode()); ) {
      const [element, said] = [text.parentElement, text.textContent.trim().slice(0, 40)];
      if (!said || !visible(element) || element.closest("script, style, .hidden, .skip")) continue;
      if (contrastOf(element) < LEAST) found.faint.push(`${said}: ${contrastOf(element).toFixed(2)}`);
      if (isBeyond(text, width)) found.beyond.push(said);
    }
    for (const svg of [...document.querySelectorAll("svg[role=img]")].filter(visible)) {
      const frame = svg.getBoundingClientRect();
      const cut = [...svg.querySelectorAll("text")].filter((text) => isCut(text, frame));
      found.cut.push(...cut.map((text) => text.textContent));
    }
    return found;
  };

  // The controls that had the keyboard: whether they show a ring, and their names.
  const reached = new Map();
  window.reached = reached;
  document.addEventListener("focusin", ({ target }) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(target);
    const name = target.getAttribute("aria-label") || target.labels?.[0]?.textContent || target.textContent;
    const ring = outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
    reached.set(target, { ring, name: name.trim() });
  });
  window.unreached = () => {
    const shown = [...document.querySelectorAll(CONTROLS)].filter(visible);
    const had = shown.filter((each) => reached.has(each));
    const told = (each) => `${each.tagName} ${each.getAttribute("aria-label") || each.textContent.trim()}`;
    return {
      missed: shown.filter((each) => !reached.has(each)).map(told),
      "without a ring": had.filter((each) => !reached.get(each).ring).map(told),
      "without a name": had.filter((each) => !reached.get(each).name).map(told),
    };
  };
})();
