/** Keep what is looked at in the page's address, and restore it from there. */

/**
 * @typedef {object} Place
 * @property {string | null} job
 * @property {string | null} slide for a slide without a job
 * @property {import("./slide_view.js").Position | null} position
 * @property {Partial<import("./display.js").Display>} display
 * @property {string | null} with another job to compare with
 * @property {string | null} mode of comparing
 */

/**
 * Read an address; what it does not say, or not sensibly, is left out.
 * @param {string} hash with or without #
 * @returns {Place}
 */
export function parse(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name) =>
    given.has(name) && Number.isFinite(Number(given.get(name))) ? Number(given.get(name)) : null;
  const [x, y, zoom, opacity] = ["x", "y", "zoom", "opacity"].map(number);
  /** @type {Partial<import("./display.js").Display>} */
  const display = {};
  if (opacity !== null) display.opacity = Math.min(1, Math.max(0, opacity / 100));
  if (given.has("hide")) display.hidden = new Set(given.get("hide")?.split(".").map(Number).filter(Boolean));
  if (given.get("outline") === "1") display.outline = true;
  if (given.get("heat") === "1") display.heat = true;
  if (given.get("labels") === "0") display.shown = false;
  if (given.get("palette") === "card") display.palette = "card";
  return {
    job: given.get("job"),
    slide: given.get("slide"),
    position: x !== null && y !== null && zoom ? { x, y, zoom } : null,
    display,
    with: given.get("with"),
    mode: given.get("mode"),
  };
}

/**
 * Return the address of a place, the reverse of `parse`; what is as usual is left out.
 * @param {Omit<Place, "display"> & {display: import("./display.js").Display}} place
 */
export function write(place) {
  const { job, slide, position, display } = place;
  const parts = new URLSearchParams();
  if (job) parts.set("job", job);
  else if (slide) parts.set("slide", slide);
  if (position) {
    parts.set("x", String(Math.round(position.x)));
    parts.set("y", String(Math.round(position.y)));
    parts.set("zoom", String(Number(position.zoom.toPrecision(4))));
  }
  parts.set("opacity", String(Math.round(100 * display.opacity)));
  if (display.hidden.size) parts.set("hide", [...display.hidden].sort((a, b) => a - b).join("."));
  if (display.outline) parts.set("outline", "1");
  if (display.heat) parts.set("heat", "1");
  if (!display.shown) parts.set("labels", "0");
  if (display.palette !== "safe") parts.set("palette", display.palette);
  if (place.with) parts.set("with", place.with);
  if (place.with && place.mode) parts.set("mode", place.mode);
  return `#${parts}`;
}
