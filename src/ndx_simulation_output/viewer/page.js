"use strict";
// The theme, the keys and the address of the page. The links of panels are in Python.
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
        const of = source.tags[1] || source.data.population;  // of all rows or of each
        source.data.cell.forEach((one, row) => {
          if (one == cell && (of == population || of[row] == population)) { rows.push(row); }
        });
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
        if (!busy && row != undefined) {
          pick(source.tags[1] || source.data.population[row], source.data.cell[row]);
        }
      });
    }
  }

  function started(doc) {
    const by_name = (name) => doc.get_model_by_name(name);
    const asked = new URLSearchParams(location.search || location.hash.slice(1)).get("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    set_theme(asked || (dark ? "dark" : "light"));

    const columns = document.getElementById("columns");
    const command = by_name("command");
    let count = 0;
    const send = (text) => { if (command) { command.value = `${text} ${++count}`; } };
    by_name("theme_button")?.on_event("button_click", () => {
      const theme = document.documentElement.dataset.theme == "dark" ? "light" : "dark";
      set_theme(theme);
      send(`theme:${theme}`);
    });

    const address = by_name("address");
    address?.properties.value.change.connect(() => {
      const text = address.value ? `?${address.value}` : location.pathname;
      history.replaceState(null, "", text);
    });

    const time = by_name("time");
    time.properties.start.change.emit();  // for the brush of the overview
    if (columns.classList.contains("saved")) { link(doc); }
    const move = (shift, zoom) => {
      const middle = (time.start + time.end) / 2 + shift * (time.end - time.start);
      const half = (time.end - time.start) / 2 * zoom;
      time.setv({start: middle - half, end: middle + half});
    };
    const keys = {
      ArrowLeft: () => move(-0.1, 1), ArrowRight: () => move(0.1, 1),
      "+": () => move(0, 0.5), "=": () => move(0, 0.5), "-": () => move(0, 2),
      "0": () => time.setv({start: time.reset_start, end: time.reset_end}),
      n: () => send("next"), p: () => send("previous"), " ": () => { send("play"); document.dispatchEvent(new Event("play")); },
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
