"use strict";
// Pictures of the periodic table, and the dialog behind its tiles. Without it the page lists all methods below the table.
const root = document.documentElement;
window.addEventListener("error", (event) => { root.dataset.error = event.message; });
const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
const arrays = data.arrays.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const [POINT, PARTNER, PROTOTYPE] = [0, 1, 2];

function draw(canvas, picture, turn, tilt) {
  const side = canvas.clientWidth;
  if (!side) return;
  const density = Math.max(window.devicePixelRatio || 1, 2);  // prints are finer than screens
  canvas.width = canvas.height = Math.round(side * density);
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  const style = getComputedStyle(canvas);
  const points = arrays[picture.points], codes = arrays[picture.codes], roles = arrays[picture.roles];
  const dims = picture.dims, n = codes.length, radius = side * 0.46, size = Math.max(0.9, side / 105);
  const [cosT, sinT, cosA, sinA] = [Math.cos(turn), Math.sin(turn), Math.cos(tilt), Math.sin(tilt)];
  const at = (i, axis) => points[i * dims + axis] / 127.5 - 1;
  const placed = Array.from({ length: n }, (_, i) => {
    const x = at(i, 0), y = at(i, 1), z = dims === 3 ? at(i, 2) : 0;
    if (dims === 2) return [x, y, 1, i];
    const across = x * cosT + z * sinT, deep = z * cosT - x * sinT;
    return [across, y * cosA - deep * sinA, y * sinA + deep * cosA, i];
  });
  // points that come in the order of their classes would cover one another class by class
  if (dims === 3) placed.sort((a, b) => a[2] - b[2]);
  else placed.sort((a, b) => (a[3] * 7919) % n - (b[3] * 7919) % n);
  placed.sort((a, b) => (roles[a[3]] === PROTOTYPE) - (roles[b[3]] === PROTOTYPE));
  const scale = dims === 3 && !picture.sphere ? radius * 0.82 : radius;
  if (picture.sphere) {
    context.beginPath();
    context.arc(side / 2, side / 2, radius + size, 0, 2 * Math.PI);
    context.strokeStyle = style.getPropertyValue("--line");
    context.lineWidth = 1;
    context.stroke();
  }
  for (const [x, y, depth, i] of placed) {
    const near = dims === 3 ? (Math.max(-1, Math.min(1, depth)) + 1) / 2 : 1;
    const role = roles[i], color = data.colors[codes[i] % data.colors.length];
    context.globalAlpha = role === PROTOTYPE ? 1 : 0.16 + 0.74 * near * near;
    context.beginPath();
    context.arc(side / 2 + x * scale, side / 2 - y * scale, size * (role === PROTOTYPE ? 2.6 : role === PARTNER ? 1.2 : 1), 0, 2 * Math.PI);
    if (role === PARTNER) {
      context.strokeStyle = color;
      context.lineWidth = size * 0.7;
      context.stroke();
    } else {
      context.fillStyle = color;
      context.fill();
    }
    if (role === PROTOTYPE) {
      context.strokeStyle = style.getPropertyValue("--surface");
      context.lineWidth = size * 0.9;
      context.stroke();
    }
  }
  context.globalAlpha = 1;
}

const TILT = 0.35;
function drawAll() {
  for (const canvas of document.querySelectorAll("canvas[data-picture]")) {
    draw(canvas, data.pictures[canvas.dataset.picture], 0, TILT);
  }
}

// ---- the dialog ----
const dialog = find("method"), tiles = [...document.querySelectorAll(".tile")];
let current = -1, frame = 0;

function animate(canvas, picture) {
  let turn = 0, tilt = TILT, before = 0, held = null;
  const step = (now) => {
    if (!canvas.isConnected || !dialog.open) return;
    if (!held && before && !calm.matches) turn += (now - before) / 9000;
    before = now;
    draw(canvas, picture, turn, tilt);
    frame = requestAnimationFrame(step);
  };
  canvas.classList.add("turns");
  canvas.addEventListener("pointerdown", (event) => { held = event; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    turn += (event.clientX - held.clientX) / 120;
    tilt = Math.max(-1.5, Math.min(1.5, tilt + (event.clientY - held.clientY) / 120));
    held = event;
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
  frame = requestAnimationFrame(step);
}

function show(position) {
  current = (position + tiles.length) % tiles.length;
  const tile = tiles[current], id = tile.hash.slice(1), article = find(id).cloneNode(true);
  article.removeAttribute("id");
  find("shown").replaceChildren(article);
  dialog.setAttribute("aria-label", article.querySelector("h3").textContent);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  history.replaceState(null, "", tile.hash);
  cancelAnimationFrame(frame);
  const canvas = article.querySelector("canvas");
  if (canvas) {
    const picture = data.pictures[canvas.dataset.large];
    draw(canvas, picture, 0, TILT);
    if (picture.dims === 3) animate(canvas, picture);
  }
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
}

document.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile"), button = event.target.closest(".copy");
  if (button) copy(button);
  if (!tile || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(tiles.indexOf(tile));
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  history.replaceState(null, "", location.pathname + location.search);
  tiles[current].focus({ preventScroll: false });
});
dialog.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowRight") show(current + 1);
  if (event.key === "ArrowLeft") show(current - 1);
});
find("previous").addEventListener("click", () => show(current - 1));
find("next").addEventListener("click", () => show(current + 1));
find("close").addEventListener("click", () => dialog.close());

root.classList.add("scripted");
drawAll();
root.dataset.pictures = String(document.querySelectorAll("canvas[data-picture]").length);
let waiting = 0;
addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawAll); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
addEventListener("beforeprint", drawAll);
const start = tiles.findIndex((tile) => tile.hash === location.hash);
if (start >= 0) show(start);
