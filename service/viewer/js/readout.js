/** Line that says where the pointer (or the middle of the view) is and which class is there. */

import { display } from "./display.js";
import { element } from "./dom.js";
import { formatCount } from "./format.js";
import { colourOf } from "./palette.js";
import { grid } from "./session.js";

/**
 * Build the line.
 * @param {import("./slide_view.js").SlideView} view
 * @param {import("./label_layer.js").LabelLayer[]} layers those whose class is said, where they have tiles
 */
export function readout(view, layers) {
  const place = element("span", { class: "number" });
  const label = element("span", { class: "label" });
  const zoom = element("span", { class: "number zoom" });
  const node = element("div", { class: "readout", hidden: true }, place, label, zoom);
  /** @type {{clientX: number, clientY: number} | null} */
  let pointer = null;
  const draw = () => {
    node.hidden = !view.slide;
    if (!view.slide) return;
    const at = pointer ? view.placeOf(pointer) : view.position();
    place.textContent = `${pointer ? "" : "middle "}${placeWords(at, view.slide.mpp)}`;
    label.replaceChildren(...layers.filter(({ tiles }) => tiles).map((layer) => classMark(layer.valueAt(at))));
    zoom.textContent = zoomWords(view.position().zoom, view.slide.mpp);
  };
  view.host.addEventListener("pointermove", (event) => {
    pointer = event;
    draw();
  });
  view.host.addEventListener("pointerleave", () => {
    pointer = null;
    draw();
  });
  view.osd.addHandler("update-viewport", draw);
  display.watch(draw);
  return { node, draw };
}

/**
 * @param {{x: number, y: number}} at level-0 px
 * @param {number | null} mpp
 */
function placeWords({ x, y }, mpp) {
  const [unit, scale] = mpp ? ["µm", mpp] : ["px", 1];
  return `x ${formatCount(x * scale)}  y ${formatCount(y * scale)} ${unit}`;
}

/**
 * Zoom as that of a microscope's objective, where 40x is 0.25 um a screen px.
 * @param {number} zoom screen px a level-0 px
 * @param {number | null} mpp
 */
function zoomWords(zoom, mpp) {
  if (!mpp) return `${(100 * zoom).toPrecision(2)} %`;
  const times = (10 / mpp) * zoom;
  return `${times >= 10 ? Math.round(times) : times.toPrecision(2)}×`;
}

/** @param {number | null} value */
function classMark(value) {
  if (value === null) return element("span", { class: "class-mark" }, "…");
  const found = grid.value?.classes.find((one) => one.value === value);
  if (!found) return element("span", { class: "class-mark none" }, "not analysed");
  const { palette, own } = display.value;
  return element("span", { class: "class-mark" }, element("i", { style: { "background-color": colourOf(found, palette, own) } }), found.name);
}
