/** Panels with facts: the open slide, the model card, the result's files, parameters and provenance. */

import { write } from "./address.js";
import { ApiError, PREFIX, deleteSlide } from "./api.js";
import { display } from "./display.js";
import { element, icon } from "./dom.js";
import { formatBytes, formatCount } from "./format.js";
import { say } from "./messages.js";
import { closeAll, job, models, refreshLists, result, slide } from "./session.js";

const FILES = {
  overlay: ["Overlay", "palette TIFF pyramid, for people"],
  labels: ["Labels", "grey TIFF pyramid, for programs"],
  regions: ["Regions", "polygons, for QuPath"],
  probabilities: ["Probabilities", "grey TIFF pyramid, 255 is certain"],
  preview: ["Preview", "picture with legend"],
  dicom_seg: ["DICOM SEG", "label map beside a DICOM slide"],
  ome_zarr: ["OME-Zarr", "labels, zipped"],
  result: ["Result", "areas, parameters, times"],
};

/** Build the panel of downloads of the open job. */
export function downloads() {
  const list = element("ul", { class: "downloads" });
  const panel = element(
    "section",
    { class: "panel", "aria-labelledby": "downloads-title" },
    element("h3", { id: "downloads-title" }, "Result"),
    list,
  );
  const draw = () => {
    const done = job.value?.state === "succeeded";
    panel.hidden = !done;
    if (done)
      list.replaceChildren(
        reportLink(job.value.id),
        ...Object.entries(job.value.links).filter(isFile).map(download),
      );
  };
  [job, result].forEach((signal) => signal.watch(draw));
  return panel;
}

/** @param {[string, string]} link name and address */
const isFile = ([name, href]) => name in FILES || /\.\w+$/.test(href);

/** @param {string} id */
function reportLink(id) {
  const link = element(
    "a",
    { target: "_blank", rel: "noopener" },
    icon("print"),
    element("span", {}, "Report", element("small", {}, "one page to print")),
  );
  const colours = () =>
    write({ job: null, slide: null, position: null, display: display.value, with: null, mode: null });
  const address = () => (link.href = `/jobs/${id}/report${colours()}`);
  address();
  // Just before it is followed: the report has the colours of the moment.
  ["pointerdown", "focus"].forEach((event) => link.addEventListener(event, address));
  return element("li", {}, link);
}

/** @param {[string, string]} link name and address */
function download([name, href]) {
  const [title, about] = FILES[name] ?? [name, href.split("/").at(-1)];
  const bytes = result.value?.files?.[href.split("/").at(-1) ?? ""]?.bytes;
  return element(
    "li",
    {},
    element(
      "a",
      { href, download: name === "result" ? `${job.value.id}.json` : true },
      icon("download"),
      element("span", {}, title, element("small", {}, bytes ? `${about} · ${formatBytes(bytes)}` : about)),
    ),
  );
}

/** Build the panel of facts about the open slide. */
export function slideFacts() {
  const list = element("dl", { class: "facts" });
  const title = element("h2");
  const remove = element(
    "button",
    { type: "button", class: "small-button", onclick: removeSlide },
    "Delete the slide",
  );
  const actions = element("div", { class: "actions" }, remove);
  const panel = element("section", { class: "panel", "aria-label": "Slide" }, title, list, actions);
  const draw = () => {
    const open = slide.value;
    panel.hidden = !open || Boolean(job.value);
    if (!open) return;
    title.textContent = open.name;
    list.replaceChildren(
      ...pairs({
        Size: `${formatCount(open.width)} × ${formatCount(open.height)} px`,
        "Pixel size": open.mpp ? `${open.mpp.toFixed(4)} µm (${open.mpp_source})` : "not in the file",
        Objective: open.objective_power ? `${open.objective_power}×` : null,
        Format: open.vendor,
        File: formatBytes(open.bytes),
      }),
    );
  };
  [slide, job].forEach((signal) => signal.watch(draw));
  return panel;
}

/** Delete the open slide, if the reader is sure. */
async function removeSlide() {
  const { id, name } = slide.value;
  if (!window.confirm(`Delete the slide ${name}? Results of its jobs stay.`)) return;
  try {
    await deleteSlide(id);
    closeAll();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message);
  }
  refreshLists();
}

/** Build the panel of the model card. */
export function modelCard() {
  const body = element("div");
  const panel = folded("Model card", body);
  const draw = () => {
    const card = models.value?.models.find(({ name }) => name === job.value?.model);
    panel.hidden = !card;
    if (!card) return;
    body.replaceChildren(
      element("p", {}, card.title),
      element("p", { class: "hint" }, card.description),
      element("p", { class: "hint" }, element("strong", {}, "Meant for: "), card.intended_use),
      element("dl", { class: "facts" }, ...pairs(cardFacts(card))),
      element(
        "p",
        { class: "hint" },
        element(
          "a",
          { href: `${PREFIX}/models`, target: "_blank", rel: "noopener" },
          "All of the card, as JSON",
        ),
      ),
    );
  };
  [models, job].forEach((signal) => signal.watch(draw));
  return panel;
}

/**
 * Facts of a model card, by title.
 * @param {any} card
 * @returns {Record<string, string | null>}
 */
export function cardFacts({ version, input, network, training, metrics, weights, licence }) {
  const depth = network?.architecture === "da_refinenet" && `ResNet-${network.encoder_depth}`;
  return {
    Version: version,
    Network: network && [network.architecture, depth, network.second_input].filter(Boolean).join(", "),
    "Reads at": input && `${input.mpp} µm/px`,
    "Trained on": training?.source ?? null,
    "Held-out MIoU": metrics?.miou?.toFixed(3) ?? null,
    Licence: licence || null,
    Weights: weights && `sha256 ${weights.sha256.slice(0, 16)}…`,
  };
}

/** Build the panel of parameters and provenance. */
export function provenance() {
  const list = element("dl", { class: "facts" });
  const panel = folded("Parameters and provenance", list);
  result.watch((found) => {
    panel.hidden = !found;
    if (found) list.replaceChildren(...pairs(provenanceFacts(found)));
  });
  return panel;
}

/**
 * What made a result, by title.
 * @param {any} found answer of GET /v1/jobs/{id}/result
 * @returns {Record<string, string | null>}
 */
export function provenanceFacts({
  model,
  mpp,
  parameters,
  software,
  device,
  dtype,
  megapixels,
  megapixels_per_second: speed,
}) {
  return {
    Model: `${model.name} ${model.version}, sha256 ${model.sha256.slice(0, 16)}…`,
    "Pixel size": `${mpp.slide} µm (${mpp.source ?? "request"})`,
    "Label pixel": `${Number(mpp.label.toFixed(4))} µm${mpp.resampled ? ", resampled" : ""}`,
    Halo: `${parameters.halo_px} label px`,
    Tissue: parameters.tissue ? "glass left out" : "every pixel labelled",
    Computed: `${dtype} on ${device}`,
    Analysed: speed
      ? `${Math.round(megapixels)} MP at ${speed.toFixed(1)} MP/s`
      : `${Math.round(megapixels)} MP`,
    Software:
      typeof software === "string"
        ? software
        : Object.entries(software ?? {})
            .map(([name, version]) => `${name} ${version}`)
            .join(", "),
  };
}

/**
 * Terms and descriptions of a list; those without a value are left out.
 * @param {Record<string, string | null | undefined>} facts
 */
export function pairs(facts) {
  return Object.entries(facts)
    .filter(([, value]) => value)
    .map(([title, value]) => element("div", {}, element("dt", {}, title), element("dd", {}, value)));
}

/**
 * @param {string} title
 * @param {HTMLElement} body
 */
function folded(title, body) {
  return element("details", { class: "panel" }, element("summary", {}, title), body);
}
