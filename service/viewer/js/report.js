/** Report of a job on one page, to print. */

import { parse } from "./address.js";
import * as api from "./api.js";
import { readCoarse } from "./coarse_labels.js";
import { defaults, layerStyle } from "./display.js";
import { element, icon } from "./dom.js";
import { cardFacts, pairs, provenanceFacts } from "./facts.js";
import { formatArea, formatBytes, formatCount, formatLength, formatPercent } from "./format.js";
import { paintTile } from "./label_paint.js";
import { colourOf } from "./palette.js";
import { roundBelow } from "./scale_bar.js";
import { warningsOf } from "./warnings.js";

const PICTURE_PX = 1024;
const host = /** @type {HTMLElement} */ (document.getElementById("report"));
const settings = { ...defaults(), ...parse(location.hash).display };

/** Read the job whose report the address names, and write the page. */
async function start() {
  const id = location.pathname.split("/")[2];
  try {
    const job = await api.getJob(id);
    const [result, info, models, health, slide] = await Promise.all([
      api.getResult(id),
      api.getLabelTiles(id),
      api.listModels().catch(() => null),
      fetch("/healthz").then((answer) => answer.json()),
      api.getSlide(job.slide.id).catch(() => null),
    ]);
    host.append(...page({ job, result, info, models, slide, version: health.version }));
    await drawPicture(id, info, result);
    document.title = `Report on ${job.slide.name} - darefine`;
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    host.append(
      element(
        "p",
        { class: "problem", role: "alert" },
        icon("alert"),
        `There is no report. ${error.message}`,
      ),
    );
  }
  host.removeAttribute("aria-busy");
}

/** @param {{job: any, result: any, info: any, models: any, slide: any, version: string}} facts */
function page({ job, result, info, models, slide, version }) {
  const card = models?.models.find(({ name }) => name === job.model);
  return [
    head(job),
    warnings(warningsOf(job, result, models)),
    element(
      "div",
      { class: "middle" },
      element(
        "figure",
        {},
        element("canvas", {
          id: "picture",
          role: "img",
          "aria-label": `Slide ${job.slide.name} with its labels`,
        }),
        element("figcaption", { id: "picture-scale" }),
      ),
      element("section", {}, element("h2", {}, "Classes"), classTable(result.classes), totals(result)),
    ),
    element(
      "div",
      { class: "columns" },
      section("Slide", slideFacts(job, result, slide)),
      section("Parameters and provenance", provenanceFacts(result)),
      section("Model", {
        Name: `${job.model}`,
        Title: card?.title,
        ...(card ? cardFacts(card) : {}),
        "Meant for": card?.intended_use,
      }),
      section("Job and files", jobFacts(job, result, info, version)),
    ),
  ];
}

/** @param {any} job */
function head({ slide, model, finished_at: finished }) {
  return element(
    "header",
    {},
    element(
      "div",
      {},
      element("p", { class: "kind" }, "Segmentation report"),
      element("h1", {}, slide.name),
      element("p", {}, `${model} · ${new Date(finished).toLocaleString()}`),
    ),
    element(
      "div",
      { class: "side" },
      element("p", { class: "notice" }, "Research use only, not for diagnosis"),
      element("button", { type: "button", class: "primary", onclick: () => window.print() }, "Print"),
    ),
  );
}

/** @param {string[]} list */
function warnings(list) {
  return element(
    "ul",
    { class: "warnings", "aria-label": "Warnings", hidden: list.length === 0 },
    list.map((words) => element("li", {}, icon("alert"), words)),
  );
}

/** @param {any[]} classes */
function classTable(classes) {
  const most = Math.max(...classes.map(({ fraction }) => fraction), 1e-9);
  const row = (one) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, swatch(one), one.name),
      element("td", { class: "number" }, formatArea(one.area_mm2)),
      element("td", { class: "number" }, formatPercent(one.fraction)),
      element(
        "td",
        { class: "chart", "aria-hidden": "true" },
        element("span", {
          style: {
            width: `${(100 * one.fraction) / most}%`,
            "background-color": colourOf(one, settings.palette, {}),
          },
        }),
      ),
    );
  return element(
    "table",
    {},
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        ["Class", "mm²", "of tissue", "\u00a0"].map((title, index) =>
          element("th", { scope: "col", class: index && index < 3 ? "number" : null }, title),
        ),
      ),
    ),
    element("tbody", {}, classes.map(row)),
  );
}

/** @param {any} one class */
function swatch(one) {
  return element("i", {
    class: "swatch",
    style: { "background-color": colourOf(one, settings.palette, {}) },
  });
}

/** @param {any} result */
function totals({ classes, patches }) {
  const area = classes.reduce((sum, { area_mm2: one }) => sum + one, 0);
  return element(
    "p",
    { class: "hint" },
    `Analysed tissue: ${formatArea(area)} mm² in ${patches} patches. Glass is left out of the percentages.`,
  );
}

/**
 * @param {string} title
 * @param {Record<string, any>} facts
 */
function section(title, facts) {
  return element("section", {}, element("h2", {}, title), element("dl", { class: "facts" }, pairs(facts)));
}

/**
 * @param {any} job
 * @param {any} result
 * @param {any} slide null when it was deleted since
 */
function slideFacts(job, { slide: { width, height, vendor } }, slide) {
  return {
    Name: job.slide.name,
    Size: `${formatCount(width)} × ${formatCount(height)} px`,
    Format: vendor,
    File: slide ? formatBytes(slide.bytes) : "deleted since",
    sha256: slide?.sha256,
  };
}

/**
 * @param {any} job
 * @param {any} result
 * @param {any} info
 * @param {string} version
 */
function jobFacts(job, { files, stage_seconds: seconds }, info, version) {
  const hashes = Object.entries(files).map(([name, { sha256, bytes }]) => [
    name,
    `${formatBytes(bytes)}, sha256 ${sha256}`,
  ]);
  return {
    Job: job.id,
    Finished: job.finished_at,
    "Label map": `${formatCount(info.width)} × ${formatCount(info.height)} px`,
    Seconds: ["plan", "segment", "pyramid"]
      .filter((stage) => stage in seconds)
      .map((stage) => `${stage} ${seconds[stage]}`)
      .join(", "),
    ...Object.fromEntries(hashes),
    Service: `darefine ${version}`,
    Address: location.origin + location.pathname,
  };
}

/**
 * Draw the slide with its labels, and say its scale.
 * @param {string} id
 * @param {any} info
 * @param {any} result
 */
async function drawPicture(id, info, result) {
  const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("picture"));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { width, height } = result.slide;
  const scale = PICTURE_PX / Math.max(width, height);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const [picture, coarse] = await Promise.all([
    slidePicture(info.slide_id),
    readCoarse(id, info, PICTURE_PX),
  ]);
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const size = { width: coarse.width, height: coarse.height };
  const painted = paintTile(coarse.labels, coarse.width, size, layerStyle(info.classes, settings));
  context.globalAlpha = picture ? settings.opacity : 1;
  context.drawImage(painted, 0, 0, coarse.width * coarse.scale * scale, coarse.height * coarse.scale * scale);
  drawScale(context, canvas, result.mpp.slide / scale);
}

/**
 * @param {string} slideId
 * @returns {Promise<HTMLImageElement | null>} null where the slide is gone
 */
function slidePicture(slideId) {
  const picture = new Image();
  return new Promise((resolve) => {
    picture.addEventListener("load", () => resolve(picture));
    picture.addEventListener("error", () => resolve(null));
    picture.src = api.thumbnailUrl(slideId, PICTURE_PX);
  });
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLCanvasElement} canvas
 * @param {number} umPerPixel
 */
function drawScale(context, canvas, umPerPixel) {
  const length = roundBelow((canvas.width / 4) * umPerPixel);
  const bar = length / umPerPixel;
  context.globalAlpha = 1;
  context.fillStyle = "#fff";
  context.fillRect(14, canvas.height - 30, bar + 12, 18);
  context.fillStyle = "#16212b";
  context.fillRect(20, canvas.height - 24, bar, 6);
  /** @type {HTMLElement} */ (document.getElementById("picture-scale")).textContent =
    `Labels at ${Math.round(100 * settings.opacity)} % over the slide; the bar is ${formatLength(length)}.`;
}

start();
