"use strict";
// The map of a report: its data and its view. paint.js and controls.js follow in the same script. Uses no library.
const root = document.documentElement;
window.addEventListener("error", (event) => { root.dataset.error = event.message; });
const find = (id) => document.getElementById(id);
const unpack = (text, Kind) => new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

const data = JSON.parse(find("map-data").textContent);
const points = unpack(data.points, Float32Array), rows = unpack(data.rows, Uint32Array), n = data.count;
const confidence = data.confidence && unpack(data.confidence, Uint16Array);
const thumbnails = data.thumbnails;
const slots = thumbnails && unpack(thumbnails.slots, Int32Array);
for (const mode of data.modes) {
  mode.codes = unpack(mode.codes, Uint16Array);
  mode.sizes = mode.names.map(() => 0);
  mode.codes.forEach((code) => { mode.sizes[code]++; });
  mode.hidden = new Set();
}
const canvas = find("map-canvas"), context = canvas.getContext("2d"), legend = find("map-legend");
let mode = data.modes[0], emphasized = -1, hovered = -1, pinned = -1;
let width = 0, height = 0, density = 1, home = { x: 0, y: 0, scale: 1 }, view = { ...home };

// ---- where things are ----
const screenX = (i) => (points[2 * i] - view.x) * view.scale + width / 2;
const screenY = (i) => height / 2 - (points[2 * i + 1] - view.y) * view.scale;
const isHidden = (i) => mode.hidden.has(mode.codes[i]);

const box = [Infinity, Infinity, -Infinity, -Infinity];
for (let i = 0; i < n; i++) {
  const x = points[2 * i], y = points[2 * i + 1];
  if (x < box[0]) box[0] = x;
  if (y < box[1]) box[1] = y;
  if (x > box[2]) box[2] = x;
  if (y > box[3]) box[3] = y;
}

function resize() {
  const atHome = view.x === home.x && view.y === home.y && view.scale === home.scale;
  width = canvas.clientWidth;
  height = canvas.clientHeight;
  density = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const room = (size, extent) => (extent > 0 ? Math.max(size - 56, 50) / extent : Infinity);
  const scale = Math.min(room(width, box[2] - box[0]), room(height, box[3] - box[1]));
  home = { x: (box[0] + box[2]) / 2, y: (box[1] + box[3]) / 2, scale: Number.isFinite(scale) ? scale : 1 };
  if (atHome) view = { ...home };
  draw(); // at once: a canvas that is resized is empty until it is drawn
}

function nearest(x, y, reach) {
  let best = -1, least = reach * reach;
  for (let i = 0; i < n; i++) {
    const dx = screenX(i) - x, dy = screenY(i) - y, sqDist = dx * dx + dy * dy;
    if (sqDist < least && !isHidden(i)) { least = sqDist; best = i; }
  }
  return best;
}
