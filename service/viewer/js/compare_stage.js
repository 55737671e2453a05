/** Show two results on the stage: a divider to swipe, two views side by side, or the map of differences. */

import { mode, other } from "./compare.js";
import { DIFFERS, DifferenceTiles, mappingOf, sameGrid } from "./difference_tiles.js";
import { display, layerOpacity, shownColours } from "./display.js";
import { element } from "./dom.js";
import { LabelLayer } from "./label_layer.js";
import { LabelTiles } from "./label_tiles.js";
import { DIFFERENT, pixelTable } from "./palette.js";
import { grid, job, slide, stage } from "./session.js";
import { SlideView } from "./slide_view.js";

const STEP = 2;

/**
 * Prepare the stage for two results.
 * @param {SlideView} view that of the open job
 * @param {LabelLayer} layer
 * @returns {{layers: LabelLayer[], beside: SlideView}} the further layers, and the second view
 */
export function compareStage(view, layer) {
  const second = new LabelLayer(view);
  const difference = new LabelLayer(view);
  const divider = swipeDivider(view, (percent) => clip(layer, second, percent));
  const beside = sideView(view);
  const layers = [second, difference, beside.layer];
  const names = nameTags();
  view.host.parentElement?.append(names);
  const show = () => {
    const now = other.value;
    const way = now ? mode.value : null;
    split(view, way === "side");
    divider.node.hidden = way !== "swipe";
    names.hidden = way !== "side" && way !== "swipe";
    second.tiles = now && way === "swipe" ? now.tiles : null;
    difference.tiles = now && way === "difference" ? differenceTiles(layer, now) : null;
    beside.show(way === "side" ? now : null);
    clip(layer, second, way === "swipe" ? divider.percent() : null);
    restyle();
  };
  const restyle = () => {
    const now = other.value;
    if (!now || !grid.value) return (layer.opacity = layerOpacity(display.value));
    const style = {
      table: pixelTable(coloursLike(grid.value.classes, now.info.classes)),
      outline: display.value.outline,
    };
    [second, beside.layer].forEach((one) => (one.style = style));
    difference.style = { table: pixelTable(new Map([[DIFFERS, DIFFERENT]])), outline: display.value.outline };
    layers.forEach((one) => (one.opacity = layerOpacity(display.value)));
    layer.opacity = mode.value === "difference" ? 0 : layerOpacity(display.value);
  };
  [other, mode].forEach((signal) => signal.watch(show));
  [display, grid].forEach((signal) => signal.watch(restyle));
  return { layers, beside: beside.copy };
}

/**
 * Give half of the stage to each result, or all of it to one; a slide that was seen whole stays so.
 * @param {SlideView} view
 * @param {boolean} inTwo
 */
function split(view, inTwo) {
  if (document.body.classList.contains("side-by-side") === inTwo) return;
  const whole = view.slide && view.isWhole();
  if (whole) view.osd.addOnceHandler("after-resize", () => view.fit(true));
  document.body.classList.toggle("side-by-side", inTwo);
  view.osd.forceResize();
}

/**
 * @param {LabelLayer} layer of the open job
 * @param {import("./compare.js").Result} now
 * @returns {DifferenceTiles | null}
 */
function differenceTiles(layer, now) {
  const tiles = layer.tiles;
  if (!(tiles instanceof LabelTiles) || !sameGrid(tiles.info, now.info)) return null;
  return new DifferenceTiles(tiles, now.tiles, mappingOf(tiles.info.classes, now.info.classes));
}

/** Build the two names on either side of where one result ends. */
function nameTags() {
  const tags = [element("span"), element("span")];
  const draw = () =>
    [job.value, other.value?.job].forEach((one, index) => (tags[index].textContent = one?.model ?? ""));
  [job, other].forEach((signal) => signal.watch(draw));
  return element("div", { class: "result-names", hidden: true }, tags);
}

/**
 * Colours of the second result's classes: those of the first's classes of the same name.
 * @param {import("./palette.js").LabelClass[]} first
 * @param {import("./palette.js").LabelClass[]} classes the second's
 */
function coloursLike(first, classes) {
  const shown = shownColours(first, display.value);
  const own = shownColours(classes, display.value);
  const colours = new Map();
  for (const { value, name } of classes) {
    const same = first.find((one) => one.name === name);
    const colour = same ? shown.get(same.value) : own.get(value);
    if (colour) colours.set(value, colour);
  }
  return colours;
}

/**
 * Cut both layers at the divider, or neither.
 * @param {LabelLayer} left
 * @param {LabelLayer} right
 * @param {number | null} percent of the width
 */
function clip(left, right, percent) {
  left.canvas.style.clipPath = percent === null ? "" : `inset(0 ${100 - percent}% 0 0)`;
  right.canvas.style.clipPath = percent === null ? "" : `inset(0 0 0 ${percent}%)`;
}

/**
 * Build the divider: dragged, or moved by the arrow keys.
 * @param {SlideView} view
 * @param {(percent: number) => void} onMove
 */
function swipeDivider(view, onMove) {
  let percent = 50;
  const node = element("div", {
    class: "divider",
    role: "slider",
    tabindex: 0,
    hidden: true,
    "aria-label": "Where one result ends and the other begins",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    onkeydown: (event) => {
      const step = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key];
      if (step) move(percent + step);
    },
    onpointerdown: (event) => node.setPointerCapture(event.pointerId),
    onpointermove: (event) => {
      if (!node.hasPointerCapture(event.pointerId)) return;
      const { left, width } = view.host.getBoundingClientRect();
      move((100 * (event.clientX - left)) / width);
    },
  });
  const move = (to) => {
    percent = Math.min(100, Math.max(0, to));
    view.host.parentElement?.style.setProperty("--divider", `${percent}%`);
    node.setAttribute("aria-valuenow", String(Math.round(percent)));
    onMove(percent);
  };
  move(50);
  view.host.parentElement?.append(node);
  return { node, percent: () => percent };
}

/**
 * Prepare a second view of the slide, made when it is first wanted, that goes where the first goes and leads it.
 * @param {SlideView} view
 */
function sideView(view) {
  const host = element("div", { class: "slide-view second", "aria-label": "The other result" });
  view.host.parentElement?.append(host);
  const copy = new SlideView(host);
  const layer = new LabelLayer(copy);
  let leader = view;
  const lead = (one, follower) => {
    one.host.addEventListener("pointerenter", () => (leader = one));
    one.osd.addHandler("update-viewport", () => {
      if (leader === one && one.slide && follower.slide && other.value && mode.value === "side")
        follower.moveTo(one.now(), true);
    });
  };
  lead(view, copy);
  lead(copy, view);
  document.addEventListener("keydown", () => (leader = view));
  const show = async (now) => {
    layer.tiles = null;
    if (!now) return copy.slide && copy.close();
    const place = view.position();
    await copy.open(slide.value.id, view.slide, place);
    if (other.value === now && mode.value === "side") layer.tiles = now.tiles;
    stage.redraw();
  };
  return { layer, copy, show };
}
