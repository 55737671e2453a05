/** Compare the open job with another on the same slide: what is compared and how, and the panel that says it. */

import { ApiError, getJob, getLabelTiles } from "./api.js";
import { readCoarse } from "./coarse_labels.js";
import { countPairs, mappingOf, sameGrid } from "./difference_tiles.js";
import { element } from "./dom.js";
import { formatPercent, formatTime } from "./format.js";
import { LabelTiles } from "./label_tiles.js";
import { say } from "./messages.js";
import { DIFFERENT } from "./palette.js";
import { grid, job, jobs, stage } from "./session.js";
import { Signal } from "./signal.js";

/** @typedef {"swipe" | "side" | "difference"} Mode */
/** @type {{name: Mode, words: string}[]} */
export const MODES = [
  { name: "swipe", words: "Swipe" },
  { name: "side", words: "Side by side" },
  { name: "difference", words: "Differences" },
];

const COARSE_PX = 1024;
const LISTED = 5;

/** @typedef {{job: any, info: any, tiles: LabelTiles}} Result */
/** The other result. */
export const other = new Signal(/** @type {Result | null} */ (null));
export const mode = new Signal(/** @type {Mode} */ ("swipe"));

/**
 * Compare the open job with another.
 * @param {string} id
 */
export async function compareWith(id) {
  const opened = job.value?.id;
  try {
    const [found, info] = await Promise.all([getJob(id), getLabelTiles(id)]);
    if (opened !== job.value?.id) return;
    if (found.slide.id !== job.value.slide.id) throw new ApiError(0, "That job is on another slide.");
    if (mode.value === "difference" && grid.value && !sameGrid(grid.value, info)) mode.value = "swipe";
    stopComparing();
    other.value = { job: found, info, tiles: new LabelTiles(id, info, () => stage.redraw()) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message);
  }
}

/** Show the open job alone. */
export function stopComparing() {
  other.value?.tiles.close();
  if (other.value) other.value = null;
}

/** Go to the next way of comparing; with nothing to compare with, begin with the newest other job. */
export function stepMode() {
  const rest = candidates();
  if (!other.value) {
    if (rest.length) compareWith(rest[0].id);
    else say("There is no other finished job on this slide.");
    return;
  }
  const names = MODES.map(({ name }) => name);
  const next = names.indexOf(mode.value) + 1;
  if (next < names.length) mode.value = names[next];
  else {
    mode.value = "swipe";
    stopComparing();
  }
}

/** Other finished jobs on the slide. */
function candidates() {
  const open = job.value;
  return (jobs.value ?? []).filter(
    (one) => open && one.state === "succeeded" && one.slide.id === open.slide.id && one.id !== open.id,
  );
}

/** Build the panel. */
export function comparePanel() {
  const choice = element("select", {
    id: "compare-with",
    "aria-label": "Compare with",
    onchange: () => (choice.value ? compareWith(choice.value) : stopComparing()),
  });
  const ways = element(
    "div",
    { class: "ways", role: "radiogroup", "aria-label": "How to compare" },
    MODES.map(wayButton),
  );
  const facts = element("div", { class: "agreement", "aria-live": "polite" });
  const panel = element(
    "section",
    { class: "panel compare", "aria-labelledby": "compare-title" },
    element("h3", { id: "compare-title" }, "Compare"),
    choice,
    ways,
    facts,
  );
  const draw = () => {
    const rest = candidates();
    panel.hidden = job.value?.state !== "succeeded" || (!rest.length && !other.value);
    ways.hidden = !other.value;
    facts.hidden = !other.value;
    const options = rest.map((one) =>
      element("option", { value: one.id }, `${one.model}, ${formatTime(one.finished_at)}`),
    );
    choice.replaceChildren(element("option", { value: "" }, "With nothing"), ...options);
    choice.value = other.value?.job.id ?? "";
  };
  [job, jobs, other].forEach((signal) => signal.watch(draw));
  other.watch((now) => describe(now, facts));
  mode.watch((now) => facts.classList.toggle("coloured", now === "difference"));
  return panel;
}

/** @param {{name: Mode, words: string}} way */
function wayButton({ name, words }) {
  const input = element("input", {
    type: "radio",
    name: "way",
    value: name,
    onchange: () => (mode.value = name),
  });
  mode.watch((now) => (input.checked = now === name));
  const differs = name === "difference";
  if (differs)
    other.watch((now) => (input.disabled = Boolean(now && grid.value && !sameGrid(grid.value, now.info))));
  return element("label", {}, input, element("span", {}, words));
}

/**
 * Say how far the two agree.
 * @param {{job: any, info: any} | null} now
 * @param {HTMLElement} facts
 */
async function describe(now, facts) {
  facts.replaceChildren();
  if (!now || !grid.value) return;
  if (!sameGrid(grid.value, now.info)) {
    facts.append(
      element(
        "p",
        { class: "hint" },
        "The two have label pixels of different size, so their differences are not counted.",
      ),
    );
    return;
  }
  const [first, second] = await Promise.all([
    readCoarse(job.value.id, grid.value, COARSE_PX),
    readCoarse(now.job.id, now.info, COARSE_PX),
  ]);
  if (other.value !== now || !grid.value) return;
  const pairs = pairsOf(countPairs(first.labels, second.labels), grid.value.classes, now.info.classes);
  facts.append(...agreementOf(pairs, now.job.model));
}

/**
 * @param {Uint32Array} counts of countPairs
 * @param {import("./palette.js").LabelClass[]} first
 * @param {import("./palette.js").LabelClass[]} second
 */
function pairsOf(counts, first, second) {
  const mapping = mappingOf(first, second);
  return first.flatMap((one) =>
    second.map((two) => ({
      one: one.name,
      two: two.name,
      same: mapping[two.value] === one.value,
      pixels: counts[256 * one.value + two.value],
    })),
  );
}

/**
 * @param {{one: string, two: string, same: boolean, pixels: number}[]} pairs
 * @param {string} model the other one's
 */
function agreementOf(pairs, model) {
  const sum = (list) => list.reduce((total, { pixels }) => total + pixels, 0);
  const both = sum(pairs);
  if (!both) return [element("p", { class: "hint" }, "No tissue was labelled by both.")];
  const differing = pairs.filter(({ same, pixels }) => !same && pixels).sort((a, b) => b.pixels - a.pixels);
  const row = ({ one, two, pixels }) =>
    element(
      "tr",
      {},
      element("td", {}, one),
      element("td", {}, two),
      element("td", { class: "number" }, formatPercent(pixels / both)),
    );
  return [
    element(
      "p",
      {},
      element("strong", {}, formatPercent(sum(pairs.filter(({ same }) => same)) / both)),
      " of the tissue that both labelled has the same class.",
    ),
    element(
      "p",
      { class: "key hint" },
      element("i", { style: { "background-color": DIFFERENT } }),
      "Coloured: where the two differ",
    ),
    differing.length > 0 &&
      element(
        "table",
        { class: "pairs" },
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            element("th", { scope: "col" }, "here"),
            element("th", { scope: "col" }, model),
            element("th", { scope: "col", class: "number" }, "Tissue"),
          ),
        ),
        element("tbody", {}, differing.slice(0, LISTED).map(row)),
      ),
  ].filter(Boolean);
}
