// The controls of the map: pointer, wheel, keyboard, buttons, legend, and the card of one point.
const card = find("map-card"), ring = find("map-ring");

// ---- the card of one point ----
function element(kind, className, text) {
  const made = document.createElement(kind);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function describe() {
  const i = hovered >= 0 ? hovered : pinned;
  card.hidden = ring.hidden = i < 0 || isHidden(i);
  if (card.hidden) return;
  card.replaceChildren();
  if (slots && slots[i] >= 0) {
    const { sheet, column, row } = cell(slots[i]), picture = element("span", "picture sheet-" + sheet);
    picture.style.setProperty("--column", column);
    picture.style.setProperty("--row", row);
    card.append(picture);
  }
  const body = element("div", "card-body"), label = canvas.dataset.noun + " " + rows[i].toLocaleString("en-US");
  body.append(element("strong", "name", data.texts?.[i] || label));
  if (data.texts?.[i]) body.append(element("span", "muted", label));
  for (const one of data.modes) {
    if (one.isScale || one.names.length < 2) continue;
    const line = element("span", "line"), chip = element("i", "chip");
    chip.style.background = one.colors[one.codes[i]];
    line.append(chip, one.title, element("b", "name", one.names[one.codes[i]]));
    body.append(line);
  }
  if (confidence) body.append(element("span", "line", "Confidence " + (confidence[i] / 655.35).toFixed(1) + "%"));
  card.append(body);
  const x = screenX(i), y = screenY(i), docked = width < 520;
  ring.style.translate = x + "px " + y + "px";
  card.style.left = docked ? "" : (x > width / 2 ? x - card.offsetWidth - 14 : x + 14) + "px";
  card.style.top = docked ? "" : Math.max(6, Math.min(height - card.offsetHeight - 6, y - card.offsetHeight / 2)) + "px";
}

function update() { describe(); redraw(); }

// ---- moving about ----
function zoomAt(x, y, factor) {
  const scale = Math.min(home.scale * 5000, Math.max(home.scale * 0.6, view.scale * factor));
  view.x += (x - width / 2) * (1 / view.scale - 1 / scale);
  view.y -= (y - height / 2) * (1 / view.scale - 1 / scale);
  view.scale = scale;
  update();
}
function pan(dx, dy) { view.x -= dx / view.scale; view.y += dy / view.scale; update(); }
function reset() { view = { ...home }; hovered = pinned = -1; update(); }

function showRow(row) {
  const i = rows.indexOf(row);
  if (i < 0) return;
  mode.hidden.delete(mode.codes[i]);
  pinned = i;
  hovered = -1;
  view = { x: points[2 * i], y: points[2 * i + 1], scale: Math.max(view.scale, home.scale * 4) };
  buildLegend();
  update();
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  find("map").scrollIntoView({ behavior: still ? "auto" : "smooth" });
  canvas.focus({ preventScroll: true });
}

const held = new Map();
let travelled = 0;
const place = (event) => { const at = canvas.getBoundingClientRect(); return { x: event.clientX - at.left, y: event.clientY - at.top }; };
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  if (!held.size) travelled = 0;
  held.set(event.pointerId, place(event));
});
canvas.addEventListener("pointermove", (event) => {
  const now = place(event), before = held.get(event.pointerId);
  if (!before) { hovered = nearest(now.x, now.y, 14); describe(); return; }
  travelled += Math.hypot(now.x - before.x, now.y - before.y);
  const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
  held.set(event.pointerId, now);
  if (travelled < 4) return;
  hovered = -1;
  if (!other) { pan(now.x - before.x, now.y - before.y); return; }
  const spread = (p) => Math.hypot(p.x - other.x, p.y - other.y);
  pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  zoomAt((now.x + other.x) / 2, (now.y + other.y) / 2, spread(now) / Math.max(1, spread(before)));
});
const release = (event) => {
  const at = held.get(event.pointerId);
  held.delete(event.pointerId);
  if (event.type !== "pointerup" || travelled >= 4 || !at) return;
  const hit = nearest(at.x, at.y, event.pointerType === "mouse" ? 14 : 24);
  pinned = hit === pinned ? -1 : hit;
  hovered = -1;
  describe();
};
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);
canvas.addEventListener("pointerleave", () => { hovered = -1; describe(); });
canvas.addEventListener("wheel", (event) => {
  if (event.deltaY > 0 && view.scale <= home.scale * 0.6) return;  // nothing left to zoom out of: scroll the page
  event.preventDefault();
  const at = place(event), lines = event.deltaMode === 1 ? 20 : 1;
  zoomAt(at.x, at.y, Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)));
}, { passive: false });

const actions = {
  "zoom-in": () => zoomAt(width / 2, height / 2, 1.5),
  "zoom-out": () => zoomAt(width / 2, height / 2, 1 / 1.5),
  reset,
  save() {
    const picture = document.createElement("canvas"), link = document.createElement("a");
    picture.width = canvas.width;
    picture.height = canvas.height;
    const pen = picture.getContext("2d");
    pen.fillStyle = color("--surface");
    pen.fillRect(0, 0, picture.width, picture.height);
    pen.drawImage(canvas, 0, 0);
    link.download = "map.png";
    link.href = picture.toDataURL("image/png");
    link.click();
  },
};
const keys = {
  "+": actions["zoom-in"], "=": actions["zoom-in"], "-": actions["zoom-out"], 0: reset,
  ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60),
  Enter() { pinned = nearest(width / 2, height / 2, Infinity); describe(); },
  Escape() { hovered = pinned = -1; describe(); },
};
canvas.addEventListener("keydown", (event) => {
  if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
});

// ---- legend and buttons ----
function buildLegend() {
  legend.replaceChildren();
  legend.hidden = mode.names.length < 2;
  if (mode.isScale) {
    const bar = element("span", "scale");
    bar.style.background = "linear-gradient(90deg, " + mode.colors.join(", ") + ")";
    const ends = element("span", "scale-ends");
    ends.append(...mode.names.map((name) => element("span", "muted", name)));
    legend.append(bar, ends);
    return;
  }
  const all = element("button", "small", mode.hidden.size ? "Show all" : "Hide all");
  all.type = "button";
  all.addEventListener("click", () => {
    mode.hidden = new Set(mode.hidden.size ? [] : mode.names.keys());
    buildLegend();
    update();
    legend.querySelector("button").focus();
  });
  legend.append(all);
  mode.names.forEach((name, i) => {
    const entry = element("button", "entry"), chip = element("i", "chip");
    entry.type = "button";
    entry.setAttribute("aria-pressed", !mode.hidden.has(i));
    chip.style.setProperty("--chip", mode.colors[i]);
    entry.append(chip, element("span", "name", name), element("span", "muted", mode.sizes[i].toLocaleString("en-US")));
    entry.addEventListener("click", () => {
      if (!mode.hidden.delete(i)) mode.hidden.add(i);
      entry.setAttribute("aria-pressed", !mode.hidden.has(i));
      all.textContent = mode.hidden.size ? "Show all" : "Hide all";
      emphasized = -1;
      update();
    });
    const emphasize = (value) => () => { emphasized = mode.hidden.has(i) ? -1 : value; redraw(); };
    entry.addEventListener("pointerenter", emphasize(i));
    entry.addEventListener("pointerleave", emphasize(-1));
    legend.append(entry);
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.action) actions[button.dataset.action]();
  if (button.dataset.row) showRow(Number(button.dataset.row));
  if (button.dataset.mode) {
    mode = data.modes[Number(button.dataset.mode)];
    emphasized = -1;
    for (const one of document.querySelectorAll("[data-mode]")) one.setAttribute("aria-pressed", one === button);
    buildLegend();
    update();
  }
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(resize).observe(canvas);
buildLegend();
resize();
draw();
