"""Style and script of the page. The script only sorts tables and filters their rows."""

STYLE = """
:root { --ink: #1c2430; --soft: #667085; --line: #e4e7ec; --paper: #fff; --back: #f6f7f9; --main: #0b6e99;
  --a: #7fb7d4; --b: #a9d3c0; --c: #f0c98b; --d: #c9b6e0; --mark: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b3; --line: #2c333d;
  --paper: #171c23; --back: #0f1318; --main: #58b6dd; --a: #2f6f8f; --b: #3c7a63; --c: #8f6b2c; --d: #63508a;
  --mark: #fb923c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1140px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 22px; margin: 0 0 2px; } h2 { font-size: 17px; margin: 34px 0 8px; }
h3 { font-size: 14px; margin: 20px 0 6px; }
.note, .lead { color: var(--soft); margin: 4px 0 10px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(118px, 1fr)); gap: 10px; margin: 14px 0; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.card b { display: block; font-size: 18px; font-weight: 600; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: 12px; }
.panel { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px;
  overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: right; padding: 5px 8px; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; font-size: 12px; border-bottom-width: 2px; }
th.sorts { cursor: pointer; user-select: none; } th.sorts:hover { color: var(--ink); }
th[aria-sort=ascending]::after { content: " ↑"; } th[aria-sort=descending]::after { content: " ↓"; }
td.left, th.left { text-align: left; } td.wide { white-space: normal; min-width: 200px; }
tr:last-child td { border-bottom: 0; }
.bar { display: block; height: 4px; margin: 3px 0 0 auto; border-radius: 2px; background: var(--main); }
code { font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
.line { display: block; } .line .at { color: var(--main); } .line .of { color: var(--soft); }
details summary { cursor: pointer; color: var(--soft); font-size: 12px; }
details code { display: block; white-space: pre-wrap; word-break: break-all; color: var(--soft); }
input[type=search] { font: inherit; padding: 5px 10px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--paper); color: inherit; width: 260px; margin: 0 0 8px; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 12px; } svg.strip text { fill: var(--ink); font-size: 11px; }
.grid { stroke: var(--line); } .temp { stroke: var(--paper); stroke-width: .4; }
.t0 { fill: var(--a); } .t1 { fill: var(--b); } .t2 { fill: var(--c); } .t3 { fill: var(--d); }
.slice { stroke: var(--paper); stroke-width: 1; }
.live { fill: none; stroke: var(--ink); stroke-width: 1.4; }
.bound { stroke: var(--mark); stroke-dasharray: 6 4; stroke-width: 1.4; }
ul { margin: 6px 0; padding-left: 20px; }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.kernels")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[i].dataset.sort ?? row.cells[i].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b), n = Number(x) - Number(y);
      return Number.isNaN(n) ? x.localeCompare(y) : n;
    });
    body.append(...(down ? rows.reverse() : rows));
  }));
}
for (const field of document.querySelectorAll("input[type=search]")) {
  const rows = [...field.parentElement.querySelectorAll("tbody tr")];
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
"""
