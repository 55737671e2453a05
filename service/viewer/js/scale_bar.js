/** Scale bar: a round length at the present zoom, or pixels where the pixel size is not known. */

import { element } from "./dom.js";
import { formatCount, formatLength } from "./format.js";

const LONGEST = 150;

/** @param {import("./slide_view.js").SlideView} view */
export function scaleBar(view) {
  const bar = element("span", { class: "bar" });
  const words = element("span");
  const node = element("div", { class: "scale-bar", hidden: true }, words, bar);
  view.osd.addHandler("update-viewport", () => {
    node.hidden = !view.slide;
    if (!view.slide) return;
    const perPixel = (view.slide.mpp ?? 1) / view.frame().scale;
    const length = roundBelow(LONGEST * perPixel);
    bar.style.width = `${length / perPixel}px`;
    words.textContent = view.slide.mpp ? formatLength(length) : `${formatCount(length)} px`;
  });
  return node;
}

/**
 * Largest of 1, 2 and 5 times a power of ten that is at most `value`.
 * @param {number} value
 */
export function roundBelow(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [5, 2, 1].find((one) => one * power <= value) ?? 1;
  return step * power;
}
