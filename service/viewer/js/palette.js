/** Colours of classes: one for everybody's eyes by default, the model card's, or the reader's own. */

/**
 * Okabe and Ito's colours, which the common colour blindnesses tell apart, in an order in which the first few
 * stand out on haematoxylin and eosin.
 */
const SAFE = ["#56b4e9", "#009e73", "#f0e442", "#d55e00", "#0072b2", "#e69f00", "#000000", "#cc79a7"];

/** What is shown where two results differ. */
export const DIFFERENT = "#00a6c7";

/**
 * @typedef {{value: number, name: string, colour: number[]}} LabelClass
 * @typedef {"safe" | "card"} PaletteName
 */

/**
 * Return the colour of a class as #rrggbb.
 * @param {LabelClass} labelClass
 * @param {PaletteName} palette
 * @param {Record<number, string>} own colours that the reader chose, by value
 */
export function colourOf(labelClass, palette, own) {
  if (own[labelClass.value]) return own[labelClass.value];
  if (palette === "card") return hex(labelClass.colour);
  return SAFE[(labelClass.value - 1) % SAFE.length];
}

/**
 * @param {number[]} rgb 0..255
 */
function hex(rgb) {
  return `#${rgb.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * Return colour by label value as canvas pixels (little-endian RGBA); 0 is transparent.
 * @param {Map<number, string>} colours #rrggbb by value; values that are absent are transparent
 */
export function pixelTable(colours) {
  const table = new Uint32Array(256);
  for (const [value, colour] of colours) {
    const rgb = Number.parseInt(colour.slice(1), 16);
    table[value] = (0xff000000 | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
  }
  return table;
}
