"use strict";
// One viewer per comparison. Each pane decodes its PNG sheet once into bytes and draws the current frame through a table
// of 256 colours; the profiles read the same bytes. Without this script the page shows every first frame.

const DIVERGING = [[5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31]]; // ColorBrewer RdBu, reversed

function divergingTable() {
  const table = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const place = Math.min(1, level / 64) * (DIVERGING.length - 1); // 0 … 64, zero at 32
    const lower = Math.min(Math.floor(place), DIVERGING.length - 2);
    const [r, g, b] = DIVERGING[lower].map((c, n) => c + (place - lower) * (DIVERGING[lower + 1][n] - c));
    table[level] = pixel(r, g, b);
  }
  return table;
}

function pixel(r, g, b) { // little-endian RGBA, as ImageData lies in memory on every browser of today
  return (255 << 24 | Math.round(b) << 16 | Math.round(g) << 8 | Math.round(r)) >>> 0;
}

class Pane {
  constructor(view, description) {
    Object.assign(this, description);
    this.view = view;
    this.layer = view.querySelector(".layer");
    this.canvas = view.querySelector("canvas");
    this.badge = view.querySelector(".badge");
    [this.canvas.width, this.canvas.height] = this.size;
    this.decoded = new Map();
  }

  // The bytes of all frames of a slice, (T, rows, columns).
  async load(slice) {
    if (!this.decoded.has(slice)) this.decoded.set(slice, await this.decode(slice));
    this.bytes = this.decoded.get(slice);
    for (const sheet of this.view.querySelectorAll(".sheet")) sheet.hidden = true;
    this.canvas.hidden = false;
  }

  async decode(slice) {
    const sheet = this.view.querySelector(`.sheet[data-slice="${slice}"]`);
    await sheet.decode();
    const [columns, rows] = this.size;
    const count = Math.max(...this.frames) + 1;
    const bytes = new Uint8Array(count * rows * columns);
    const scratch = new OffscreenCanvas(columns, rows).getContext("2d", { willReadFrequently: true });
    for (let frame = 0; frame < count; frame++) {
      const across = frame % this.columns, down = Math.floor(frame / this.columns);
      scratch.drawImage(sheet, -across * columns, -down * rows);
      const rgba = scratch.getImageData(0, 0, columns, rows).data;
      for (let n = 0; n < rows * columns; n++) bytes[frame * rows * columns + n] = rgba[4 * n];
    }
    return bytes;
  }

  draw(step, table, canvas = this.canvas) {
    const context = canvas.getContext("2d"), [columns, rows] = this.size, frame = this.frames[step];
    if (frame < 0) return context.clearRect(0, 0, columns, rows);
    const image = context.createImageData(columns, rows), pixels = new Uint32Array(image.data.buffer);
    const start = frame * rows * columns;
    for (let n = 0; n < pixels.length; n++) pixels[n] = table[this.bytes[start + n]];
    context.putImageData(image, 0, 0);
  }

  describe(step) {
    const text = this.frames[step] < 0 ? "no frame to compare here" : this.badges[step] || "";
    this.badge.hidden = !text;
    this.badge.textContent = text;
    this.badge.classList.toggle("generated", text === "generated");
  }

  // The level at a point given in voxels of the common grid; 0 outside of this pane's own field of view.
  at(frame, x, y) {
    const [left, top, width, height] = this.rect, [columns, rows] = this.size;
    const i = Math.floor((x - left) / width * columns), j = Math.floor((y - top) / height * rows);
    return i < 0 || j < 0 || i >= columns || j >= rows ? 0 : this.bytes[(frame * rows + j) * columns + i];
  }

  // Puts a layer where its field of view [x, y, width, height] of the common grid asks for.
  place([x, y, width, height], layer = this.layer) {
    const [left, top, wide, high] = this.rect, percent = (n) => `${100 * n}%`;
    Object.assign(layer.style, { left: percent((left - x) / width), top: percent((top - y) / height),
      width: percent(wide / width), height: percent(high / height) });
  }
}

class Viewer {
  constructor(root, data) {
    Object.assign(this, data);
    this.root = root;
    this.step = this.start;
    this.zoomed = false;
    this.cross = [...this.focus];
    this.section = root.closest("section");
    this.panes = this.panes.map((description, n) => new Pane(this.find(`.view[data-pane="${n}"]`), description));
    this.images = this.panes.filter((pane) => !pane.signed);
    this.signedTable = divergingTable();
    this.profiles = [...root.querySelectorAll(".strip canvas")];
    this.wiped = this.images.filter((pane) => pane.badges.length && pane !== this.images[0]).map((pane) => this.addWipe(pane));
    this.addRuler();
    const stops = DIVERGING.map((colour) => `rgb(${colour})`).join(",");
    for (const ramp of root.querySelectorAll(".ramp:not(.shares)")) ramp.style.background = `linear-gradient(to right,${stops})`;
    this.listen();
  }

  find(selector) { return this.root.querySelector(selector); }

  async open() {
    await this.load();
    this.resetWindow();
    this.lookAt();
    this.root.dataset.ready = "yes";
  }

  async load() { await Promise.all(this.panes.map((pane) => pane.load(this.slice))); }

  addWipe(pane) {
    const wipe = document.createElement("div"), edge = document.createElement("i");
    wipe.className = "wiped";
    wipe.innerHTML = '<div class="layer"><canvas></canvas></div>';
    edge.className = "wipe-edge";
    pane.view.querySelector(".cross").before(wipe, edge);
    const canvas = wipe.querySelector("canvas");
    [canvas.width, canvas.height] = this.images[0].size;
    return { wipe, edge, canvas, layer: wipe.firstChild };
  }

  addRuler() {
    this.ruler = document.createElement("span");
    this.ruler.className = "ruler";
    this.images[0].view.append(this.ruler);
  }

  listen() {
    const on = (selector, event, action) => this.find(selector).addEventListener(event, action);
    on("input.time", "input", (event) => this.show(Number(event.target.value)));
    on(".play", "click", () => this.play(!this.timer));
    on(".fps", "change", () => this.timer && (this.play(false), this.play(true)));
    on(".window", "input", () => this.readWindow());
    on(".level", "input", () => this.readWindow());
    on(".wipe-by", "input", () => this.show(this.step));
    on(".zoom", "click", () => { this.zoomed = !this.zoomed; this.lookAt(); });
    on(".slice", "change", async (event) => { this.slice = Number(event.target.value); await this.load(); this.lookAt(); });
    for (const pane of this.images) {
      const move = (event) => event.buttons & 1 && this.moveCrossTo(pane.view, event);
      pane.view.addEventListener("pointerdown", move);
      pane.view.addEventListener("pointermove", move);
    }
    for (const plot of this.section.querySelectorAll(".plot")) {
      plot.addEventListener("click", (event) => {
        const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
        const { left, right, begin, end } = plot.dataset;
        const time = Number(begin) + (point.x - left) / (right - left) * (end - begin);
        const apart = this.times.map((t) => Math.abs(t - time));
        this.show(apart.indexOf(Math.min(...apart)));
      });
    }
  }

  play(on) {
    clearInterval(this.timer);
    const fps = Math.min(60, Math.max(1, Number(this.find(".fps").value) || this.fps));
    this.timer = on ? setInterval(() => this.show(this.step + 1), 1000 / fps) : undefined;
    const button = this.find(".play");
    button.setAttribute("aria-pressed", String(on));
    button.setAttribute("aria-label", on ? "Pause" : "Play");
  }

  show(step) {
    const count = this.times.length;
    this.step = (step + count) % count;
    for (const pane of this.panes) {
      pane.draw(this.step, pane.signed ? this.signedTable : this.table);
      pane.describe(this.step);
    }
    const share = Number(this.find(".wipe-by").value);
    for (const { wipe, edge, canvas } of this.wiped) {
      wipe.hidden = edge.hidden = share === 0;
      if (share) this.images[0].draw(this.step, this.table, canvas);
      wipe.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
      edge.style.left = `${share}%`;
    }
    this.find("input.time").value = this.step;
    this.find(".now").innerHTML = `<b>${round(this.times[this.step])} ms</b> frame ${this.step + 1}/${count}`;
    for (const cursor of this.root.querySelectorAll(".strip .cursor")) cursor.style.left = `${100 * (this.step + 0.5) / count}%`;
    for (const plot of this.section.querySelectorAll(".plot")) {
      const { left, right, begin, end } = plot.dataset, cursor = plot.querySelector(".cursor");
      const x = Number(left) + (right - left) * (this.times[this.step] - begin) / (end - begin);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
  }

  // Window and level are read from sliders in percent of the default window.
  resetWindow() {
    this.find(".window").value = 100;
    this.find(".level").value = 50;
    this.readWindow();
  }

  readWindow() {
    const [low, high] = this.window, [darkest, brightest] = this.grey, unit = (high - low) / 100;
    const width = Number(this.find(".window").value) * unit, level = low + Number(this.find(".level").value) * unit;
    this.table = new Uint32Array(256);
    for (let n = 0; n < 256; n++) {
      const value = darkest + n / 255 * (brightest - darkest);
      const grey = 255 * Math.min(1, Math.max(0, (value - level) / width + 0.5));
      this.table[n] = pixel(grey, grey, grey);
    }
    this.find(".grey").textContent = `W ${round(width)} L ${round(level)}`;
    if (this.panes[0].bytes) this.redraw();
  }

  redraw() {
    this.drawProfiles();
    this.show(this.step);
  }

  // The part of the common grid that is seen: all of it, or the cross and little more.
  lookAt() {
    const [columns, rows] = this.size;
    const zoom = this.zoomed ? Math.min(columns / (2 * this.half[0]), rows / (2 * this.half[1])) / 1.1 : 1;
    const [width, height] = [columns / zoom, rows / zoom];
    const x = Math.min(columns - width, Math.max(0, this.cross[0] - width / 2));
    const y = Math.min(rows - height, Math.max(0, this.cross[1] - height / 2));
    this.seen = [x, y, width, height];
    for (const pane of this.panes) pane.place(this.seen);
    for (const { layer } of this.wiped) this.images[0].place(this.seen, layer);
    const button = this.find(".zoom");
    button.setAttribute("aria-pressed", String(this.zoomed));
    const length = [100, 50, 20, 10, 5, 2, 1].find((mm) => mm < 0.3 * width * this.spacing[0]) || 1;
    this.ruler.textContent = `${length} mm`;
    this.ruler.style.width = `${100 * length / (width * this.spacing[0])}%`;
    this.drawCross();
    this.redraw();
  }

  moveCrossTo(view, event) {
    const frame = view.getBoundingClientRect(), [x, y, width, height] = this.seen;
    this.moveCross(x + (event.clientX - frame.left) / frame.width * width - this.cross[0],
      y + (event.clientY - frame.top) / frame.height * height - this.cross[1]);
  }

  moveCross(across, down) {
    this.cross = this.cross.map((c, n) => Math.min(this.size[n] - 0.5, Math.max(0.5, c + [across, down][n])));
    this.drawCross();
    this.drawProfiles();
  }

  drawCross() {
    const [x, y] = this.cross, [a, b] = this.half;
    const box = this.box ? `<rect x="${this.box[0]}" y="${this.box[1]}" width="${this.box[2]}" height="${this.box[3]}"/>` : "";
    for (const pane of this.images) {
      const svg = pane.view.querySelector(".cross");
      svg.setAttribute("viewBox", this.seen.join(" "));
      svg.innerHTML = `${box}<line class="across" x1="${x - a}" x2="${x + a}" y1="${y}" y2="${y}"/>` +
        `<line class="down" x1="${x}" x2="${x}" y1="${y - b}" y2="${y + b}"/>`;
    }
  }

  drawProfiles() {
    const [x, y] = this.cross, count = this.times.length;
    for (const canvas of this.profiles) {
      const pane = this.panes[canvas.dataset.pane], across = canvas.dataset.line === "across";
      const half = this.half[across ? 0 : 1], samples = Math.max(2, Math.round(2 * half));
      [canvas.width, canvas.height] = [count, samples];
      const context = canvas.getContext("2d"), image = context.createImageData(count, samples);
      const pixels = new Uint32Array(image.data.buffer);
      for (let n = 0; n < samples; n++) {
        const along = (n + 0.5) / samples * 2 * half - half;
        for (let step = 0; step < count; step++) {
          const level = pane.at(pane.frames[step], across ? x + along : x, across ? y : y + along);
          pixels[n * count + step] = this.table[level];
        }
      }
      context.putImageData(image, 0, 0);
    }
  }
}

function round(value) {
  return Number(value.toPrecision(4)).toString();
}

function nearestToTheMiddle(viewers) {
  const middle = innerHeight / 2;
  const apart = (viewer) => { const box = viewer.section.getBoundingClientRect(); return Math.max(box.top - middle, middle - box.bottom); };
  return viewers.reduce((best, viewer) => (apart(viewer) < apart(best) ? viewer : best));
}

function listenToKeys(viewers) {
  document.addEventListener("keydown", (event) => {
    const target = event.target, key = event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("select, input[type=number]")) return;
    if (key === " " && target.matches("button, a")) return;
    if (key.startsWith("Arrow") && target.matches("input")) return; // sliders step by themselves
    const viewer = viewers.find((one) => one.section.contains(target)) || nearestToTheMiddle(viewers);
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key] || [0, 0];
    if (key === " ") viewer.play(!viewer.timer);
    else if (key === "z" || key === "Z") viewer.find(".zoom").click();
    else if (event.shiftKey && (x || y)) viewer.moveCross(x, y);
    else if (x) viewer.show(viewer.step + x);
    else return;
    event.preventDefault();
  });
}

const comparisons = JSON.parse(document.getElementById("comparisons").textContent);
const viewers = [...document.querySelectorAll(".viewer")].map((root) => new Viewer(root, comparisons[root.dataset.comparison]));
listenToKeys(viewers);
viewers.reduce((done, viewer) => done.then(() => viewer.open()), Promise.resolve());
