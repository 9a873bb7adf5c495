"use strict";
// The theme, the keys and the address of the page, and the links of a saved page: those of a page
// with a server are in Python.
(() => {
  function set_theme(name) {
    document.documentElement.dataset.theme = name;
    // Canvases read the colours of the style sheet (--bk-…) when they are painted.
    for (const view of Object.values(Bokeh.index)) { repaint(view); }
  }

  function repaint(view) {
    if (view.model.type == "Figure") { view.request_repaint(); }
    for (const child of view.child_views ?? []) { repaint(child); }
  }

  // A saved page has no server: a click on a mark selects its cell in all data sources, and the
  // hash of the address has the state. Returns what the keys do.
  function link(doc, time, state) {
    const linked = [...doc._all_models.values()].filter(
      (one) => one.type == "ColumnDataSource" && one.tags[0] == "linked");
    const cursor = doc.get_model_by_name("cursor");
    const cards = doc.get_model_by_name("cards")?.data ?? {cell: [], population: [], text: []};
    const card = doc.get_model_by_name("card");
    const of_run = card?.text;
    const [factor] = time.tags;
    let picked = ["", NaN];
    let busy = false;
    let waiting;
    const population_of = (source, row) => source.tags[1] || source.data.population[row];
    function pick(population, cell) {
      picked = [population, cell];
      busy = true;
      for (const source of linked) {
        const rows = [];
        source.data.cell.forEach((one, row) => {
          if (one == cell && population_of(source, row) == population) { rows.push(row); }
        });
        source.selected.indices = rows;
      }
      busy = false;
      const at = cards.cell.findIndex(
        (one, row) => one == cell && cards.population[row] == population);
      if (card) { card.text = at < 0 ? of_run : cards.text[at]; }
      tell();
    }
    function step(by) {
      const {length} = cards.cell;
      const at = cards.cell.findIndex(
        (one, row) => one == picked[1] && cards.population[row] == picked[0]);
      const next = at < 0 && by < 0 ? length - 1 : (at + by + length) % length;
      if (length) { pick(cards.population[next], cards.cell[next]); }
    }
    function tell() {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const parts = [];
        if (time.start > time.reset_start || time.end < time.reset_end) {
          parts.push(`time=${[time.start, time.end].map((one) => one / factor)}`);
        }
        if (cursor.location != null) { parts.push(`at=${cursor.location / factor}`); }
        if (picked[0]) { parts.push(`cell=${encodeURIComponent(picked[0])}:${picked[1]}`); }
        if (state.get("theme")) { parts.push(`theme=${state.get("theme")}`); }
        history.replaceState(null, "", `#${parts.join("&")}`);
      }, 200);
    }
    for (const source of linked) {
      source.selected.properties.indices.change.connect(() => {
        if (busy) { return; }
        const [row] = source.selected.indices;
        // A click beside all marks clears what is selected in its figure only.
        if (row == undefined) { pick(...picked); }
        else { pick(population_of(source, row), source.data.cell[row]); }
      });
      const [row] = source.selected.indices;
      if (row != undefined) { picked = [population_of(source, row), source.data.cell[row]]; }
    }
    const window_ = (state.get("time") ?? "").split(",").map((one) => factor * Number(one));
    if (window_.length == 2) { time.setv({start: window_[0], end: window_[1]}); }
    if (state.get("at")) { cursor.location = factor * Number(state.get("at")); }
    const [, population, cell] = (state.get("cell") ?? "").match(/^(.*):(\d+)/) ?? ["", ...picked];
    if (population) { pick(population, Number(cell)); }
    time.change.connect(tell);
    cursor.change.connect(tell);
    return {
      next: () => step(1), previous: () => step(-1), unpick: () => pick("", NaN), theme: tell,
      play: () => document.dispatchEvent(new Event("play")),
    };
  }

  function started(doc) {
    const by_name = (name) => doc.get_model_by_name(name);
    const state = new URLSearchParams(location.hash.slice(1) || location.search);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    set_theme(state.get("theme") || (dark ? "dark" : "light"));

    const columns = document.getElementById("columns");
    const command = by_name("command");
    const time = by_name("time");
    const saved = columns.classList.contains("saved") ? link(doc, time, state) : null;
    let count = 0;
    const send = (text) => {
      if (saved) { saved[text.split(":")[0]](); } else { command.value = `${text} ${++count}`; }
    };
    by_name("theme_button")?.on_event("button_click", () => {
      const theme = document.documentElement.dataset.theme == "dark" ? "light" : "dark";
      set_theme(theme);
      state.set("theme", theme);
      send(`theme:${theme}`);
    });

    const address = by_name("address");
    address?.properties.value.change.connect(() => {
      const text = address.value ? `?${address.value}` : location.pathname;
      history.replaceState(null, "", text);
    });

    time.properties.start.change.emit();  // for the brush of the overview
    const move = (shift, zoom) => {
      const middle = (time.start + time.end) / 2 + shift * (time.end - time.start);
      const half = (time.end - time.start) / 2 * zoom;
      time.setv({start: middle - half, end: middle + half});
    };
    const keys = {
      ArrowLeft: () => move(-0.1, 1), ArrowRight: () => move(0.1, 1),
      "+": () => move(0, 0.5), "=": () => move(0, 0.5), "-": () => move(0, 2),
      "0": () => time.setv({start: time.reset_start, end: time.reset_end}),
      n: () => send("next"), p: () => send("previous"), " ": () => send("play"),
      Escape: () => send("unpick"),
    };
    for (const [name, tool] of [["keydown", "wheel height"], ["keyup", "wheel width"]]) {
      document.addEventListener(name, ({key}) => {
        const models = key == "Control" ? [...doc._all_models.values()] : [];
        for (const {toolbar} of models.filter((one) => one.type == "Figure")) {
          const both = toolbar.tools.some((one) => one.name == "wheel height");
          if (both) { toolbar.tools.find((one) => one.name == tool).active = true; }
        }
      });
    }
    document.addEventListener("keydown", (event) => {
      const inside = event.composedPath()[0];
      if (["INPUT", "SELECT", "TEXTAREA", "BUTTON"].includes(inside.tagName) ||
          event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) { return; }
      event.preventDefault();
      keys[event.key]();
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const wait = () => {
      const doc = window.Bokeh?.documents[0];
      if (doc?.is_idle) { started(doc); } else { setTimeout(wait, 20); }
    };
    wait();
  });
})();
