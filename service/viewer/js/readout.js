/** Line that says where the pointer (or the middle of the view) is and which class is there. */

import { display } from "./display.js";
import { element } from "./dom.js";
import { formatCount } from "./format.js";
import { colourOf } from "./palette.js";

/**
 * Build the line.
 * @param {import("./slide_view.js").SlideView} view
 * @param {() => import("./label_tiles.js").LabelTiles[]} results those whose class is said
 * @param {(place: {x: number, y: number}) => string | null} probability words to add
 * @returns {{node: HTMLElement, draw: () => void, follow: (view: import("./slide_view.js").SlideView) => void}}
 *   `follow` heeds the pointer over a further view too
 */
export function readout(view, results, probability) {
  const place = element("span", { class: "number" });
  const label = element("span", { class: "label" });
  const zoom = element("span", { class: "number zoom" });
  const node = element("div", { class: "readout", hidden: true }, place, label, zoom);
  /** @type {{view: import("./slide_view.js").SlideView, event: PointerEvent} | null} */
  let pointer = null;
  const draw = () => {
    node.hidden = !view.slide;
    if (!view.slide) return;
    const at = pointer?.view.slide ? pointer.view.placeOf(pointer.event) : view.position();
    place.textContent = `${pointer ? "" : "middle "}${placeWords(at, view.slide.mpp)}`;
    const likely = probability(at);
    label.replaceChildren(
      ...results().map((tiles) => classMark(tiles.valueAt(at), tiles.info.classes)),
      ...(likely ? [element("span", { class: "number" }, likely)] : []),
    );
    zoom.textContent = zoomWords(view.position().zoom, view.slide.mpp);
  };
  const point = (now) => {
    pointer = now;
    draw();
  };
  const follow = (one) => {
    one.host.addEventListener("pointermove", (event) => point({ view: one, event }));
    one.host.addEventListener("pointerleave", () => point(null));
  };
  follow(view);
  view.osd.addHandler("update-viewport", draw);
  display.watch(draw);
  return { node, draw, follow };
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

/**
 * @param {number | null} value
 * @param {import("./palette.js").LabelClass[]} classes
 */
function classMark(value, classes) {
  if (value === null) return element("span", { class: "class-mark" }, "…");
  const found = classes.find((one) => one.value === value);
  if (!found) return element("span", { class: "class-mark none" }, "not analysed");
  const { palette, own } = display.value;
  return element(
    "span",
    { class: "class-mark" },
    element("i", { style: { "background-color": colourOf(found, palette, own) } }),
    found.name,
  );
}
