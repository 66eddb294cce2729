// The embedding explorer: points with pictures behind them. `mount` draws it into an element of a page.
// The notebook widget (`render`, at the end) and the standalone page both call `mount`.

const SHAPES = ["circle", "square", "up", "diamond", "down", "plus", "cross", "left", "right", "star"];
const ON_DARK = { "#000000": "#dddddd", "#663300": "#b07a45", "#6600CC": "#a873ff" }; // too dark for a dark page
const DARK_TEXT = "#222222", LIGHT_TEXT = "#eeeeee";
const NEIGHBOUR = "#D55E00", RIGHT = "#0072B2", WRONG = "#D55E00";
const HEAT = [[0, 34, 78], [125, 124, 120], [254, 232, 56]]; // dark blue over grey to yellow: cividis, in three steps
const HEAT_ON_DARK = [[70, 105, 175], ...HEAT.slice(1)];
const METHODS = { umap: "UMAP", pca: "PCA", tsne: "t-SNE" };
const MOVE_MS = 450; // how long points take from one embedding to another
const FRAME_MS = 600, FILM_MS = 12000; // a moment of the film, unless there are so many that the film would take longer
const COVERED = 0.3; // share of the stage that pictures may cover where they stand for the points
const SMALLEST = 26, LARGEST = 56; // sides of those pictures, in CSS pixels

// ---- Data ---------------------------------------------------------------------------------------------------

/** Bytes as a typed array: a DataView from a notebook's kernel, or base64 text in a standalone page. */
function numbers(bytes, Type) {
  if (typeof bytes === "string") {
    const text = atob(bytes), copy = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) copy[i] = text.charCodeAt(i);
    return new Type(copy.buffer);
  }
  const view = ArrayBuffer.isView(bytes) ? bytes : new DataView(bytes);
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)); // an aligned copy
}

function decode(scene) {
  return {
    ...scene,
    labels: numbers(scene.labels, Int16Array),
    views: scene.views.map((view) => ({
      ...view,
      points: numbers(view.points, Float32Array),
      neighbors: numbers(view.neighbors, Int32Array),
      similarity: numbers(view.similarity, Float32Array),
      predicted: numbers(view.predicted, Int16Array),
    })),
    metric: scene.metric && { ...scene.metric, values: numbers(scene.metric.values, Float32Array) },
    film: scene.film && { ...scene.film, points: numbers(scene.film.points, Float32Array) },
  };
}

// ---- Markers ------------------------------------------------------------------------------------------------

/** The shape of a class. From the eleventh class on, colours meet other shapes. */
const shapeOf = (label) => SHAPES[(label + Math.floor(label / SHAPES.length)) % SHAPES.length];

/** True if (x, y), both from −1 to 1 with y downwards, lies in a marker. */
function inMarker(shape, x, y) {
  const ax = Math.abs(x), ay = Math.abs(y);
  switch (shape) {
    case "circle": return x * x + y * y < 0.72;
    case "square": return ax < 0.72 && ay < 0.72;
    case "diamond": return ax + ay < 0.98;
    case "up": return y < 0.7 && y > -0.85 && ax < (y + 0.85) * 0.6;
    case "down": return y > -0.7 && y < 0.85 && ax < (0.85 - y) * 0.6;
    case "left": return x < 0.7 && x > -0.85 && ay < (x + 0.85) * 0.6;
    case "right": return x > -0.7 && x < 0.85 && ay < (0.85 - x) * 0.6;
    case "plus": return (ax < 0.32 && ay < 0.9) || (ay < 0.32 && ax < 0.9);
    case "cross": return (Math.abs(x - y) < 0.42 || Math.abs(x + y) < 0.42) && ax < 0.82 && ay < 0.82;
    case "star": {
      const turn = (Math.PI * 2) / 5, angle = ((Math.atan2(x, -y) % turn) + turn) % turn;
      const off = Math.abs(angle - turn / 2) / (turn / 2); // 1 at a tip, 0 between two tips
      return Math.hypot(x, y) < 0.42 + 0.53 * off * off;
    }
  }
  return false;
}

const channels = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

/** The pixels of a marker: the colour that covers the ground, and how much of it (0…255). */
function marker(shape, color, rim, size) {
  const [r, g, b] = channels(color), [rr, rg, rb] = channels(rim);
  const pixels = new Uint8Array(size * size * 4), samples = 4;
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      let inside = 0, inner = 0;
      for (let i = 0; i < samples * samples; i++) {
        const x = ((column + ((i % samples) + 0.5) / samples) / size) * 2 - 1;
        const y = ((row + (Math.floor(i / samples) + 0.5) / samples) / size) * 2 - 1;
        inside += inMarker(shape, x, y);
        inner += inMarker(shape, x * 1.28, y * 1.28);
      }
      const fill = inside ? inner / inside : 0, pixel = 4 * (row * size + column);
      pixels[pixel] = rr + (r - rr) * fill;
      pixels[pixel + 1] = rg + (g - rg) * fill;
      pixels[pixel + 2] = rb + (b - rb) * fill;
      pixels[pixel + 3] = (255 * inside) / (samples * samples);
    }
  }
  return pixels;
}

// ---- Elements -----------------------------------------------------------------------------------------------

/** An element with attributes, a text, handlers of events (`on…`) and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  // Jupyter Notebook takes the keys for itself, except in elements with this attribute.
  if (["canvas", "button", "input", "select"].includes(tag)) element.setAttribute("data-lm-suppress-shortcuts", "true");
  element.append(...children);
  return element;
}

// ---- The explorer -------------------------------------------------------------------------------------------

/**
 * Draw an explorer into `root`.
 *
 * @param root an empty element.
 * @param encoded the scene, as `make_scene` in simclr_lib/teaching/explorer.py makes it.
 * @param onSelect called with the rows of the images that a box or lasso holds.
 * @returns {{destroy: function, select: function}} functions to remove it, and to select rows from outside.
 */
export function mount(root, encoded, onSelect = () => {}) {
  const data = decode(encoded);
  const count = data.labels.length, dimensions = 2;
  const classes = data.classes;

  const state = {
    view: 0,
    frame: data.film ? data.film.captions.length - 1 : 0,
    colorBy: "class",
    mode: "pan",
    hidden: new Set(), // classes
    search: "",
    hovered: -1,
    current: -1, // clicked, or reached by keyboard
    selected: new Set(), // rows
    side: 0, // of the pictures that stand for the points, in pixels; 0: they are markers
    scale: 1, // half the side of the picture, in pixels
    x: 0,
    y: 0,
  };
  const positions = new Float32Array(data.views[0].points); // the drawn positions, also while the points move
  let sprite = null, frameRequest = 0, markers = new Map(), colors = {};
  let path = []; // the box or lasso that is being drawn, in pixels
  let outline = []; // the one that made the selection, in the coordinates of the points
  const cleanups = [];
  const listen = (target, type, handler, options) => {
    target.addEventListener(type, handler, options);
    cleanups.push(() => target.removeEventListener(type, handler, options));
  };

  // -- Elements of the page --

  const id = `explorer-${Math.random().toString(36).slice(2, 8)}`;
  const canvas = make("canvas", {
    tabindex: 0, role: "application", "aria-describedby": `${id}-keys`,
    "aria-label": `${data.title}: ${count.toLocaleString("en")} images as points`,
  });
  const context = canvas.getContext("2d");
  const status = make("div", { class: "status", role: "status", "aria-live": "polite" });
  const tip = make("div", { class: "tip", hidden: true }, make("canvas", { width: 96, height: 96 }), make("div"));
  const details = make("div", { class: "details" });
  const trust = make("p", { class: "trust" });
  const legend = make("div", { class: "legend", role: "group", "aria-label": "classes shown" });
  const key = make("div", { class: "key" });
  const caption = make("div", { class: "caption", hidden: true });
  const note = make("div", { class: "note", hidden: true, text: "Click the picture, then scroll to zoom." });
  const button = (text, title, onclick) => make("button", { type: "button", text, title, onclick });
  const zoomBy = (factor) => zoom(factor, canvas.width / 2, canvas.height / 2);
  const zooms = make("div", { class: "zoom" },
    button("+", "zoom in: points become pictures", () => zoomBy(1.5)), button("−", "zoom out", () => zoomBy(1 / 1.5)),
    button("reset view", "show all points", () => { fit(); redraw(); }));
  const stage = make("div", { class: "stage" }, canvas, caption, note, zooms, tip);

  /** Options of which one is chosen, with a label: [[value, text, title], …]. */
  const choice = (name, label, options, change) => make("div", { class: "choice", role: "radiogroup", "aria-label": label },
    make("span", { text: label }),
    make("div", { class: `options ${name}` }, ...options.map(([value, text, title], i) => make("label", { title }, make("input", {
      type: "radio", name: `${id}-${name}`, value, checked: i === 0, onchange: () => change(value),
    }), text))));
  const views = choice("views", "Features", data.views.map((view, i) => [i, view.name]), (i) => show(i));
  const modes = choice("modes", "Drag to", [
    ["pan", "pan", "dragging moves the points"],
    ["box", "select a box", "dragging selects the images in a box"],
    ["lasso", "draw a lasso", "dragging selects the images inside a line"],
  ], (mode) => { state.mode = mode; });
  const colorings = [["class", "class"], ["knn", "right or wrong by kNN"], ...(data.metric ? [["metric", data.metric.name]] : [])];
  const coloring = make("label", {}, "Colour by ", make(
    "select", { name: "color", onchange: (event) => { state.colorBy = event.target.value; drawLegend(); redraw(); } },
    ...colorings.map(([value, text]) => make("option", { value, text }))));
  const search = make("input", {
    type: "search", placeholder: "search classes", "aria-label": "search classes",
    oninput: (event) => { state.search = event.target.value.trim().toLowerCase(); drawLegend(); redraw(); },
  });
  const film = data.film && make("div", { class: "film" },
    button("", "watch the points move while the network learns", () => play()),
    make("input", {
      type: "range", min: 0, max: data.film.captions.length - 1, value: state.frame, "aria-label": "moment of the training",
      oninput: (event) => {
        const frame = Number(event.target.value); // before `stop` sets the slider to the moment that is shown
        stop();
        showFrame(frame);
      },
    }),
    make("output", { text: data.film.captions[state.frame] }));
  const all = (on) => button(on ? "all" : "none", on ? "show all classes" : "show no class", () => {
    for (const label of new Set(data.labels)) on ? state.hidden.delete(label) : state.hidden.add(label);
    drawLegend();
    redraw();
  });
  const controls = make("div", { class: "controls" }, views, modes, button("clear selection", "select nothing", () => clear()));
  const filter = make("div", { class: "filter" }, search, all(true), all(false));
  const help = make("details", { class: "help" }, make("summary", { text: "Mouse, touch and keys" }), make("p", { id: `${id}-keys`, text:
    "Mouse: point at an image to see it, and click it for its neighbours; after a click the wheel zooms. Touch: tap an image, then drag, " +
    "or zoom with two fingers. Keys, in the picture: arrows go to the next point that way, Enter goes to the list of its neighbours, " +
    "+ and − zoom, Shift with arrows pans, 0 resets the view, Escape clears the selection." }));
  const page = make("div", { class: "simclr-explorer" }, controls, make("div", { class: "coloring" }, coloring, key),
    make("div", { class: "classes" }, filter, legend), ...(film ? [film] : []), make("div", { class: "main" }, stage, details),
    status, trust, help);
  root.append(page);

  // -- Geometry --

  const ratio = () => Math.min(window.devicePixelRatio || 1, 2);
  const toScreen = ([x, y]) => [state.x + x * state.scale, state.y - y * state.scale];
  const fromScreen = ([x, y]) => [(x - state.x) / state.scale, (state.y - y) / state.scale];
  const placeOf = (row) => toScreen([positions[2 * row], positions[2 * row + 1]]);

  function fit() {
    state.scale = 0.46 * Math.min(canvas.width, canvas.height);
    state.x = canvas.width / 2;
    state.y = canvas.height / 2;
  }

  function zoom(factor, x, y) {
    const least = 0.2 * Math.min(canvas.width, canvas.height), most = 400 * least;
    const scale = Math.min(most, Math.max(least, state.scale * factor));
    state.x = x - ((x - state.x) * scale) / state.scale;
    state.y = y - ((y - state.y) * scale) / state.scale;
    state.scale = scale;
    redraw();
  }

  function resize() {
    const r = ratio();
    const width = Math.max(1, Math.round(stage.clientWidth * r)), height = Math.max(1, Math.round(stage.clientHeight * r));
    if (width === canvas.width && height === canvas.height) return;
    const first = !state.placed, before = [canvas.width, canvas.height];
    canvas.width = width;
    canvas.height = height;
    if (first) fit();
    else { // keep the middle in the middle
      const growth = Math.min(width, height) / Math.min(...before);
      state.x = width / 2 + (state.x - before[0] / 2) * growth;
      state.y = height / 2 + (state.y - before[1] / 2) * growth;
      state.scale *= growth;
    }
    state.placed = true;
    markers.clear();
    redraw();
  }

  // -- Colours --

  function readColors() {
    page.classList.remove("dark"); // it would change the background that is read next
    const style = getComputedStyle(page);
    const probe = make("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    probe.fillStyle = "#ffffff"; // it stays where there is no style yet, in a page that is not on the screen
    probe.fillStyle = style.backgroundColor;
    probe.fillRect(0, 0, 1, 1);
    const ground = [...probe.getImageData(0, 0, 1, 1).data];
    const dark = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2] < 128;
    colors = { ground, dark, ink: dark ? LIGHT_TEXT : DARK_TEXT };
    page.classList.toggle("dark", dark);
    markers.clear();
  }

  const classColor = (label) => {
    const color = data.colors[label % data.colors.length];
    return (colors.dark && ON_DARK[color]) || color;
  };

  const stopsOfHeat = () => (colors.dark ? HEAT_ON_DARK : HEAT);

  function heat(share) {
    const position = Math.min(1.999, Math.max(0, share * 2)), i = Math.floor(position), [from, to] = stopsOfHeat().slice(i);
    return "#" + from.map((c, k) => Math.round(c + (to[k] - c) * (position - i)).toString(16).padStart(2, "0")).join("");
  }

  /** Whether the neighbours' vote is the image's class; null where image or neighbours have none. */
  function isRight(row) {
    const label = data.labels[row], predicted = data.views[state.view].predicted[row];
    return label < 0 || predicted < 0 ? null : predicted === label;
  }

  /** Shape and colour of a point: colour never stands alone, except for a metric. */
  function lookOf(row) {
    const label = data.labels[row], shape = label < 0 ? "circle" : shapeOf(label);
    if (label < 0 && state.colorBy !== "metric") return [shape, "#999999"];
    if (state.colorBy === "knn") {
      const right = isRight(row);
      if (right === null) return [shape, "#999999"];
      return right ? ["circle", RIGHT] : ["cross", WRONG];
    }
    if (state.colorBy === "metric") {
      const { values, low, high } = data.metric;
      return [shape, heat(Math.round(15 * (values[row] - low) / Math.max(high - low, 1e-9)) / 15)];
    }
    return [shape, classColor(label)];
  }

  const visible = (row) => {
    const label = data.labels[row];
    return !state.hidden.has(label) && (!state.search || (label >= 0 && classes[label].toLowerCase().includes(state.search)));
  };

  // -- Drawing --

  function redraw() {
    if (!frameRequest) frameRequest = requestAnimationFrame(() => { frameRequest = 0; draw(); });
  }

  let buffer = null;

  function draw() {
    const { width, height } = canvas;
    if (!buffer || buffer.width !== width || buffer.height !== height) buffer = context.createImageData(width, height);
    const pixels = buffer.data, [gr, gg, gb] = colors.ground;
    new Uint32Array(pixels.buffer).fill((255 << 24) | (gb << 16) | (gg << 8) | gr);
    const zoomed = state.scale / (0.46 * Math.min(width, height));
    const size = Math.round(ratio() * Math.min(20, (count > 3000 ? 7 : count > 500 ? 10 : 13) * Math.sqrt(Math.max(1, zoomed))));
    const isPale = (row) => state.selected.size > 0 && !state.selected.has(row), rows = fromBackToFront();
    state.side = pictureSide();
    for (const row of state.side ? [] : rows) {
      const [x, y] = placeOf(row), left = Math.round(x - size / 2), top = Math.round(y - size / 2);
      if (left < 0 || top < 0 || left + size > width || top + size > height) continue;
      const [shape, color] = lookOf(row);
      stamp(pixels, width, left, top, size, shape, color, isPale(row) ? 60 : 255);
    }
    context.putImageData(buffer, 0, 0);
    for (const row of state.side ? rows : []) drawPicture(row, isPale(row) ? 0.25 : 1);
    drawMarks();
  }

  /** The visible rows in the order in which to draw them: selected ones lie on top, and wrong ones above right ones. */
  function fromBackToFront() {
    const layers = [[], [], [], []];
    for (let row = 0; row < count; row++) {
      const isWrong = state.colorBy === "knn" && isRight(row) === false;
      if (visible(row)) layers[2 * state.selected.has(row) + isWrong].push(row);
    }
    return layers.flat();
  }

  /** The side of the pictures that stand for the points, in pixels; 0 where so many are in view that none could be seen. */
  function pictureSide() {
    if (!sprite) return 0;
    let inView = 0;
    for (let row = 0; row < count; row++) {
      const [x, y] = placeOf(row);
      inView += x > 0 && y > 0 && x < canvas.width && y < canvas.height && visible(row);
    }
    const side = Math.sqrt((COVERED * canvas.width * canvas.height) / Math.max(1, inView));
    return side < SMALLEST * ratio() ? 0 : Math.min(side, LARGEST * ratio());
  }

  /** A picture in place of a point, with a frame of its colour and a marker in a corner. */
  function drawPicture(row, strength) {
    const side = state.side, [x, y] = placeOf(row), left = x - side / 2, top = y - side / 2;
    if (left > canvas.width || top > canvas.height || left + side < 0 || top + side < 0) return;
    const [shape, color] = lookOf(row);
    context.globalAlpha = strength;
    context.imageSmoothingEnabled = false;
    context.drawImage(sprite, ...placeInSprite(row), left, top, side, side);
    context.lineWidth = 2.5 * ratio();
    context.strokeStyle = color;
    context.strokeRect(left, top, side, side);
    const size = Math.round(14 * ratio());
    context.drawImage(badge(shape, color, size), left - size / 3, top - size / 3);
    context.globalAlpha = 1;
  }

  /** A marker as something to draw with. */
  function badge(shape, color, size) {
    const key = `badge ${shape}${color}${size}`;
    let drawn = markers.get(key);
    if (!drawn) {
      const canvas = make("canvas", { width: size, height: size }), pen = canvas.getContext("2d"), image = pen.createImageData(size, size);
      image.data.set(marker(shape, color, colors.dark ? "#000000" : "#ffffff", size));
      pen.putImageData(image, 0, 0);
      markers.set(key, (drawn = canvas));
    }
    return drawn;
  }

  function stamp(pixels, width, left, top, size, shape, color, strength) {
    const key = `${shape}${color}${size}`;
    let picture = markers.get(key);
    if (!picture) markers.set(key, (picture = marker(shape, color, colors.dark ? "#000000" : "#ffffff", size)));
    for (let row = 0, source = 0; row < size; row++) {
      let target = 4 * ((top + row) * width + left);
      for (let column = 0; column < size; column++, source += 4, target += 4) {
        const alpha = (picture[source + 3] * strength) / 255;
        if (alpha === 0) continue;
        const keep = 255 - alpha;
        pixels[target] = (picture[source] * alpha + pixels[target] * keep) / 255;
        pixels[target + 1] = (picture[source + 1] * alpha + pixels[target + 1] * keep) / 255;
        pixels[target + 2] = (picture[source + 2] * alpha + pixels[target + 2] * keep) / 255;
      }
    }
  }

  function drawMarks() {
    const r = ratio();
    const ring = (row, radius, color) => {
      const [x, y] = placeOf(row);
      context.beginPath();
      context.arc(x, y, Math.max(radius * r, 0.75 * state.side), 0, 2 * Math.PI);
      context.lineWidth = 2 * r;
      context.strokeStyle = color;
      context.stroke();
    };
    if (state.current >= 0 && visible(state.current)) {
      const [x, y] = placeOf(state.current);
      for (const neighbor of neighborsOf(state.current).filter(({ row }) => visible(row))) {
        const [to_x, to_y] = placeOf(neighbor.row);
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(to_x, to_y);
        context.lineWidth = 1.5 * r;
        context.strokeStyle = NEIGHBOUR;
        context.stroke();
        ring(neighbor.row, 8, NEIGHBOUR);
      }
      ring(state.current, 11, colors.ink);
    }
    if (state.hovered >= 0) ring(state.hovered, 9, colors.ink);
    const around = path.length > 1 ? path : outline.map(toScreen);
    if (around.length) {
      context.beginPath();
      around.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      context.setLineDash([6 * r, 4 * r]);
      context.lineWidth = 1.5 * r;
      context.strokeStyle = colors.ink;
      context.stroke();
      context.setLineDash([]);
    }
  }

  // -- Points and their pictures --

  function neighborsOf(row) {
    const view = data.views[state.view], k = view.k, found = [];
    for (let i = 0; i < k; i++) {
      found.push({ row: view.neighbors[row * k + i], similarity: view.similarity[row * k + i] });
    }
    return found;
  }

  const nameOf = (label) => (label < 0 ? "no class" : classes[label]);

  function describe(row) {
    const right = isRight(row), predicted = nameOf(data.views[state.view].predicted[row]);
    const verdict = right === null ? "" : right ? "; kNN agrees ✓" : `; kNN says ${predicted} ✗`;
    return `${data.files ? data.files[row] : `image ${row}`}: ${nameOf(data.labels[row])}${verdict}`;
  }

  const placeInSprite = (row) =>
    [(row % data.columns) * data.side, Math.floor(row / data.columns) * data.side, data.side, data.side];

  function picture(target, row) {
    const pen = target.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, target.width, target.height);
    if (sprite) pen.drawImage(sprite, ...placeInSprite(row), 0, 0, target.width, target.height);
  }

  const reach = () => Math.max(14 * ratio(), 0.6 * state.side); // how far from a point the pointer still means it

  function nearest(x, y, within) {
    let best = -1, least = within * within;
    for (let row = 0; row < count; row++) {
      const [px, py] = placeOf(row), far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least && visible(row)) { least = far; best = row; }
    }
    return best;
  }

  function hover(row, x, y) {
    if (row !== state.hovered) redraw();
    state.hovered = row;
    tip.hidden = row < 0;
    if (row < 0) return;
    picture(tip.firstChild, row);
    tip.lastChild.textContent = describe(row);
    const r = ratio(), w = canvas.width / r, h = canvas.height / r;
    tip.style.left = `${Math.max(0, Math.min(x / r + 14, w - tip.offsetWidth))}px`;
    tip.style.top = `${y / r + 14 + tip.offsetHeight > h ? Math.max(0, y / r - 14 - tip.offsetHeight) : y / r + 14}px`;
  }

  function go(row) { // makes a point the current one
    state.current = row;
    hover(-1); // the list of neighbours says more than the tip
    status.textContent = row < 0 ? "" : describe(row);
    drawDetails();
    redraw();
  }

  function drawDetails() {
    const row = state.current;
    if (row < 0) {
      details.replaceChildren(make("p", { text: "Point at an image to see it. Click it for its true neighbours: the most similar " +
        "among the features themselves, wherever the picture has put them. Zoom in to see pictures instead of points." }));
      return;
    }
    const big = make("canvas", { width: 96, height: 96, role: "img", "aria-label": describe(row) });
    picture(big, row);
    const view = data.views[state.view];
    const items = neighborsOf(row).map((neighbor) => {
      const small = make("canvas", { width: 32, height: 32, "aria-hidden": true });
      picture(small, neighbor.row);
      const other = data.labels[neighbor.row], known = other >= 0 && data.labels[row] >= 0;
      const verdict = !known ? "" : other === data.labels[row] ? "✓ " : "✗ ";
      return make("li", {}, make("button", {
        type: "button", class: !known ? "" : verdict === "✓ " ? "same" : "other", onclick: () => {
          go(neighbor.row);
          details.querySelector("button")?.focus(); // the button that was pressed is gone
        },
      }, small, ` ${neighbor.similarity.toFixed(2)} ${verdict}${nameOf(other)}`));
    });
    details.replaceChildren(
      make("div", { class: "current" }, big, make("p", { text: describe(row) })),
      make("p", { text: `Nearest by ${view.name}, with cosine similarity:` }), make("ol", {}, ...items));
  }

  function drawLegend() {
    const counts = new Map();
    for (let row = 0; row < count; row++) counts.set(data.labels[row], (counts.get(data.labels[row]) || 0) + 1);
    const shown = [...classes.map((name, label) => [name, label]), ["no class", -1]].filter(([name, label]) =>
      counts.has(label) && (!state.search || name.toLowerCase().includes(state.search)));
    const items = shown.map(([name, label]) => {
      const swatch = make("canvas", { width: 16, height: 16, "aria-hidden": true });
      const pen = swatch.getContext("2d"), image = pen.createImageData(16, 16);
      const color = state.colorBy === "class" && label >= 0 ? classColor(label) : "#888888";
      const pixels = marker(label < 0 ? "circle" : shapeOf(label), color, "#888888", 16);
      image.data.set(pixels);
      pen.putImageData(image, 0, 0);
      return make("label", {}, make("input", {
        type: "checkbox", checked: !state.hidden.has(label), onchange: (event) => {
          event.target.checked ? state.hidden.delete(label) : state.hidden.add(label);
          redraw();
        },
      }), swatch, ` ${name} (${counts.get(label)})`);
    });
    if (!items.length) items.push(make("p", { text: state.search ? `no class is called “${state.search}”` : "no labels" }));
    legend.replaceChildren(...items);
    key.replaceChildren(...(state.colorBy === "knn" ? keyOfVotes() : state.colorBy === "metric" ? keyOfMetric() : []));
  }

  function keyOfVotes() {
    const [right, wrong] = [["●", RIGHT], ["✕", WRONG]].map(([text, color]) => make("span", { style: `color: ${color}`, text }));
    return [make("span", {}, right, " right, ", wrong, " wrong: the class that an image's nearest neighbours vote for")];
  }

  function keyOfMetric() {
    const [low, high] = [data.metric.low, data.metric.high].map((value) => value.toLocaleString("en", { maximumSignificantDigits: 3 }));
    const stops = stopsOfHeat().map((rgb) => `rgb(${rgb})`).join(", ");
    return [`≤ ${low}`, make("span", { class: "bar", role: "img", "aria-label": "from blue over grey to yellow",
      style: `background: linear-gradient(to right, ${stops})` }), `≥ ${high}`];
  }

  function drawTrust() {
    const view = data.views[state.view];
    const onTheWay = film && !film.hidden && state.frame < data.film.captions.length - 1;
    trust.textContent = onTheWay ? `The film is at: ${data.film.captions[state.frame]}. Neighbours, kNN and trustworthiness are those at its end.` :
      view.trustworthiness === null ? "Too few points to say how far to trust the picture." :
      `Trustworthiness of this picture (${METHODS[data.method]}): ${view.trustworthiness.toFixed(view.trustworthiness > 0.99 ? 3 : 2)}; ` +
      `1 means that all neighbours in the picture are neighbours in feature space. Of an image's ${view.k} nearest neighbours in feature ` +
      `space, ${Math.round(100 * view.overlap)} % are among its ${view.k} nearest here. Distances between clusters, and their sizes, say little.`;
  }

  // -- Travelling --

  const still = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let travel = 0, playing = 0;

  function moveTo(target, offset = 0, milliseconds = MOVE_MS) {
    cancelAnimationFrame(travel);
    const origin = positions.slice(), length = count * dimensions;
    const goal = target.subarray(offset, offset + length);
    const start = performance.now();
    const step = (now) => {
      const t = still() ? 1 : Math.min(1, (now - start) / milliseconds), eased = t * t * (3 - 2 * t);
      for (let i = 0; i < length; i++) positions[i] = origin[i] + (goal[i] - origin[i]) * eased;
      draw();
      if (t < 1) travel = requestAnimationFrame(step);
    };
    travel = requestAnimationFrame(step);
  }

  function show(view) {
    stop();
    state.view = view;
    outline = []; // the points leave it
    hover(-1);
    moveTo(data.views[view].points);
    if (film) {
      state.frame = data.film.captions.length - 1;
      drawFilm();
    }
    drawTrust();
    drawDetails();
    status.textContent = `Features: ${data.views[view].name}. ${state.current < 0 ? "" : describe(state.current)}`;
  }

  function showFrame(frame, milliseconds = 200) {
    state.frame = frame;
    outline = [];
    drawFilm();
    drawTrust();
    moveTo(data.film.points, frame * count * dimensions, milliseconds);
  }

  function drawFilm() {
    film.hidden = caption.hidden = data.views[state.view].name !== data.film.view;
    film.firstChild.textContent = playing ? "❚❚ stop" : "▶ play the training";
    film.children[1].value = state.frame;
    film.children[2].textContent = caption.textContent = data.film.captions[state.frame];
  }

  function stop() {
    clearTimeout(playing);
    playing = 0;
    if (film) drawFilm();
  }

  function play() {
    if (playing) return stop();
    const last = data.film.captions.length - 1, pause = Math.min(FRAME_MS, FILM_MS / (last + 1));
    const next = (frame) => {
      playing = frame === last ? 0 : setTimeout(() => next(frame + 1), pause);
      showFrame(frame, 0.8 * pause);
    };
    next(state.frame === last ? 0 : state.frame + 1);
  }

  // The film plays once when it comes into view, unless the reader wants no motion or is quicker.
  const arrival = new IntersectionObserver(([{ isIntersecting }]) => {
    if (!isIntersecting) return;
    arrival.disconnect();
    if (!film.hidden && !still()) play();
  }, { threshold: 0.6 });
  if (film) arrival.observe(stage);
  for (const type of ["pointerdown", "keydown"]) listen(page, type, () => arrival.disconnect());
  cleanups.push(() => arrival.disconnect());

  // -- Selecting --

  function select(rows, tell = true, around = []) {
    state.selected = new Set(rows);
    outline = rows.length ? around : [];
    status.textContent = rows.length ? `${rows.length.toLocaleString("en")} images selected` : "nothing selected";
    if (tell) onSelect([...rows]);
    redraw();
  }

  function clear() {
    stop();
    state.current = -1;
    select([]);
    go(-1);
  }

  function enclosed() { // the rows whose points lie in the path, by the even-odd rule
    const rows = [];
    for (let row = 0; row < count; row++) {
      if (!visible(row)) continue;
      const [x, y] = placeOf(row);
      let inside = false;
      for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
        const [ax, ay] = path[i], [bx, by] = path[j];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
      }
      if (inside) rows.push(row);
    }
    return rows;
  }

  // -- Mouse, touch and keys --

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  let pressed = null, moved = false;
  const fingers = new Map(); // the places of the pointers that are down

  /** Two fingers zoom around the point between them. */
  function pinch(event) {
    const before = fingers.get(event.pointerId), [x, y] = place(event);
    const [[otherX, otherY]] = [...fingers].filter(([finger]) => finger !== event.pointerId).map(([, where]) => where);
    fingers.set(event.pointerId, [x, y]);
    const far = ([a, b]) => Math.max(1, Math.hypot(a - otherX, b - otherY));
    zoom(far([x, y]) / far(before), (x + otherX) / 2, (y + otherY) / 2);
  }

  listen(canvas, "pointerdown", (event) => {
    fingers.set(event.pointerId, place(event));
    if (fingers.size > 1) { pressed = null; path = []; return; }
    if (event.button || !event.isPrimary) return;
    pressed = place(event);
    moved = false;
    if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
    if (state.mode !== "pan") path = [pressed];
  });
  listen(canvas, "pointermove", (event) => {
    if (fingers.size === 2 && fingers.has(event.pointerId)) return pinch(event);
    const [x, y] = place(event);
    if (!pressed) {
      const row = nearest(x, y, reach());
      return hover(row === state.current ? -1 : row, x, y); // the current image is described beside the picture
    }
    moved = moved || Math.hypot(x - pressed[0], y - pressed[1]) > 4 * ratio();
    if (!moved) return;
    hover(-1);
    if (state.mode === "pan") {
      state.x += x - pressed[0];
      state.y += y - pressed[1];
      pressed = [x, y];
    } else if (state.mode === "lasso") path.push([x, y]);
    else path = [pressed, [x, pressed[1]], [x, y], [pressed[0], y]];
    redraw();
  });
  listen(canvas, "pointerup", (event) => {
    fingers.delete(event.pointerId);
    if (!pressed) return;
    const [x, y] = place(event);
    pressed = null;
    if (!moved) go(nearest(x, y, reach()));
    else if (state.mode !== "pan") select(enclosed(), true, path.map(fromScreen));
    path = [];
    redraw();
  });
  listen(canvas, "pointercancel", (event) => { fingers.delete(event.pointerId); pressed = null; path = []; redraw(); });
  listen(canvas, "pointerleave", () => hover(-1));
  let noteTimer = 0;
  listen(canvas, "wheel", (event) => { // a reader who scrolls past the picture goes on scrolling
    if (!canvas.matches(":focus") && !event.ctrlKey && !event.metaKey) {
      note.hidden = false;
      clearTimeout(noteTimer);
      noteTimer = setTimeout(() => { note.hidden = true; }, 1500);
      return;
    }
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...place(event));
  }, { passive: false });

  /** The nearest visible point in a direction; those straight ahead count as nearer. */
  function ahead(dx, dy) {
    const [x, y] = state.current < 0 ? [canvas.width / 2, canvas.height / 2] : placeOf(state.current);
    if (state.current < 0) return nearest(x, y, Infinity);
    let best = state.current, least = Infinity;
    for (let row = 0; row < count; row++) {
      if (row === state.current || !visible(row)) continue;
      const [px, py] = placeOf(row), along = (px - x) * dx + (py - y) * dy, across = Math.abs((px - x) * dy - (py - y) * dx);
      if (along > 0 && across <= along && along + across < least) { least = along + across; best = row; }
    }
    return best;
  }

  listen(canvas, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // these keys belong to the browser
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const middle = [canvas.width / 2, canvas.height / 2];
    hover(-1); // the points move away from the pointer, or another one becomes the current one
    if (event.key in arrows) {
      const [dx, dy] = arrows[event.key];
      if (event.shiftKey) {
        state.x -= dx * 60 * ratio();
        state.y -= dy * 60 * ratio();
        redraw();
      } else go(ahead(dx, dy));
    } else if (event.key === "+" || event.key === "=") zoom(1.3, ...middle);
    else if (event.key === "-") zoom(1 / 1.3, ...middle);
    else if (event.key === "0") { fit(); redraw(); }
    else if (event.key === "Escape") clear();
    else if (event.key === "Enter" && state.current >= 0) {
      details.querySelector("button")?.focus();
    } else return;
    event.preventDefault();
  });
  listen(page, "keydown", (event) => event.stopPropagation()); // many keys are commands of Jupyter

  // -- Begin --

  const image = new Image();
  image.onload = () => { sprite = image; drawDetails(); redraw(); };
  const address = typeof encoded.sprite === "string" ? `data:image/jpeg;base64,${encoded.sprite}` :
    URL.createObjectURL(new Blob([numbers(encoded.sprite, Uint8Array)], { type: "image/jpeg" }));
  image.src = address;
  cleanups.push(() => { if (address.startsWith("blob:")) URL.revokeObjectURL(address); });

  const recolor = () => {
    const before = String(colors.ground);
    readColors();
    if (String(colors.ground) === before) return; // a change of the page that leaves its ground as it was
    drawLegend();
    redraw();
  };
  const watcher = new ResizeObserver(() => { recolor(); resize(); }); // it is called when the page comes onto the screen, too
  watcher.observe(stage);
  const themes = new MutationObserver(recolor); // JupyterLab and VS Code name their theme in the attributes below
  for (const element of [document.body, document.documentElement]) {
    themes.observe(element, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light", "class", "style"] });
  }
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  listen(scheme, "change", recolor);
  cleanups.push(() => watcher.disconnect(), () => themes.disconnect(), () => cancelAnimationFrame(frameRequest),
    () => cancelAnimationFrame(travel), () => clearTimeout(playing), () => clearTimeout(noteTimer));

  if (film) drawFilm();
  readColors();
  resize();
  drawLegend();
  drawDetails();
  drawTrust();

  return {
    destroy() {
      cleanups.forEach((cleanup) => cleanup());
      page.remove();
    },
    select(rows) {
      const valid = rows.filter((row) => row >= 0 && row < count);
      const isKnown = valid.length === state.selected.size && valid.every((row) => state.selected.has(row));
      if (!isKnown) select(valid, false); // what was selected here comes back from Python
    },
  };
}

// ---- In a notebook (anywidget) ------------------------------------------------------------------------------

function render({ model, el }) {
  const explorer = mount(el, model.get("scene"), (rows) => {
    model.set("selected", rows);
    model.save_changes();
  });
  const fromPython = () => explorer.select(model.get("selected"));
  model.on("change:selected", fromPython);
  fromPython();
  return () => {
    model.off("change:selected", fromPython);
    explorer.destroy();
  };
}

export default { render };
