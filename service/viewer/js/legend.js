/** Legend: the classes with their colours and areas, and how labels are shown. */

import { change, display, showAlone, toggleClass } from "./display.js";
import { element } from "./dom.js";
import { formatArea, formatPercent } from "./format.js";
import { heatScale } from "./heat.js";
import { colourOf } from "./palette.js";
import { grid, job, result } from "./session.js";

/**
 * Build the legend of the open job.
 * @param {(value: number) => void} onChoose called when the name of a class is clicked
 */
export function legend(onChoose) {
  const body = element("tbody");
  const table = element(
    "table",
    { class: "classes" },
    element("caption", { class: "unseen" }, "Classes of the label map"),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("th", { scope: "col" }, element("span", { class: "unseen" }, "Shown")),
        element("th", { scope: "col" }, element("span", { class: "unseen" }, "Colour")),
        element("th", { scope: "col" }, "Class"),
        element("th", { scope: "col", class: "number" }, "mm²"),
        element("th", { scope: "col", class: "number" }, "Tissue"),
      ),
    ),
    body,
  );
  const panel = element(
    "section",
    { class: "panel legend", "aria-labelledby": "legend-title" },
    element("h3", { id: "legend-title" }, "Classes"),
    table,
    controls(),
  );
  let shown = "";
  const draw = () => {
    panel.hidden = !grid.value;
    if (!grid.value) return;
    const facts = JSON.stringify([grid.value.classes, result.value?.classes]);
    if (facts !== shown) body.replaceChildren(...grid.value.classes.map((one) => row(one, onChoose)));
    shown = facts;
    update(body);
  };
  [grid, result, display, job].forEach((signal) => signal.watch(draw));
  return panel;
}

/**
 * @param {import("./palette.js").LabelClass} one
 * @param {(value: number) => void} onChoose
 */
function row(one, onChoose) {
  const area = result.value?.classes.find(({ value }) => value === one.value);
  return element(
    "tr",
    { "data-value": one.value },
    element(
      "td",
      {},
      element("input", {
        type: "checkbox",
        "aria-label": `Show ${one.name}`,
        title: `Show ${one.name} (key ${one.value}); double click: alone`,
        onchange: () => toggleClass(one.value),
        ondblclick: () => showAlone(one.value, grid.value.classes),
      }),
    ),
    element(
      "td",
      {},
      element("input", {
        type: "color",
        "aria-label": `Colour of ${one.name}`,
        title: `Colour of ${one.name}`,
        oninput: (event) => change({ own: { ...display.value.own, [one.value]: event.target.value } }),
      }),
    ),
    element(
      "th",
      { scope: "row" },
      element(
        "button",
        {
          type: "button",
          class: "class-name",
          title: `Go to the largest regions of ${one.name}`,
          onclick: () => onChoose(one.value),
        },
        one.name,
      ),
      element(
        "span",
        { class: "share", "aria-hidden": "true" },
        element("span", { style: { width: `${100 * (area?.fraction ?? 0)}%` } }),
      ),
    ),
    element("td", { class: "number" }, area ? formatArea(area.area_mm2) : "–"),
    element("td", { class: "number" }, area ? formatPercent(area.fraction) : "–"),
  );
}

/** @param {HTMLElement} body */
function update(body) {
  const { palette, own, hidden } = display.value;
  for (const one of grid.value.classes) {
    const line = /** @type {HTMLElement} */ (body.querySelector(`[data-value="${one.value}"]`));
    const [shown, colour] = line.querySelectorAll("input");
    shown.checked = !hidden.has(one.value);
    colour.value = colourOf(one, palette, own);
    line.classList.toggle("off", hidden.has(one.value));
    const share = /** @type {HTMLElement} */ (line.querySelector(".share span"));
    share.style.backgroundColor = colour.value;
  }
}

function controls() {
  const opacity = element("input", {
    type: "range",
    id: "opacity",
    min: 0,
    max: 100,
    step: 1,
    oninput: () => change({ opacity: Number(opacity.value) / 100 }),
  });
  const percent = element("output", { for: "opacity", class: "number" });
  const outline = element("input", {
    type: "checkbox",
    id: "outline",
    onchange: () => change({ outline: outline.checked }),
  });
  const heat = element("input", {
    type: "checkbox",
    id: "heat",
    onchange: () => change({ heat: heat.checked }),
  });
  const heatLabel = element("label", { hidden: true }, heat, "Probability");
  grid.watch((now) => (heatLabel.hidden = !now?.probabilities));
  const shown = element("input", {
    type: "checkbox",
    id: "labels-shown",
    onchange: () => change({ shown: shown.checked }),
  });
  const palette = element(
    "select",
    { id: "palette", onchange: () => change({ palette: palette.value, own: {} }) },
    element("option", { value: "safe" }, "Safe for colour blindness"),
    element("option", { value: "card" }, "The model card's"),
  );
  display.watch((now) => {
    opacity.value = String(Math.round(100 * now.opacity));
    percent.textContent = `${opacity.value} %`;
    outline.checked = now.outline;
    heat.checked = now.heat;
    shown.checked = now.shown;
    palette.value = now.palette;
  });
  return element(
    "div",
    { class: "controls" },
    element("label", { for: "opacity" }, "Opacity"),
    opacity,
    percent,
    element("label", { for: "palette" }, "Colours"),
    element("span", { class: "wide" }, palette),
    element("span", {}, "Show"),
    element(
      "span",
      { class: "wide checks" },
      element("label", {}, shown, "Labels"),
      element("label", {}, outline, "Outlines only"),
      heatLabel,
    ),
    heatScale(),
  );
}
