// Drawing the map: discs, then pictures where few are in view, then the names of the categories.
const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const channel = (hex, at) => parseInt(hex.slice(at, at + 2), 16);
const pack = (hex) => (0xff000000 | (channel(hex, 5) << 16) | (channel(hex, 3) << 8) | channel(hex, 1)) >>> 0;

const sheets = thumbnails ? thumbnails.sheetRows.map((_, i) => {
  const probe = document.createElement("span"), image = new Image();
  probe.className = "sheet-" + i;  // the style sheet holds the only copy of the pictures
  probe.hidden = true;
  document.body.append(probe);
  image.onload = redraw;
  image.src = getComputedStyle(probe).backgroundImage.slice(5, -2);
  probe.remove();
  return image;
}) : [];

function cell(slot) {
  const perSheet = thumbnails.columns * thumbnails.sheetRows[0], sheet = Math.floor(slot / perSheet), at = slot % perSheet;
  return { sheet, column: at % thumbnails.columns, row: Math.floor(at / thumbnails.columns) };
}

// The discs are blended by hand into a buffer of pixels: tens of thousands of drawImage calls take half a second
// where there is no graphics card, this takes some milliseconds. One mask for each quarter of a pixel; shares are
// in 128ths, so that two channels (rb) are blended in one 32-bit product.
function masks(radius, alpha, stride) {
  const reach = Math.ceil(radius + 1), all = [];
  for (let part = 0; part < 16; part++) {
    const offsets = [], shares = [];
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const share = Math.min(1, radius + 0.5 - Math.hypot(dx - (part % 4) / 4, dy - (part >> 2) / 4));
        if (share > 0) { offsets.push(dy * stride + dx); shares.push(Math.round(128 * share * alpha)); }
      }
    }
    all.push({ offsets: Int32Array.from(offsets), shares: Int32Array.from(shares) });
  }
  return all;
}

function blend(pixels, start, { offsets, shares }, ink) {
  const inkRb = ink & 0xff00ff, inkG = ink & 0x00ff00;
  for (let k = 0; k < offsets.length; k++) {
    const at = start + offsets[k], share = shares[k], rest = 128 - share, under = pixels[at];
    const rb = ((under & 0xff00ff) * rest + inkRb * share) >> 7, g = ((under & 0x00ff00) * rest + inkG * share) >> 7;
    pixels[at] = 0xff000000 | (rb & 0xff00ff) | (g & 0x00ff00);
  }
}

let scheduled = false, image;
function redraw() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; draw(); });
}

function draw() {
  const zoom = view.scale / home.scale;
  const radius = Math.min(6, Math.max(1.5, 9.6 - 1.6 * Math.log10(n))) * Math.min(2.5, Math.max(0.7, zoom ** 0.3))
    * (width < 500 ? 0.75 : 1);
  const shown = [];
  for (let i = 0; i < n; i++) {
    if (isHidden(i)) continue;
    const x = screenX(i), y = screenY(i);
    if (x > -radius && y > -radius && x < width + radius && y < height + radius) shown.push(i);
  }
  const margin = Math.ceil(2 * (radius + 1) * density) + 1;  // so that no disc leaves the buffer
  const stride = canvas.width + 2 * margin, lines = canvas.height + 2 * margin;
  if (image?.width !== stride || image.height !== lines) image = new ImageData(stride, lines);
  const pixels = new Uint32Array(image.data.buffer), surface = pack(color("--surface")), inks = mode.colors.map(pack);
  pixels.fill(surface);
  const outlines = radius > 3 ? masks((radius + 0.8) * density, 0.8, stride) : null;
  const stamp = (list, alpha) => {
    const discs = masks(radius * density, alpha, stride);
    for (const i of list) {
      const x = screenX(i) * density + margin, y = screenY(i) * density + margin, left = Math.floor(x), top = Math.floor(y);
      const start = top * stride + left, part = Math.floor((x - left) * 4) + 4 * Math.floor((y - top) * 4);
      if (outlines && alpha > 0.5) blend(pixels, start, outlines[part], surface);
      blend(pixels, start, discs[part], inks[mode.codes[i]]);
    }
  };
  if (emphasized < 0) stamp(shown, n > 5000 ? 0.75 : 0.92);
  else {
    stamp(shown.filter((i) => mode.codes[i] !== emphasized), 0.12);
    stamp(shown.filter((i) => mode.codes[i] === emphasized), 1);
  }
  context.putImageData(image, -margin, -margin);
  context.setTransform(density, 0, 0, density, 0, 0);
  if (zoom > 1.5 && shown.length <= 400) drawPictures(shown);
  if (!mode.isScale && mode.names.length > 1) drawNames();
  root.dataset.points = shown.length;
}

function drawPictures(shown) {
  const side = Math.max(20, Math.min(64, 0.6 * Math.sqrt((width * height) / Math.max(1, shown.length))));
  context.imageSmoothingEnabled = thumbnails && thumbnails.width > 20;
  context.lineWidth = 2;
  for (const i of shown) {
    if (!slots || slots[i] < 0) continue;
    const { sheet, column, row } = cell(slots[i]);
    if (!sheets[sheet].complete) continue;
    const longer = Math.max(thumbnails.width, thumbnails.height);
    const w = side * thumbnails.width / longer, h = side * thumbnails.height / longer;
    const x = screenX(i) - w / 2, y = screenY(i) - h / 2;
    context.drawImage(sheets[sheet], column * thumbnails.width, row * thumbnails.height,
      thumbnails.width, thumbnails.height, x, y, w, h);
    context.strokeStyle = mode.colors[mode.codes[i]];
    context.strokeRect(x, y, w, h);
  }
  context.imageSmoothingEnabled = true;
}

// a category's name stands on the member closest to the median of its members
function anchors(mode) {
  const members = mode.names.map(() => []);
  mode.codes.forEach((code, i) => members[code].push(i));
  return members.map((own) => {
    if (!own.length) return -1;
    const middle = [0, 1].map((axis) => Float32Array.from(own, (i) => points[2 * i + axis]).sort()[own.length >> 1]);
    const sqDist = (i) => (points[2 * i] - middle[0]) ** 2 + (points[2 * i + 1] - middle[1]) ** 2;
    return own.reduce((best, i) => (sqDist(i) < sqDist(best) ? i : best));
  });
}

function drawNames() {
  mode.anchors ??= anchors(mode);
  const taken = [], largestFirst = mode.names.map((_, i) => i).sort((a, b) => mode.sizes[b] - mode.sizes[a]);
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const i of largestFirst) {
    if (mode.anchors[i] < 0 || mode.hidden.has(i) || (emphasized >= 0 && emphasized !== i)) continue;
    const name = mode.names[i].length > 20 ? mode.names[i].slice(0, 19) + "…" : mode.names[i];
    const w = context.measureText(name).width + 14, h = 20, x = screenX(mode.anchors[i]), y = screenY(mode.anchors[i]);
    const overlaps = (o) => Math.abs(o.x - x) < (o.w + w) / 2 + 2 && Math.abs(o.y - y) < h + 2;
    if (x < 0 || y < 0 || x > width || y > height || taken.some(overlaps)) continue;
    taken.push({ x, y, w });
    context.beginPath();
    context.roundRect(x - w / 2, y - h / 2, w, h, 10);
    context.globalAlpha = 0.88;
    context.fillStyle = color("--surface");
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = mode.colors[i];
    context.lineWidth = 1.5;
    context.stroke();
    context.fillStyle = color("--text");
    context.fillText(name, x, y + 0.5);
  }
}
