/** Measure a distance: two points, by dragging, or by keys in the middle of the view. */

import { element } from "./dom.js";
import { formatCount, formatLength } from "./format.js";
import { Signal } from "./signal.js";

/** Whether the tool is in hand. */
export const measuring = new Signal(false);

const SPACE = "http://www.w3.org/2000/svg";

/** @typedef {{x: number, y: number}} Point level-0 px */

/**
 * Build the layer that shows the line.
 * @param {import("./slide_view.js").SlideView} view
 * @returns {{node: HTMLElement, mark: () => void}} `mark` sets the next point in the middle of the view
 */
export function measureLayer(view) {
  const line = document.createElementNS(SPACE, "line");
  const under = document.createElementNS(SPACE, "line");
  under.setAttribute("class", "under");
  const drawing = document.createElementNS(SPACE, "svg");
  drawing.append(under, line);
  const words = element("output", { class: "length", "aria-live": "polite" });
  const cross = element("div", { class: "cross", "aria-hidden": "true" });
  const node = element("div", { class: "measure", hidden: true }, drawing, cross, words);
  /** @type {{from: Point | null, to: Point | null}} */
  let points = { from: null, to: null };
  const draw = () => {
    node.hidden = !measuring.value || !view.slide;
    if (node.hidden) return;
    const to = points.to ?? (points.from && middle(view));
    drawing.toggleAttribute("hidden", !points.from);
    words.textContent =
      points.from && to
        ? lengthOf(points.from, to, view.slide.mpp)
        : "Drag a line, or press Enter to begin one in the middle";
    if (points.from && to) place([under, line], words, onScreen(view, points.from), onScreen(view, to));
    else words.removeAttribute("style");
  };
  const set = (next) => {
    points = next;
    draw();
  };
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    set({ from: view.placeOf(event), to: view.placeOf(event) });
  });
  node.addEventListener(
    "pointermove",
    (event) => node.hasPointerCapture(event.pointerId) && set({ ...points, to: view.placeOf(event) }),
  );
  node.addEventListener("wheel", (event) => view.zoomBy(event.deltaY < 0 ? 1.3 : 1 / 1.3), { passive: true });
  measuring.watch(() => set({ from: null, to: null }));
  view.osd.addHandler("update-viewport", draw);
  return {
    node,
    mark: () =>
      set(points.from && !points.to ? { ...points, to: middle(view) } : { from: middle(view), to: null }),
  };
}

/** @param {import("./slide_view.js").SlideView} view */
function middle(view) {
  const { x, y } = view.position();
  return { x, y };
}

/**
 * @param {import("./slide_view.js").SlideView} view
 * @param {Point} point
 */
function onScreen(view, { x, y }) {
  const { left, top, scale } = view.frame();
  return { x: (x - left) * scale, y: (y - top) * scale };
}

/**
 * @param {Point} from
 * @param {Point} to
 * @param {number | null} mpp
 */
function lengthOf(from, to, mpp) {
  const pixels = Math.hypot(to.x - from.x, to.y - from.y);
  return mpp ? formatLength(pixels * mpp) : `${formatCount(pixels)} px`;
}

/**
 * @param {SVGLineElement[]} lines
 * @param {HTMLElement} words
 * @param {Point} from screen px
 * @param {Point} to screen px
 */
function place(lines, words, from, to) {
  const ends = { x1: from.x, y1: from.y, x2: to.x, y2: to.y };
  for (const line of lines)
    Object.entries(ends).forEach(([name, value]) => line.setAttribute(name, String(value)));
  words.style.left = `${(from.x + to.x) / 2}px`;
  words.style.top = `${(from.y + to.y) / 2}px`;
}
