// What is wrong with this page as it is laid out now, one sentence each.
(() => {
  const problems = [];
  const say = (...words) => problems.push(words.join(" "));
  const phone = matchMedia("screen and (max-width: 640px)").matches;
  const paper = matchMedia("print").matches;
  const name = svg => svg.querySelector("title").id.replace(/-title$/, "");
  const shown = e => e.getBoundingClientRect().width > 0;

  // The page fits its screen; what does not scrolls by itself, and by keyboard.
  if (document.documentElement.scrollWidth > innerWidth) {
    say("the page is wider than the screen:", document.documentElement.scrollWidth, ">", innerWidth);
  }
  for (const e of document.querySelectorAll(".scroll, pre")) {
    if (e.scrollWidth <= e.clientWidth + 1 && e.scrollHeight <= e.clientHeight + 1) continue;
    if (paper) say("paper cuts off:", e.textContent.trim().slice(0, 60));
    if (e.tabIndex !== 0) say("no keyboard scrolls:", e.textContent.trim().slice(0, 60));
  }

  // Headings, tables, names.
  let level = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (!shown(h)) say("heading that is not shown:", h.textContent);
    const next = Number(h.tagName[1]);
    if (next > level + 1) say(h.tagName, "after level", level);
    level = next;
  }
  for (const t of document.querySelectorAll("table")) {
    if (!t.caption || !t.caption.textContent.trim()) say("table without a caption");
    for (const th of t.querySelectorAll("th")) {
      if (!th.scope) say("th without a scope:", th.textContent);
    }
  }

  // Charts: the one for this screen, drawn, with words that can be read.
  for (const svg of document.querySelectorAll("svg.chart")) {
    const id = name(svg), wanted = !id.endsWith(phone ? "-wide" : "-narrow");
    if (shown(svg) !== wanted) say(id + ": shown", shown(svg), "want", wanted);
    if (!shown(svg)) continue;
    const drawn = [...svg.querySelectorAll(".line, .mark, .area")].filter(m => {
      const box = m.getBBox();
      return (box.width > 0 || box.height > 0) && box.x + box.width > 0 && box.y + box.height > 0;
    });
    if (drawn.length === 0) say(id + ": nothing is drawn");
    const edge = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map(e => ({ text: e.textContent, box: e.getBoundingClientRect() }));
    texts.forEach((a, i) => {
      const { left, right, top, bottom } = a.box;
      if (left < edge.left - 1 || right > edge.right + 1 || top < edge.top - 1 || bottom > edge.bottom + 1) say(id + ": “" + a.text + "” is cut off");
      for (const b of texts.slice(i + 1)) {
        const across = Math.min(right, b.box.right) - Math.max(left, b.box.left);
        const down = Math.min(bottom, b.box.bottom) - Math.max(top, b.box.top);
        if (across > 1 && down > 3) say(id + ": “" + a.text + "” meets “" + b.text + "”"); // Boxes hold room above and below.
      }
    });
  }

  // Text stands out from its ground by 4.5 to 1 (WCAG 2.2, Section 1.4.3).
  const channels = colour => (colour.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
  const luminance = colour => {
    const [r, g, b] = channels(colour).map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = e => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor, alpha = channels(colour)[3];
      if (alpha === undefined || alpha > 0.5) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = new Set();
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
    if (!own || !shown(e) || ["SCRIPT", "title", "desc"].includes(e.tagName)) continue;
    const style = getComputedStyle(e), colour = e instanceof SVGElement ? style.fill : style.color;
    const [less, more] = [luminance(colour), luminance(ground(e))].sort((a, b) => a - b);
    if ((more + 0.05) / (less + 0.05) < 4.5) faint.add(colour + " on " + ground(e));
  }
  for (const pair of faint) say("too little contrast:", pair);
  return problems;
})()
