/** How labels are shown: opacity, colours, hidden classes, outlines. */

import { colourOf, pixelTable } from "./palette.js";
import { Signal } from "./signal.js";

/**
 * @typedef {object} Display
 * @property {boolean} shown whether labels are shown at all
 * @property {number} opacity 0..1
 * @property {boolean} outline
 * @property {boolean} heat whether probabilities are shown instead of classes, where the job keeps them
 * @property {import("./palette.js").PaletteName} palette
 * @property {Record<number, string>} own colours that the reader chose, by value
 * @property {Set<number>} hidden values
 */

/** @returns {Display} */
export const defaults = () => ({
  shown: true,
  opacity: 0.55,
  outline: false,
  heat: false,
  palette: "safe",
  own: {},
  hidden: new Set(),
});

/** @type {Signal<Display>} */
export const display = new Signal(defaults());

/** @param {Partial<Display>} changes */
export function change(changes) {
  display.value = { ...display.value, ...changes };
}

/**
 * Show or hide a class.
 * @param {number} value
 */
export function toggleClass(value) {
  const hidden = new Set(display.value.hidden);
  if (!hidden.delete(value)) hidden.add(value);
  change({ hidden });
}

/**
 * Show one class alone, or all again if it is alone already.
 * @param {number} value
 * @param {import("./palette.js").LabelClass[]} classes
 */
export function showAlone(value, classes) {
  const others = classes.map((one) => one.value).filter((one) => one !== value);
  const { hidden } = display.value;
  const alone = !hidden.has(value) && others.every((one) => hidden.has(one));
  change({ hidden: new Set(alone ? [] : others) });
}

/**
 * Colours of the classes that are shown, by label value.
 * @param {import("./palette.js").LabelClass[]} classes
 * @param {Display} settings
 */
export function shownColours(classes, { palette, own, hidden }) {
  return new Map(
    classes.filter(({ value }) => !hidden.has(value)).map((one) => [one.value, colourOf(one, palette, own)]),
  );
}

/**
 * Style of a label layer.
 * @param {import("./palette.js").LabelClass[]} classes
 * @param {Display} settings
 */
export function layerStyle(classes, settings) {
  return { table: pixelTable(shownColours(classes, settings)), outline: settings.outline };
}

/** @param {Display} settings */
export const layerOpacity = ({ shown, opacity }) => (shown ? opacity : 0);
