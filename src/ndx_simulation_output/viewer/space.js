// Draws cells in space: rotated, the near over the far, in the colours of the frame at the cursor.
// figure.tags are the angles of the view; points, rows and frames are set by Python.
const state = figure.space ??= {};
const event = cb_obj?.event_name;

function project() {
    const [yaw, pitch] = figure.tags;
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    return (x, y, z) => {
        const near = z * cy - x * sy;
        return [x * cy + z * sy, y * cp - near * sp, y * sp + near * cp];
    };
}

// The colours, and widths in pixels: diameters at the scale of the figure.
function paint(source) {
    const {time, value} = frames.data;
    let nearest = 0;
    time.forEach((one, k) => {
        if (Math.abs(one - cursor.location) < Math.abs(time[nearest] - cursor.location)) {
            nearest = k;
        }
    });
    const scale = (figure.inner_width || 300) / (figure.x_range.end - figure.x_range.start);
    const [least, spot, symbol] = frames.tags;
    if (is_saved && time.length) {
        const at = Number(time[nearest].toPrecision(4));
        when.text = `<span class="small">at ${at} ${symbol}</span>`;
    }
    const {row, diameter} = source.data;
    const values = value[nearest] ?? [];
    source.data.value = Array.from(row, (one) => values[one] ?? NaN);
    source.data.width = Array.from(diameter, (one) =>
        isNaN(one) ? spot : Math.min(Math.max(one * scale, least), 60));
    source.data.halo = source.data.width.map(
        (one, k) => one + (row[k] == front.tags[0] ? 12 : 5));
    source.data.rim = source.data.width.map((one) => one + 1.5);
    source.change.emit();
}

// The colour map of the theme.
function choose_palette() {
    const dark = document.documentElement.dataset.theme == "dark";
    const palette = colors.tags[dark ? 1 : 0];
    if (palette && state.palette != palette) {
        state.palette = palette;
        colors.setv({palette}, {sync: false});
    }
}

function draw() {
    choose_palette();
    const {x, y, z} = points.data;
    const middle = points.tags;
    const {population, cell, section, position, about, diameter, stop} = rows.data;
    if ((stop.at(-1) ?? 0) != x.length) { return; }  // Not all of the data are here.
    const begin = (row) => row ? stop[row - 1] : 0;
    const to = project();
    const [xs, ys, depths] = [0, 1, 2].map(() => new Float64Array(x.length));
    for (let i = 0; i < x.length; i++) {
        [xs[i], ys[i], depths[i]] = to(x[i] - middle[0], y[i] - middle[1], z[i] - middle[2]);
    }
    const centre = Array.from(stop, (end, row) => (begin(row) + end) >> 1);
    const depth = centre.map((i) => depths[i]);
    const order = centre.map((_, row) => row).sort((a, b) => depth[a] - depth[b]);
    const eps = (figure.x_range.end - figure.x_range.start) * 1e-5;
    function fill(source, chosen) {
        const at = (values) => chosen.map((row) => values[row]);
        const line = (values, shift) => chosen.map((row) => stop[row] - begin(row) > 1
            ? values.subarray(begin(row), stop[row])
            : [values[begin(row)], values[begin(row)] + shift]);
        const places = (values) => chosen.map((row) => values[centre[row]]);
        Object.assign(source.data, {
            row: chosen, depth: at(depth), cell: at(cell), population: at(population),
            section: at(section), position: at(position), about: at(about),
            diameter: at(diameter), px: places(x), py: places(y), pz: places(z),
        });
        if (are_lines()) {
            Object.assign(source.data, {xs: line(xs, eps), ys: line(ys, 0), x: [], y: []});
            source.data.x = source.data.y = chosen.map(() => NaN);
        } else {
            Object.assign(source.data, {x: places(xs), y: places(ys)});
            source.data.xs = source.data.ys = chosen.map(() => []);
        }
        paint(source);
    }
    // While a view is turned, only some of many marks follow.
    const step = state.turning ? Math.ceil(order.length / 4000) : 1;
    fill(drawn, step > 1 ? order.filter((_, k) => k % step == 0) : order);
    const picked = new Set(rows.selected.indices);
    fill(front, order.filter((row) => picked.has(row)));
    turn_cross(to);
}

function are_lines() { return points.tags[3]; }

// The directions of the axes in the corner at the lower right.
function turn_cross(to) {
    const [left, low] = [(figure.inner_width || 300) - 34, 32];
    const ends = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((one) => to(...one));
    Object.assign(cross.data, {
        x0: [left, left, left], y0: [low, low, low],
        x1: ends.map(([x]) => left + 20 * x), y1: ends.map(([, y]) => low + 20 * y),
        x2: ends.map(([x]) => left + 27 * x), y2: ends.map(([, y]) => low + 27 * y),
    });
    cross.change.emit();
}

// Both axes have the same scale, whatever the shape of the frame.
function fit() {
    const {x_range, y_range, inner_width, inner_height} = figure;
    if (!(inner_width > 0 && inner_height > 0)) { return; }
    for (const [start, end] of [["reset_start", "reset_end"], ["start", "end"]]) {
        const reach = (y_range[end] - y_range[start]) / 2 * inner_width / inner_height;
        const centre = (x_range[start] + x_range[end]) / 2;
        if (Math.abs(x_range[end] - x_range[start] - 2 * reach) > 1e-6 * reach) {
            x_range.setv({[start]: centre - reach, [end]: centre + reach});
        }
    }
}

function later(name, what) {
    if (state[name]) { return; }
    state[name] = true;
    requestAnimationFrame(() => { state[name] = false; what(); });
}

function drag() {
    const {x_range, y_range, inner_width} = figure;
    if (event == "panstart") {
        state.from = {tags: [...figure.tags], x: [x_range.start, x_range.end],
                      y: [y_range.start, y_range.end]};
    } else if (cb_obj.modifiers?.shift) {
        const scale = (state.from.x[1] - state.from.x[0]) / inner_width;
        const [dx, dy] = [cb_obj.delta_x * scale, cb_obj.delta_y * scale];
        x_range.setv({start: state.from.x[0] - dx, end: state.from.x[1] - dx});
        y_range.setv({start: state.from.y[0] + dy, end: state.from.y[1] + dy});
    } else {
        const [yaw, pitch] = state.from.tags;
        figure.tags = [yaw + cb_obj.delta_x / 120, pitch + cb_obj.delta_y / 120];
        state.turning = true;
        later("draw", draw);
    }
}

// The row of the mark at a place of the figure, the nearest to the eye of several; else undefined.
function hit(x, y) {
    const {xs, ys, width, row} = drawn.data;
    const scale = figure.inner_width / (figure.x_range.end - figure.x_range.start);
    for (let k = row.length - 1; k >= 0; k--) {
        const [px, py] = are_lines() ? [xs[k], ys[k]] : [[drawn.data.x[k]], [drawn.data.y[k]]];
        const reach = (width[k] / 2 + 3) / scale;
        for (let i = 0; i < px.length; i++) {
            const j = Math.min(i + 1, px.length - 1);
            const [dx, dy] = [px[j] - px[i], py[j] - py[i]];
            const along = ((x - px[i]) * dx + (y - py[i]) * dy) / (dx * dx + dy * dy || 1);
            const t = Math.min(Math.max(along, 0), 1);
            if (Math.hypot(x - px[i] - t * dx, y - py[i] - t * dy) < reach) { return row[k]; }
        }
    }
}

// Without a server the browser moves the cursor through the frames, in ten seconds.
function play() {
    if (state.timer) {
        state.timer = clearInterval(state.timer);
        return;
    }
    let last = performance.now();
    state.timer = setInterval(() => {
        const [first, end] = [frames.data.time[0], frames.data.time.at(-1)];
        const now = performance.now();
        const at = (cursor.location ?? first) + (end - first) * (now - last) / 10000;
        last = now;
        cursor.location = at >= first && at <= end ? at : first;
    }, 60);
}

if (!state.watched) {
    state.watched = new MutationObserver(choose_palette);
    state.watched.observe(document.documentElement, {attributeFilter: ["data-theme"]});
    if (is_saved) { document.addEventListener("play", play); }
}

if (event == "pan" || event == "panstart") {
    drag();
} else if (event == "panend") {
    state.turning = false;
    later("draw", draw);
} else if (event == "button_click") {
    play();
} else if (event == "tap") {
    // Python, or the links of a saved page, pass the selection to the other panels.
    const row = hit(cb_obj.x, cb_obj.y);
    if (row != undefined) { rows.selected.indices = [row]; }
} else if (event == "reset") {
    figure.tags = [...reset];
    later("draw", draw);
} else if (cb_obj == figure.x_range || cb_obj == frames || cb_obj == cursor) {
    later("paint", () => { paint(drawn); paint(front); });
} else {
    fit();
    later("draw", draw);
}
