"""Style and script of the page."""

STYLE = """
:root { --ink: #1c2430; --soft: #5d6979; --line: #dfe3e8; --paper: #fff; --back: #f4f5f7; --main: #0b6e99;
  --product: #cfe4f1; --product-line: #4b93bb; --sum: #d3eadd; --sum-line: #58a27d; --element: #fdeccb;
  --element-line: #d19d3c; --move: #e9ebef; --move-line: #a3acb9; --control: #e4daf2; --control-line: #9274bd;
  --edge: #9aa4b2; --mark: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b3; --line: #2c333d; --paper: #171c23;
  --back: #0f1318; --main: #58b6dd; --product: #1d4258; --product-line: #4b93bb; --sum: #1f4634;
  --sum-line: #58a27d; --element: #4d3c17; --element-line: #b98a34; --move: #262d37; --move-line: #5d6979;
  --control: #3a2d51; --control-line: #9274bd; --edge: #5d6979; --mark: #fb923c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1500px; margin: 0 auto; padding: 22px 20px 60px; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 16px; margin: 30px 0 8px; } h3 { font-size: 13px; margin: 14px 0 4px; }
.lead, .note { color: var(--soft); margin: 2px 0 10px; }
.cards { display: flex; flex-wrap: wrap; gap: 10px; margin: 12px 0 16px; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px; min-width: 110px; }
.card b { display: block; font-size: 16px; font-weight: 600; } .card span { color: var(--soft); font-size: 12px; }
.bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 8px 10px; border-bottom: 1px solid var(--line); }
.bar button, .panel button { font: inherit; font-size: 13px; color: inherit; background: var(--back); cursor: pointer;
  border: 1px solid var(--line); border-radius: 6px; padding: 2px 10px; }
.bar button[aria-pressed=true] { background: var(--main); border-color: var(--main); color: #fff; }
.bar .space { flex: 1; } .bar input { font: inherit; font-size: 13px; width: 190px; padding: 2px 8px; color: inherit;
  background: var(--back); border: 1px solid var(--line); border-radius: 6px; }
.path { color: var(--soft); font-size: 13px; } .path a { color: var(--main); cursor: pointer; }
.viewer { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.stage { display: flex; height: min(74vh, 900px); }
.canvas { flex: 1; position: relative; overflow: hidden; touch-action: none; cursor: grab; min-width: 0; }
.canvas.drag { cursor: grabbing; }
.picture { position: absolute; inset: 0; width: 100%; height: 100%; display: none; user-select: none; }
.picture.shown { display: block; }
.panel { width: 380px; border-left: 1px solid var(--line); overflow: auto; padding: 12px 14px; font-size: 13px; }
.panel:empty { display: none; }
.panel h4 { margin: 0; font-size: 15px; } .panel h5 { margin: 12px 0 2px; font-size: 12px; font-weight: 500; color: var(--soft); }
.panel pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
.panel .close { float: right; }
.edge { fill: none; stroke: var(--edge); stroke-width: 1.3; }
.edge.near { stroke: var(--mark); stroke-width: 2.2; }
.box { cursor: pointer; outline: none; }
.box rect { fill: var(--paper); stroke: var(--line); stroke-width: 1.2; }
.box text { text-anchor: middle; fill: var(--ink); font-size: 13px; }
.box .title { font-weight: 600; } .box .small { font-size: 11px; fill: var(--soft); }
.box .type { fill: var(--ink); opacity: .75; }
.box .more { stroke: var(--soft); fill: none; }
.product rect { fill: var(--product); stroke: var(--product-line); } .sum rect { fill: var(--sum); stroke: var(--sum-line); }
.element rect { fill: var(--element); stroke: var(--element-line); } .move rect { fill: var(--move); stroke: var(--move-line); }
.control rect { fill: var(--control); stroke: var(--control-line); } .port rect { fill: var(--paper); stroke: var(--ink); }
.backward rect { stroke-dasharray: 5 3; }
.box:focus rect, .box.chosen rect { stroke: var(--mark); stroke-width: 2.4; }
.searching .box:not(.found) { opacity: .28; }
.legend span { display: inline-flex; align-items: center; gap: 5px; margin-right: 12px; font-size: 12px; color: var(--soft); }
.legend i { width: 12px; height: 12px; border-radius: 3px; border: 1px solid; display: inline-block; }
.tables { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: 4px 8px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: 12px; } tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
@media (max-width: 800px) { .stage { flex-direction: column; height: 86vh; } .panel { width: auto; max-height: 40%;
  border-left: 0; border-top: 1px solid var(--line); } }
"""

SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
for (const viewer of document.querySelectorAll(".viewer")) {
  const canvas = viewer.querySelector(".canvas"), panel = viewer.querySelector(".panel");
  const path = viewer.querySelector(".path"), search = viewer.querySelector("input");
  const pictures = new Map([...viewer.querySelectorAll(".picture")].map(p => [Number(p.dataset.picture), p]));
  const places = new Map();
  let stack = [], shown = null, chosen = null;
  const make = (tag, text, name) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (name) e.className = name;
    return e;
  };
  const place = () => places.get(shown);
  const draw = () => {
    const p = place();
    shown.querySelector(".world").setAttribute("transform", `translate(${p.x} ${p.y}) scale(${p.k})`);
  };
  const size = () => [Number(shown.dataset.width), Number(shown.dataset.height)];
  const fit = () => {
    const [w, h] = size(), k = Math.max(Math.min(canvas.clientWidth / w, canvas.clientHeight / h, 1.4), 0.08);
    places.set(shown, { k, x: (canvas.clientWidth - w * k) / 2, y: Math.max((canvas.clientHeight - h * k) / 2, 0) });
    draw();
  };
  const begin = () => {  // readable, from the top: what does not fit is scrolled to
    const [w, h] = size();
    const k = Math.max(Math.min(canvas.clientWidth / w, canvas.clientHeight / h, 1), Math.min(canvas.clientWidth / w, 1), 0.45);
    const high = h * k <= canvas.clientHeight;
    places.set(shown, { k, x: (canvas.clientWidth - w * k) / 2, y: high ? (canvas.clientHeight - h * k) / 2 : 4 });
    draw();
  };
  const zoom = (factor, x, y) => {
    const p = place(), k = Math.min(Math.max(p.k * factor, 0.03), 4);
    p.x = x - (x - p.x) * k / p.k; p.y = y - (y - p.y) * k / p.k; p.k = k;
    draw();
  };
  const choose = box => {
    const before = canvas.clientWidth;
    select(box);
    const p = place();
    if (p) { p.x += (canvas.clientWidth - before) / 2; draw(); }  // what was in the middle stays there
  };
  const select = box => {
    for (const e of viewer.querySelectorAll(".chosen, .near")) e.classList.remove("chosen", "near");
    panel.replaceChildren();
    chosen = box;
    if (!box) return;
    box.classList.add("chosen");
    const number = box.dataset.box, info = data[shown.dataset.picture].boxes[number];
    for (const e of shown.querySelectorAll(".edge"))
      e.classList.toggle("near", e.dataset.from === number || e.dataset.to === number);
    const close = make("button", "×", "close");
    close.setAttribute("aria-label", "close");
    close.addEventListener("click", () => choose(null));
    panel.append(close, make("h4", info.title), make("div", info.detail, "note"));
    for (const [name, to] of info.opens) {
      const open = make("button", `open ${name}`);
      open.addEventListener("click", () => enter(to));
      panel.append(open, " ");
    }
    for (const [name, lines] of info.facts) panel.append(make("h5", name), make("pre", lines.join("\\n")));
  };
  const trail = () => {
    path.replaceChildren();
    if (stack.length < 2) return;
    stack.forEach((n, i) => {
      if (i) path.append(" › ");
      const last = i === stack.length - 1, e = make(last ? "b" : "a", data[n].title);
      if (!last) e.addEventListener("click", () => { stack = stack.slice(0, i + 1); show(n); });
      path.append(e);
    });
  };
  const show = n => {
    if (shown) shown.classList.remove("shown");
    select(null);
    shown = pictures.get(n);
    shown.classList.add("shown");
    if (place()) draw(); else begin();
    for (const b of viewer.querySelectorAll("[data-show]")) b.setAttribute("aria-pressed", Number(b.dataset.show) === stack[0]);
    trail();
    find();
  };
  const enter = n => { stack.push(n); show(n); };
  const find = () => {
    const wanted = search.value.trim().toLowerCase();
    canvas.classList.toggle("searching", wanted !== "");
    if (!wanted) return;
    const boxes = data[shown.dataset.picture].boxes;
    let first = null;
    for (const e of shown.querySelectorAll(".box")) {
      const b = boxes[e.dataset.box], text = [b.title, b.detail, ...b.facts.flatMap(f => f[1])].join("\\n");
      const hit = text.toLowerCase().includes(wanted);
      e.classList.toggle("found", hit);
      if (hit && !first) first = e;
    }
    if (first) {
      const p = place(), box = first.getBBox(), at = first.getAttribute("transform").match(/[-\\d.]+/g).map(Number);
      p.x = canvas.clientWidth / 2 - (at[0] + box.width / 2) * p.k;
      p.y = canvas.clientHeight / 3 - at[1] * p.k;
      draw();
    }
  };
  search.addEventListener("input", find);
  for (const b of viewer.querySelectorAll("[data-show]"))
    b.addEventListener("click", () => { stack = [Number(b.dataset.show)]; show(stack[0]); });
  viewer.querySelector(".fit").addEventListener("click", fit);
  for (const [name, factor] of [[".in", 1.25], [".out", 0.8]])
    viewer.querySelector(name).addEventListener("click", () => zoom(factor, canvas.clientWidth / 2, canvas.clientHeight / 2));
  canvas.addEventListener("wheel", e => {
    e.preventDefault();
    const r = canvas.getBoundingClientRect();
    if (e.ctrlKey || e.metaKey) zoom(Math.exp(-e.deltaY / 200), e.clientX - r.left, e.clientY - r.top);
    else { const p = place(); p.x -= e.deltaX; p.y -= e.deltaY; draw(); }
  }, { passive: false });
  let from = null, far = false;
  canvas.addEventListener("pointerdown", e => { from = [e.clientX, e.clientY]; far = false; });
  canvas.addEventListener("pointermove", e => {
    if (!from) return;
    const dx = e.clientX - from[0], dy = e.clientY - from[1];
    if (!far && Math.abs(dx) + Math.abs(dy) < 5) return;
    if (!far) { far = true; canvas.setPointerCapture(e.pointerId); canvas.classList.add("drag"); }
    const p = place();
    p.x += dx; p.y += dy; from = [e.clientX, e.clientY];
    draw();
  });
  const end = () => { from = null; canvas.classList.remove("drag"); };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("click", e => { if (!far) choose(e.target.closest(".box")); });
  canvas.addEventListener("dblclick", e => {
    const box = e.target.closest(".box");
    if (!box) return;
    const opens = data[shown.dataset.picture].boxes[box.dataset.box].opens;
    if (opens.length) enter(opens[0][1]);
  });
  viewer.addEventListener("keydown", e => {
    if (e.target === search) return;
    if (e.key === "Escape") { if (chosen) choose(null); else if (stack.length > 1) { stack.pop(); show(stack.at(-1)); } }
    else if (e.key === "+" || e.key === "-") zoom(e.key === "+" ? 1.25 : 0.8, canvas.clientWidth / 2, canvas.clientHeight / 2);
    else if (e.key === "0") fit();
    else if (e.key === "Enter" && e.target.classList.contains("box")) choose(e.target);
  });
  stack = [Number(viewer.dataset.first)];
  show(stack[0]);
  addEventListener("resize", () => draw());
}
"""
