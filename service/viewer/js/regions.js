/** Largest connected regions of a class, found in a coarse label map, and a panel to jump to them. */

import { readCoarse } from "./coarse_labels.js";
import { element } from "./dom.js";
import { formatArea } from "./format.js";
import { grid, job, result, slide } from "./session.js";
import { Signal } from "./signal.js";

const COARSE_PX = 1024;
const LISTED = 8;

/** @typedef {{pixels: number, x: number, y: number, width: number, height: number}} Region in pixels of the map */

/** The class whose regions are listed. */
export const chosenClass = new Signal(/** @type {number | null} */ (null));

/**
 * Find the regions of a class, the largest first. Pixels are of one region when they touch by a side.
 * @param {{labels: Uint8Array, width: number, height: number}} map
 * @param {number} value
 * @param {number} count at most so many are returned
 * @returns {Region[]}
 */
export function largestRegions({ labels, width, height }, value, count) {
  const seen = new Uint8Array(labels.length);
  const stack = new Int32Array(labels.length);
  const found = [];
  for (let start = 0; start < labels.length; start++) {
    if (labels[start] !== value || seen[start]) continue;
    found.push(flood(start, { labels, width, height }, value, seen, stack));
  }
  return found.sort((one, other) => other.pixels - one.pixels).slice(0, count);
}

/**
 * Measure the region that holds a pixel, and mark its pixels as seen.
 * @param {number} start index of the pixel
 * @param {{labels: Uint8Array, width: number, height: number}} map
 * @param {number} value
 * @param {Uint8Array} seen
 * @param {Int32Array} stack as long as the map
 * @returns {Region}
 */
function flood(start, { labels, width, height }, value, seen, stack) {
  let [left, top, right, bottom, pixels, depth] = [width, height, 0, 0, 0, 0];
  const push = (at) => {
    if (labels[at] !== value || seen[at]) return;
    seen[at] = 1;
    stack[depth++] = at;
  };
  push(start);
  while (depth) {
    const at = stack[--depth];
    const [x, y] = [at % width, Math.floor(at / width)];
    pixels++;
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
    if (x > 0) push(at - 1);
    if (x < width - 1) push(at + 1);
    if (y > 0) push(at - width);
    if (y < height - 1) push(at + width);
  }
  return { pixels, x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/**
 * Build the panel of the largest regions of the chosen class.
 * @param {import("./slide_view.js").SlideView} view
 * @returns {{panel: HTMLElement, step: (by: number) => void}} `step` goes to the next or previous one
 */
export function regionsPanel(view) {
  const title = element("h3", { id: "regions-title" });
  const list = element("ol", { class: "regions" });
  const note = element("p", { class: "hint" });
  const panel = element("section", { class: "panel", "aria-labelledby": "regions-title" }, title, list, note);
  let at = -1;
  /** @type {Region[]} */
  let regions = [];
  const go = (index) => {
    at = index;
    [...list.querySelectorAll("button")].forEach((button, place) =>
      button.setAttribute("aria-current", String(place === index)),
    );
    view.show(regions[index]);
  };
  const draw = async () => {
    const one = grid.value?.classes.find(({ value }) => value === chosenClass.value);
    panel.hidden = !one || !result.value;
    list.replaceChildren();
    [at, regions] = [-1, []];
    if (panel.hidden) return;
    title.textContent = `Largest regions: ${one.name}`;
    note.textContent = "Looking for them …";
    const asked = [job.value.id, one.value].join();
    const found = await regionsOf(job.value.id, grid.value, one.value);
    if (asked !== [job.value?.id, chosenClass.value].join()) return;
    regions = found;
    note.textContent = found.length ? "" : "There are none.";
    list.replaceChildren(
      ...found.map((region, index) =>
        element(
          "li",
          {},
          element(
            "button",
            { type: "button", class: "small-button number", onclick: () => go(index) },
            areaOf(region),
          ),
        ),
      ),
    );
  };
  let drawing = Promise.resolve();
  [chosenClass, grid, result].forEach((signal) => signal.watch(() => (drawing = draw())));
  const step = async (by) => {
    if (chosenClass.value === null) chosenClass.value = grid.value?.classes[0]?.value ?? null;
    await drawing;
    if (regions.length) go((at + by + regions.length) % regions.length);
  };
  return { panel, step };
}

/** Label maps that were read, by job and version, the last one only. @type {{key: string, map: Promise<any>} | null} */
let kept = null;

/**
 * Find the largest regions of a class in level-0 px.
 * @param {string} jobId
 * @param {any} info answer of GET /v1/jobs/{id}/tiles
 * @param {number} value
 */
async function regionsOf(jobId, info, value) {
  const key = `${jobId} ${info.version}`;
  if (kept?.key !== key) kept = { key, map: readCoarse(jobId, info, COARSE_PX) };
  const map = await kept.map;
  return largestRegions(map, value, LISTED).map(({ pixels, x, y, width, height }) => ({
    pixels: pixels * map.scale ** 2,
    x: x * map.scale,
    y: y * map.scale,
    width: width * map.scale,
    height: height * map.scale,
  }));
}

/** @param {Region} region level-0 px */
function areaOf({ pixels }) {
  const mpp = slide.value?.mpp ?? result.value?.mpp.slide;
  return `${formatArea(pixels * (mpp / 1000) ** 2)} mm²`;
}
