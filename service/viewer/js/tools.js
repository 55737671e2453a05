/** Tools over the slide, and the keys that do the same. */

import { other, stepMode } from "./compare.js";
import { change, display, showAlone, toggleClass } from "./display.js";
import { element, iconButton } from "./dom.js";
import { addKeys } from "./keys.js";
import { measuring } from "./measure.js";
import { grid, job, jobs, openJob } from "./session.js";

const STEP = 0.2;
const ZOOM = 1.5;

/** @param {import("./slide_view.js").SlideView} view */
export function toolbar(view) {
  const when = (action) => () => view.slide && action();
  const outline = iconButton("outline", "Outlines only (O)", {
    onclick: () => change({ outline: !display.value.outline }),
  });
  const labels = iconButton("labels", "Labels on or off (L)", {
    onclick: () => change({ shown: !display.value.shown }),
  });
  const measure = iconButton("measure", "Measure a distance (M)", {
    onclick: () => (measuring.value = !measuring.value),
  });
  const compare = iconButton("compare", "Compare with another result (C)", { onclick: stepMode });
  measuring.watch((on) => measure.setAttribute("aria-pressed", String(on)));
  other.watch((now) => compare.setAttribute("aria-pressed", String(Boolean(now))));
  display.watch((now) => {
    outline.setAttribute("aria-pressed", String(now.outline));
    labels.setAttribute("aria-pressed", String(now.shown));
  });
  return element(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "View", "aria-orientation": "vertical" },
    iconButton("plus", "Zoom in (+)", { onclick: when(() => view.zoomBy(ZOOM)) }),
    iconButton("minus", "Zoom out (-)", { onclick: when(() => view.zoomBy(1 / ZOOM)) }),
    iconButton("fit", "All of the slide (0)", { onclick: when(() => view.fit()) }),
    iconButton("actual", "One slide pixel a screen pixel (Z)", { onclick: when(() => view.zoomToActual()) }),
    element("hr"),
    labels,
    outline,
    element("hr"),
    measure,
    compare,
  );
}

/**
 * Add the keys of the view.
 * @param {import("./slide_view.js").SlideView} view
 * @param {() => void} mark sets the next point of a measurement in the middle of the view
 */
export function viewKeys(view, mark) {
  const key = (keys, words, group, run, shown = "") => ({
    keys,
    words,
    group,
    shown,
    run: (event) => view.slide && run(event),
  });
  const pan = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  addKeys([
    key(
      Object.keys(pan),
      "Move",
      "View",
      ({ key: name }) => view.panBy(pan[name][0], pan[name][1]),
      "← → ↑ ↓",
    ),
    key(["+", "="], "Zoom in", "View", () => view.zoomBy(ZOOM), "+"),
    key(["-", "_"], "Zoom out", "View", () => view.zoomBy(1 / ZOOM), "-"),
    key(["0"], "All of the slide", "View", () => view.fit()),
    key(["z"], "One slide pixel a screen pixel", "View", () => view.zoomToActual()),
    key(
      ["m"],
      "Measure a distance: move, Enter, move, Enter",
      "Tools",
      () => (measuring.value = !measuring.value),
    ),
    key(["Enter"], "Next point of the measurement", "Tools", () => measuring.value && mark()),
    key(["c"], "Compare: swipe, side by side, differences, off", "Tools", stepMode),
    key(["Escape"], "Put the tool away", "Tools", () => (measuring.value = false), "Esc"),
    key(["l"], "Labels on or off", "Labels", () => change({ shown: !display.value.shown })),
    key(["o"], "Outlines only", "Labels", () => change({ outline: !display.value.outline })),
    key(["h"], "Heat map of probabilities on or off", "Labels", () => change({ heat: !display.value.heat })),
    key(["["], "Fainter", "Labels", () => changeOpacity(-0.1)),
    key(["]"], "Stronger", "Labels", () => changeOpacity(0.1)),
    key(["1..9"], "Class on or off; with Shift: alone", "Labels", pickClass, "1 … 9"),
    { keys: ["j"], words: "Next job", group: "Page", run: () => stepJob(1) },
    { keys: ["k"], words: "Previous job", group: "Page", run: () => stepJob(-1) },
  ]);
}

/** @param {number} step */
function changeOpacity(step) {
  change({ opacity: Math.min(1, Math.max(0, Math.round(10 * (display.value.opacity + step)) / 10)) });
}

/** @param {KeyboardEvent} event */
function pickClass(event) {
  const classes = grid.value?.classes ?? [];
  const value = Number(event.code.slice(-1));
  if (!classes.some((one) => one.value === value)) return;
  if (event.shiftKey) showAlone(value, classes);
  else toggleClass(value);
}

/** @param {number} step */
function stepJob(step) {
  const list = jobs.value ?? [];
  const now = list.findIndex(({ id }) => id === job.value?.id);
  const next = list[now < 0 ? 0 : now + step];
  if (next) openJob(next.id);
}
