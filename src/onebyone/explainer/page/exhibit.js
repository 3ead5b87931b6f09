// One 1x1 at work: every number that is shown here is computed here, from the layer's own input and
// weights.

// Sixteen bits of a float as a number; not every browser has an array of them.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * fraction * 2 ** -24;
}

function unpack({ shape, largest, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const numbers = new Float32Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) numbers[i] = largest * half(view.getUint16(2 * i, true));
  return { shape, numbers };
}

function setUpExhibit() {
  if (!find("#exhibit")) return;
  const exhibits = data("exhibit-data");
  const which = find("#which");
  const channel = find("#channel");
  const slide = find("#slide");
  const maps = { before: find("#before"), after: find("#after") };
  const state = { layer: null, channel: 0, row: 0, column: 0, map: null };

  // A colour of the style sheet as the page shows it now; canvases know no variables.
  const probe = document.body.appendChild(element("i", ""));
  probe.hidden = true;
  function colour(name) {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  }

  function choose(index) {
    const one = exhibits[index];
    const input = unpack(one.input);
    const weight = unpack(one.weight);
    const [channels, height, width] = input.shape;
    const [down, across] = one.stride;
    state.layer = {
      ...one, x: input.numbers, w: weight.numbers, channels, height, width, down, across,
      outs: weight.shape[0],
      rows: Math.ceil(height / down), columns: Math.ceil(width / across),
    };
    state.layer.strengths = strengths(input.numbers, channels, height * width);
    state.row = Math.floor(state.layer.rows / 2);
    state.column = Math.floor(state.layer.columns / 2);
    for (const control of [channel, slide]) control.max = state.layer.outs - 1;
    find("#photo-box").hidden = !one.photo;
    if (one.photo) find("#photo").src = one.photo;
    find("#before-size").textContent = `${channels} channels of ${height}×${width} pixels`;
    pick(Math.min(state.channel, state.layer.outs - 1));
  }

  // How much there is at each pixel, from 0 for the least to 1 for the most.
  function strengths(x, channels, pixels) {
    const squares = new Float64Array(pixels);
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < pixels; i++) squares[i] += x[c * pixels + i] ** 2;
    const roots = squares.map(Math.sqrt);
    const least = Math.min(...roots);
    const most = Math.max(...roots);
    return roots.map((root) => (root - least) / (most - least || 1));
  }

  function pick(number) {
    state.channel = Math.max(0, Math.min(state.layer.outs - 1, Math.round(number) || 0));
    state.map = outputMap();
    channel.value = slide.value = state.channel;
    draw();
  }

  function move(row, column) {
    const { rows, columns } = state.layer;
    state.row = Math.max(0, Math.min(rows - 1, row));
    state.column = Math.max(0, Math.min(columns - 1, column));
    draw();
  }

  // The number that input channel `c` has at the pixel that output (row, column) is made of.
  function read(c, row, column) {
    const { x, height, width, down, across } = state.layer;
    return x[(c * height + row * down) * width + column * across];
  }

  function products(row, column) {
    const { channels, w } = state.layer;
    return Float64Array.from({ length: channels }, (_, c) =>
      w[state.channel * channels + c] * read(c, row, column));
  }

  function outputMap() {
    const { rows, columns, bias } = state.layer;
    return Float64Array.from({ length: rows * columns }, (_, i) =>
      products(Math.floor(i / columns), i % columns).reduce((sum, one) => sum + one, bias[state.channel]));
  }

  // --- drawing ---

  function prepare(canvas, width, height) {
    canvas.width = width;
    canvas.height = height;
    return canvas.getContext("2d");
  }

  // One square a pixel, of ink as strong as `shade` says (-1 to 1), and a frame around one of them.
  function drawMap(canvas, rows, columns, shade, [row, column], [down, across]) {
    const size = Math.max(1, Math.floor(560 / Math.max(rows, columns)));
    const context = prepare(canvas, columns * size, rows * size);
    canvas.style.aspectRatio = `${columns} / ${rows}`;
    context.fillStyle = colour("sheet");
    context.fillRect(0, 0, canvas.width, canvas.height);
    const paints = [colour("reduce"), colour("expand"), colour("ink")];
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) {
        const { strength, paint } = shade(r, c);
        context.globalAlpha = strength;
        context.fillStyle = paints[paint];
        context.fillRect(c * size, r * size, size, size);
      }
    context.globalAlpha = 1;
    context.lineWidth = 4;
    context.strokeStyle = colour("paper");
    context.strokeRect(column * across * size - 2, row * down * size - 2, size + 4, size + 4);
    context.lineWidth = 3;
    context.strokeStyle = colour("accent");
    context.strokeRect(column * across * size, row * down * size, size, size);
  }

  function drawMaps() {
    const { strengths, height, width, rows, columns, down, across } = state.layer;
    const at = [state.row, state.column];
    drawMap(maps.before, height, width,
      (r, c) => ({ strength: strengths[r * width + c], paint: 2 }), at, [down, across]);
    const largest = Math.max(...state.map.map(Math.abs)) || 1;
    drawMap(maps.after, rows, columns, (r, c) => {
      const value = state.map[r * columns + c];
      return { strength: Math.abs(value) / largest, paint: value < 0 ? 0 : 1 };
    }, at, [1, 1]);
    const frame = find("#frame").style;
    frame.left = `${(100 * state.column * across) / width}%`;
    frame.top = `${(100 * state.row * down) / height}%`;
    frame.width = `${100 / width}%`;
    frame.height = `${100 / height}%`;
  }

  // Bars up and down from a line at 0, or a line through sums.
  function drawStrip(canvas, values, isLine) {
    const scale = devicePixelRatio || 1;
    const width = Math.max(200, canvas.clientWidth) * scale;
    const height = 92 * scale;
    const context = prepare(canvas, width, height);
    const high = Math.max(0, ...values);
    const low = Math.min(0, ...values);
    const room = height - 4 * scale;
    const y = (value) => 2 * scale + (room * (high - value)) / (high - low || 1);
    const step = width / values.length;
    context.fillStyle = colour("rule");
    context.fillRect(0, y(0), width, scale);
    if (isLine) {
      context.strokeStyle = colour("accent");
      context.lineWidth = 2 * scale;
      context.beginPath();
      values.forEach((value, i) => context.lineTo((i + 0.5) * step, y(value)));
      context.stroke();
      context.fillStyle = colour("accent");
      context.beginPath();
      context.arc(width - 4 * scale, y(values[values.length - 1]), 3.5 * scale, 0, 7);
      context.fill();
      return;
    }
    const paints = { plus: colour("expand"), minus: colour("reduce") };
    values.forEach((value, i) => {
      context.fillStyle = value < 0 ? paints.minus : paints.plus;
      const bar = Math.max(step * 0.8, Math.min(step, scale));
      context.fillRect(i * step, Math.min(y(0), y(value)), bar, Math.abs(y(value) - y(0)));
    });
  }

  const shown = (number) => (Math.abs(number) >= 1000 ? number.toFixed(0) : number.toPrecision(3)).replace("-", "−");

  function drawSum(parts) {
    const { channels, w, bias, follows } = state.layer;
    const order = [...parts.keys()].sort((a, b) => Math.abs(parts[b]) - Math.abs(parts[a])).slice(0, 4);
    const rest = parts.reduce((sum, one, c) => sum + (order.includes(c) ? 0 : one), 0);
    const result = state.map[state.row * state.layer.columns + state.column];
    const terms = order.map((c) =>
      `${shown(w[state.channel * channels + c])} × ${shown(read(c, state.row, state.column))} [channel ${c}]`);
    if (channels > order.length) terms.push(`${shown(rest)} [the other ${channels - order.length}]`);
    terms.push(`${shown(bias[state.channel])} [bias]`);
    const value = element("b", shown(result));
    value.id = "result";
    value.dataset.value = result;
    find("#equation").replaceChildren(`y[${state.channel}] = ${terms.join(" + ")} = `, value);
    if (follows) find("#equation").append(`; then comes: ${follows}`);
  }

  function draw() {
    const { channels, w, bias } = state.layer;
    const parts = products(state.row, state.column);
    let sum = 0;
    const sums = [...parts].map((one) => (sum += one));
    sums.push(sum + bias[state.channel]);
    find("#at").textContent = `(${state.row}, ${state.column})`;
    find("#row").textContent = find("#after-channel").textContent = state.channel;
    drawMaps();
    drawStrip(find("#x"), [...parts.keys()].map((c) => read(c, state.row, state.column)), false);
    drawStrip(find("#w"), [...w.subarray(state.channel * channels, (state.channel + 1) * channels)], false);
    drawStrip(find("#wx"), [...parts], false);
    drawStrip(find("#sum"), sums, true);
    drawSum(parts);
  }

  // --- control ---

  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  for (const canvas of Object.values(maps)) {
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      move(Math.floor((state.layer.rows * (event.clientY - box.top)) / box.height),
        Math.floor((state.layer.columns * (event.clientX - box.left)) / box.width));
    };
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      move(state.row + step[0], state.column + step[1]);
    });
  }
  which.addEventListener("change", () => choose(which.value));
  channel.addEventListener("change", () => pick(Number(channel.value)));
  slide.addEventListener("input", () => pick(Number(slide.value)));
  document.addEventListener("repaint", draw);
  addEventListener("resize", draw);
  choose(0);
}

setUpExhibit();
