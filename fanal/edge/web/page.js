
// -- the page ----------------------------------------------------------------------------------------

const about = JSON.parse(document.getElementById("about").textContent);
const at = (id) => document.getElementById(id);
const paper = at("paper");
const frame = at("frame");
const seen = at("seen");
const DETAIL = 16; // points of a drawing for each pixel of the image, each way
// How much of the frame a drawing fills once it is centred: small images are cut close in the usual data sets.
const FILLED = Math.max(about.width, about.height) <= 12 ? 1 : 20 / 28;
const PEN = Math.max(0.09, 1.1 / Math.max(about.width, about.height)); // of the frame
const STEPS = 40; // of training for one correction, at most
const KEPT = 12; // corrections that are practised together

let model;
let strokes = []; // lines of points {x, y} from 0 to 1, or an opened picture
let current = null;
let asked = false;
const lessons = []; // {image, label}
const losses = [];

function decoded(id) {
  const text = atob(at(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  at(id).remove();
  return bytes;
}

function kilobytes(n) {
  return n < 1e6 ? `${Math.max(1, Math.round(n / 1e3))} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

// -- drawing ---------------------------------------------------------------------------------------------

function place(event) {
  const box = paper.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  paper.setPointerCapture(event.pointerId);
  current = { points: [place(event)], width: PEN * at("pen").value, color: at("color").value };
  strokes.push(current);
  changed();
});
paper.addEventListener("pointermove", (event) => {
  if (!current) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const one of events.length ? events : [event]) current.points.push(place(one));
  changed();
});
for (const kind of ["pointerup", "pointercancel"]) {
  paper.addEventListener(kind, () => (current = null));
}
at("clear").addEventListener("click", () => {
  strokes = [];
  changed();
});
at("undo").addEventListener("click", () => {
  strokes.pop();
  changed();
});
at("fit").addEventListener("change", changed);
at("open").addEventListener("change", (event) => opened(event.target.files[0]));
frame.addEventListener("dragover", (event) => event.preventDefault());
frame.addEventListener("drop", (event) => {
  event.preventDefault();
  opened(event.dataTransfer.files[0]);
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z") at("undo").click();
  if (event.key === "Escape" || event.key === "Delete") at("clear").click();
});

async function opened(file) {
  if (!file) return;
  strokes = [{ picture: await createImageBitmap(file) }];
  changed();
}

/** Draw strokes into a context of so many points, through a map of the frame. */
function render(context, width, height, ink, { scale, x, y } = { scale: 1, x: 0, y: 0 }) {
  const side = Math.max(width, height);
  for (const stroke of strokes) {
    if (stroke.picture) {
      const { width: w, height: h } = stroke.picture;
      const times = Math.min(width / w, height / h);
      context.drawImage(stroke.picture, (width - w * times) / 2, (height - h * times) / 2, w * times, h * times);
      continue;
    }
    const points = stroke.points.map((p) => ({ x: (p.x * scale + x) * width, y: (p.y * scale + y) * height }));
    context.strokeStyle = ink ?? stroke.color;
    context.lineWidth = stroke.width * side;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(points[0].x, points[0].y);
    if (points.length === 1) context.lineTo(points[0].x + 0.01, points[0].y);
    for (let i = 1; i < points.length; i++) {
      const [before, now] = [points[i - 1], points[i]];
      context.quadraticCurveTo(before.x, before.y, (before.x + now.x) / 2, (before.y + now.y) / 2);
      if (i === points.length - 1) context.lineTo(now.x, now.y);
    }
    context.stroke();
  }
}

/** The map that puts a drawing into the middle of the frame, as large as the model is used to. */
function centred() {
  const points = strokes.flatMap((s) => s.points ?? []);
  if (!at("fit").checked || about.channels !== 1 || points.length === 0) return undefined;
  const xs = points.map((p) => p.x);
  const ys = points.map((p) => p.y);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const pen = Math.max(...strokes.map((s) => s.width ?? 0));
  const extent = Math.max(right - left, bottom - top);
  const scale = extent > 0.02 ? Math.min((FILLED - pen) / extent, 3) : 1;
  return { scale, x: 0.5 - (scale * (left + right)) / 2, y: 0.5 - (scale * (top + bottom)) / 2 };
}

const work = document.createElement("canvas");
work.width = about.width * DETAIL;
work.height = about.height * DETAIL;
const workspace = work.getContext("2d", { willReadFrequently: true });

/** The image that the model is given: from 0 to 1, channel by channel; ink is 1 where there is one channel. */
function image() {
  const { width, height, channels } = about;
  const gray = channels === 1;
  workspace.fillStyle = gray ? "#000" : "#fff";
  workspace.fillRect(0, 0, work.width, work.height);
  render(workspace, work.width, work.height, gray ? "#fff" : undefined, centred());
  const { data } = workspace.getImageData(0, 0, work.width, work.height);
  const found = new Float32Array(channels * width * height);
  const share = 1 / (DETAIL * DETAIL * 255);
  const light = gray ? [0.299, 0.587, 0.114] : null;
  for (let y = 0; y < work.height; y++) {
    const row = Math.floor(y / DETAIL) * width;
    for (let x = 0; x < work.width; x++) {
      const from = 4 * (y * work.width + x);
      const to = row + Math.floor(x / DETAIL);
      if (gray) {
        found[to] += share * (light[0] * data[from] + light[1] * data[from + 1] + light[2] * data[from + 2]);
      } else {
        for (let c = 0; c < 3; c++) found[c * width * height + to] += share * data[from + c];
      }
    }
  }
  return found;
}

function changed() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    show();
  });
}

function show() {
  const style = getComputedStyle(document.documentElement);
  const width = Math.round(paper.clientWidth * devicePixelRatio);
  paper.width = width;
  paper.height = Math.round((width * about.height) / about.width);
  const context = paper.getContext("2d");
  if (about.channels === 3) {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, paper.width, paper.height);
  }
  render(context, paper.width, paper.height, about.channels === 1 ? style.getPropertyValue("--stroke") : undefined);
  const pixels = image();
  showSeen(pixels);
  frame.classList.toggle("drawn", strokes.length > 0);
  at("undo").disabled = at("clear").disabled = strokes.length === 0;
  for (const button of at("choices").children) button.disabled = strokes.length === 0;
  if (strokes.length === 0) {
    showShares(null);
    return;
  }
  const began = performance.now();
  const shares = answer(pixels);
  const took = performance.now() - began;
  showShares(shares);
  at("time").textContent = `answered in ${took < 1 ? "less than a millisecond" : `${took.toFixed(1)} ms`}, on this page`;
}

function showSeen(pixels) {
  const { width, height, channels } = about;
  seen.width = width;
  seen.height = height;
  const context = seen.getContext("2d");
  const shown = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) shown.data[4 * i + c] = 255 * pixels[channels === 3 ? c * width * height + i : i];
    shown.data[4 * i + 3] = 255;
  }
  context.putImageData(shown, 0, 0);
}

// -- the answer ------------------------------------------------------------------------------------------

/** Shares of all labels; logits become probabilities. */
function answer(pixels) {
  const numbers = Array.from(model.run(about.answer, { [about.image]: pixels }, about.dims)[about.result]);
  const sum = numbers.reduce((a, b) => a + b, 0);
  if (numbers.every((n) => n >= 0) && Math.abs(sum - 1) < 1e-3) return numbers;
  const most = Math.max(...numbers);
  const powers = numbers.map((n) => Math.exp(n - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / total);
}

const SHOWN = Math.min(10, about.labels.length);
const rows = Array.from({ length: SHOWN }, () => {
  const row = document.createElement("li");
  row.innerHTML = '<span class="name"></span><span class="bar"><i></i></span><span class="share"></span>';
  at("bars").append(row);
  return row;
});

function showShares(shares) {
  const order = about.labels.map((_, i) => i);
  if (shares && about.labels.length > SHOWN) order.sort((a, b) => shares[b] - shares[a]);
  const best = shares ? shares.indexOf(Math.max(...shares)) : -1;
  rows.forEach((row, i) => {
    const [name, bar, share] = row.children;
    const number = order[i];
    name.textContent = about.labels[number];
    bar.firstChild.style.transform = `scaleX(${shares ? shares[number] : 0})`;
    share.textContent = shares ? `${(100 * shares[number]).toFixed(shares[number] < 0.0995 ? 1 : 0)} %` : "";
    row.classList.toggle("top", number === best);
  });
  const label = at("label");
  label.textContent = shares ? about.labels[best] : "?";
  label.classList.toggle("long", label.textContent.length > 3);
  at("sure").textContent = shares ? `${(100 * shares[best]).toFixed(0)} % sure` : "nothing drawn yet";
  if (!shares) at("time").textContent = "";
}

// -- learning --------------------------------------------------------------------------------------------

async function learn(label) {
  lessons.push({ image: image(), label });
  if (lessons.length > KEPT) lessons.shift();
  for (const button of at("choices").children) button.classList.toggle("right", button.dataset.label === `${label}`);
  const before = shareOf(lessons.at(-1));
  let steps = 0;
  note();
  while (steps < STEPS && !lessons.every((lesson) => shareOf(lesson) > 0.8)) {
    for (const lesson of lessons) {
      const given = { [about.taught[0]]: lesson.image, [about.taught[1]]: [lesson.label] };
      model.run(about.teach, given, about.dims);
      steps++;
    }
    note();
    show();
    await new Promise(requestAnimationFrame);
  }
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  at("report").textContent =
    `“${about.labels[label]}”: ${percent(before)} → ${percent(shareOf(lessons.at(-1)))} sure after ${steps} training ` +
    `step${steps === 1 ? "" : "s"} on this page; ${lessons.length} correction${lessons.length === 1 ? "" : "s"} learned.`;
  at("forget").disabled = false;
}

/** How sure the model is of a lesson's label. */
function shareOf({ image, label }) {
  return answer(image)[label];
}

/** Note the mean cross-entropy of all lessons, for the curve. */
function note() {
  const sum = lessons.reduce((total, lesson) => total - Math.log(Math.max(shareOf(lesson), 1e-9)), 0);
  losses.push(sum / lessons.length);
  showLosses();
}

function showLosses() {
  const last = losses.slice(-120);
  const most = Math.max(...last, 1e-6);
  const x = (i) => (last.length > 1 ? (196 * i) / (last.length - 1) + 2 : 100);
  const path = last.map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${(44 - (40 * v) / most).toFixed(1)}`).join("");
  at("losses").firstElementChild.setAttribute("d", path);
}

at("forget").addEventListener("click", () => {
  model.reset();
  lessons.length = losses.length = 0;
  at("losses").firstElementChild.setAttribute("d", "");
  at("report").textContent = "Forgotten: the model is as it was.";
  at("forget").disabled = true;
  for (const button of at("choices").children) button.classList.remove("right");
  show();
});

// -- the beginning ---------------------------------------------------------------------------------------

const { card } = about;
document.querySelector("h1").textContent = card.title ?? about.title.replaceAll("_", " ");
at("description").textContent =
  card.description ?? `Runs in this page: ${kilobytes(about.bytes.code)} of code, nothing leaves your computer.`;
at("size").textContent = `${about.width} × ${about.height} pixels`;
document.querySelector("footer").textContent = [
  `${kilobytes(about.bytes.code)} of WebAssembly, ${kilobytes(about.bytes.weights)} of weights; nothing leaves this page`,
  ...Object.entries(card).filter(([name]) => name !== "description" && name !== "title").map(([name, value]) => `${name}: ${value}`),
].join(" · ");
at("fit-label").hidden = about.channels !== 1;
at("color-label").hidden = about.channels !== 3;
paper.style.aspectRatio = `${about.width} / ${about.height}`;
if (about.teach) {
  at("teaching").hidden = false;
  about.labels.forEach((label, i) => {
    const button = document.createElement("button");
    button.textContent = label;
    button.dataset.label = i;
    button.addEventListener("click", () => learn(i));
    at("choices").append(button);
  });
}
model = await load({ wasm: decoded("wasm"), weights: decoded("weights") });
show();
new ResizeObserver(changed).observe(frame);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
document.documentElement.dataset.ready = "yes";
