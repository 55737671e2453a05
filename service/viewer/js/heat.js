/** Heat map of the probabilities of the labels, where the job keeps them. */

import { ApiError, getLabelTiles } from "./api.js";
import { other } from "./compare.js";
import { display } from "./display.js";
import { element } from "./dom.js";
import { formatPercent } from "./format.js";
import { LabelLayer } from "./label_layer.js";
import { LabelTiles } from "./label_tiles.js";
import { growth, grid, job, stage } from "./session.js";
import { Signal } from "./signal.js";
import { pixelTable } from "./palette.js";

/** Five colours of viridis (Smith and van der Walt), which all eyes see in this order. */
const SCALE = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
];

/** Whether the heat map is on the stage. */
export const heating = new Signal(false);

/**
 * Lay the heat map over a slide; it is fetched when it is first switched on.
 * @param {import("./slide_view.js").SlideView} view
 * @returns {LabelLayer}
 */
export function heatLayer(view) {
  const layer = new LabelLayer(view);
  let tries = 0;
  const stop = () => {
    layer.tiles?.close();
    layer.tiles = null;
  };
  const start = async (id) => {
    const mine = ++tries;
    // Anew: patches may have come since the grid was read.
    const info = await getLabelTiles(id).catch((error) => {
      if (!(error instanceof ApiError)) throw error;
    });
    if (mine !== tries || !info || !heating.value) return;
    layer.style = { table: heatTable(info.classes.length), outline: false };
    layer.tiles = new LabelTiles(id, info, () => stage.redraw(), "probabilities/");
  };
  const show = () => {
    const on = Boolean(display.value.heat && grid.value?.probabilities && !other.value);
    if (on !== heating.value) heating.value = on;
    layer.opacity = display.value.shown ? display.value.opacity : 0;
    const tiles = layer.tiles instanceof LabelTiles ? layer.tiles : null;
    if (tiles && (!heating.value || tiles.jobId !== job.value?.id)) stop();
    if (!heating.value) tries++;
    else if (!layer.tiles) start(job.value.id);
    else if (tiles && grid.value.finished && !tiles.info.finished) tiles.finish(grid.value);
  };
  [display, grid, other].forEach((signal) => signal.watch(show));
  growth.watch((grown) => grown && layer.tiles instanceof LabelTiles && layer.tiles.grow(grown));
  return layer;
}

/**
 * Return the probability under a place as words; null where there is none.
 * @param {LabelLayer} layer
 * @param {{x: number, y: number}} place level-0 px
 */
export function probabilityAt(layer, place) {
  const value = layer.tiles instanceof LabelTiles ? layer.tiles.valueAt(place) : null;
  return value ? formatPercent(value / 255) : null;
}

/** Build the scale of the heat map, shown while it is. */
export function heatScale() {
  const steps = SCALE.map((rgb) => `rgb(${rgb.join(" ")})`).join(", ");
  const least = element("span", { class: "number" });
  const node = element(
    "div",
    { class: "heat-scale", role: "img", "aria-label": "Probability, from even odds to certain" },
    least,
    element("i", { style: { "background-image": `linear-gradient(to right, ${steps})` } }),
    element("span", { class: "number" }, "100 %"),
  );
  heating.watch((on) => {
    node.hidden = !on;
    if (on) least.textContent = formatPercent(1 / grid.value.classes.length);
  });
  return node;
}

/**
 * Colours by probability in 255ths: the scale begins where no class is likelier than another.
 * @param {number} classes
 */
function heatTable(classes) {
  const least = 1 / Math.max(2, classes);
  /** @type {Map<number, string>} */
  const colours = new Map();
  for (let value = 1; value < 256; value++) {
    const place = Math.max(0, (value / 255 - least) / (1 - least)) * (SCALE.length - 1);
    const from = Math.min(SCALE.length - 2, Math.floor(place));
    const rgb = SCALE[from].map((part, index) =>
      Math.round(part + (place - from) * (SCALE[from + 1][index] - part)),
    );
    colours.set(value, `#${rgb.map((part) => part.toString(16).padStart(2, "0")).join("")}`);
  }
  return pixelTable(colours);
}
