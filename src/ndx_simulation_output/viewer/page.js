"use strict";
// The theme, the keys and the address of the page. The links of panels are in Python.
(() => {
  const COLORS = {
    light: {ink: "#17212b", pale: "#5b6875", line: "#dfe4ea", grid: "#edf0f3", card: "#ffffff"},
    dark: {ink: "#e3e9ef", pale: "#97a4b1", line: "#2b3540", grid: "#222c36", card: "#171e26"},
  };
  // Properties of models that are drawn on a canvas, where style sheets do not reach.
  const styles = (c) => ({
    Title: {text_color: c.ink},
    LinearAxis: {axis_label_text_color: c.pale, major_label_text_color: c.pale,
                 axis_line_color: c.line, major_tick_line_color: c.line,
                 minor_tick_line_color: null},
    CategoricalAxis: {axis_label_text_color: c.pale, major_label_text_color: c.pale},
    Grid: {grid_line_color: c.grid},
    Legend: {label_text_color: c.ink, background_fill_color: null, title_text_color: c.pale},
    ColorBar: {major_label_text_color: c.pale, title_text_color: c.pale,
               background_fill_color: null},
    ScaleBar: {label_text_color: c.ink, bar_line_color: c.ink, background_fill_color: null},
    Label: {text_color: c.ink},
    LabelSet: {text_color: {value: c.ink}},
    Figure: {background_fill_color: null, border_fill_color: null, outline_line_color: c.line},
  });
  let theme = "light";
  const painted = new Map();

  function paint(doc) {
    const wanted = styles(COLORS[theme]);
    for (const model of doc._all_models.values()) {
      if (wanted[model.type] && painted.get(model) !== theme && !model.tags?.includes("own")) {
        painted.set(model, theme);
        model.setv(wanted[model.type], {sync: false});
      }
    }
  }

  function set_theme(doc, name) {
    theme = name;
    document.documentElement.dataset.theme = name;
    paint(doc);
  }

  // A saved page has no server: a click on a mark selects its cell in all data sources.
  function link(doc) {
    const linked = [...doc._all_models.values()].filter(
      (one) => one.type == "ColumnDataSource" && one.tags[0] == "linked");
    const cards = doc.get_model_by_name("cards");
    const card = doc.get_model_by_name("card");
    let busy = false;
    function pick(population, cell) {
      busy = true;
      for (const source of linked) {
        const rows = [];
        if (source.tags[1] == population) {
          source.data.cell.forEach((one, row) => { if (one == cell) { rows.push(row); } });
        }
        source.selected.indices = rows;
      }
      busy = false;
      const at = cards ? cards.data.cell.findIndex(
        (one, row) => one == cell && cards.data.population[row] == population) : -1;
      if (at >= 0) { card.text = cards.data.text[at]; }
    }
    for (const source of linked) {
      source.selected.properties.indices.change.connect(() => {
        const [row] = source.selected.indices;
        if (!busy && row != undefined) { pick(source.tags[1], source.data.cell[row]); }
      });
    }
  }

  function started(doc) {
    const by_name = (name) => doc.get_model_by_name(name);
    const asked = new URLSearchParams(location.search || location.hash.slice(1)).get("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    set_theme(doc, asked || (dark ? "dark" : "light"));
    let waiting = null;
    doc.on_change(() => { waiting ??= setTimeout(() => { waiting = null; paint(doc); }, 0); });

    const command = by_name("command");
    let count = 0;
    const send = (text) => { if (command) { command.value = `${text} ${++count}`; } };
    by_name("theme_button")?.on_event("button_click", () => {
      set_theme(doc, theme == "dark" ? "light" : "dark");
      send(`theme:${theme}`);
    });

    const address = by_name("address");
    address?.properties.value.change.connect(() => {
      const text = address.value ? `?${address.value}` : location.pathname;
      history.replaceState(null, "", text);
    });

    const time = by_name("time");
    if (document.getElementById("columns").classList.contains("saved")) { link(doc); }
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
