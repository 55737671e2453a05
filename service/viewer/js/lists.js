/** Lists of jobs and of slides, as two tabs. */

import { thumbnailUrl } from "./api.js";
import { element } from "./dom.js";
import { formatBytes, formatCount, formatDuration, formatTime } from "./format.js";
import { checked, toggleChecked } from "./run_form.js";
import { job, jobs, nextPage, openJob, openSlide, readOlderJobs, slide, slides } from "./session.js";
import { Signal } from "./signal.js";

export const STATE_WORDS = {
  queued: "Waiting",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** Which tab is open. */
export const tab = new Signal(/** @type {"jobs" | "slides"} */ ("jobs"));

/** Build the two lists under their tabs. */
export function lists() {
  const bodies = { jobs: element("ul", { class: "rows" }), slides: element("ul", { class: "rows" }) };
  const drawJobs = () =>
    fill(bodies.jobs, jobs.value, jobRow, "No jobs yet. Add a slide, then run a model on it.");
  const drawSlides = () =>
    fill(bodies.slides, slides.value, slideRow, "No slides yet. Drop some on this page.");
  const more = element(
    "button",
    { type: "button", class: "small-button more", onclick: readOlderJobs },
    "Older jobs",
  );
  nextPage.watch((next) => (more.hidden = next === null));
  jobs.watch(drawJobs);
  job.watch(drawJobs);
  slides.watch(drawSlides);
  slides.watch(drawJobs);
  slide.watch(drawSlides);
  checked.watch(drawSlides);
  return element(
    "section",
    { class: "lists", "aria-label": "Jobs and slides" },
    tabs(),
    tabPanel("jobs", bodies.jobs, more),
    tabPanel("slides", bodies.slides),
  );
}

function tabs() {
  const names = /** @type {const} */ (["jobs", "slides"]);
  const buttons = names.map((name) =>
    element(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${name}`,
        "aria-controls": `panel-${name}`,
        onclick: () => (tab.value = name),
        onkeydown: (event) => {
          if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
          event.stopPropagation();
          tab.value = name === "jobs" ? "slides" : "jobs";
          document.getElementById(`tab-${tab.value}`)?.focus();
        },
      },
      name === "jobs" ? "Jobs" : "Slides",
    ),
  );
  tab.watch((open) =>
    buttons.forEach((button, index) => {
      button.setAttribute("aria-selected", String(names[index] === open));
      button.tabIndex = names[index] === open ? 0 : -1;
    }),
  );
  return element("div", { class: "tabs", role: "tablist", "aria-label": "Lists" }, buttons);
}

/**
 * @param {string} name
 * @param {HTMLElement[]} content
 */
function tabPanel(name, ...content) {
  const panel = element(
    "div",
    {
      role: "tabpanel",
      id: `panel-${name}`,
      "aria-labelledby": `tab-${name}`,
      class: "tab-panel",
      tabindex: "-1",
    },
    content,
  );
  tab.watch((open) => (panel.hidden = open !== name));
  return panel;
}

/**
 * Fill a list, keeping the focus on the row that has it.
 * @param {HTMLElement} body
 * @param {any[] | null} items null while unknown
 * @param {(item: any) => HTMLElement} row
 * @param {string} none
 */
function fill(body, items, row, none) {
  const focused = document.activeElement;
  const key = body.contains(focused) ? focused?.getAttribute("data-key") : null;
  if (items === null) body.replaceChildren();
  else if (items.length === 0) body.replaceChildren(element("li", { class: "none" }, none));
  else body.replaceChildren(...items.map(row));
  if (key) /** @type {HTMLElement | null} */ (body.querySelector(`[data-key="${key}"]`))?.focus();
}

/** @param {any} item */
function jobRow(item) {
  const open = job.value?.id === item.id;
  const bar =
    item.state === "running" &&
    element("progress", { max: 1, value: item.progress.fraction, "aria-label": "Progress" });
  return element(
    "li",
    { class: `row job ${item.state}` },
    element(
      "button",
      {
        type: "button",
        class: "open",
        "data-key": `job-${item.id}`,
        "aria-current": open && "true",
        onclick: () => openJob(item.id),
      },
      picture(`job-${item.id}`, item.slide.id),
      element(
        "span",
        { class: "text" },
        element("span", { class: "name" }, item.slide.name),
        element("span", { class: "sub" }, item.model),
        element(
          "span",
          { class: "sub" },
          element("span", { class: `state ${item.state}` }, STATE_WORDS[item.state]),
          ` ${stateFacts(item)}`,
        ),
        bar,
        item.error && element("span", { class: "sub why" }, item.error.detail),
      ),
    ),
  );
}

/** @param {any} item */
function stateFacts({ state, progress, queue_position: before, finished_at: end, created_at: start }) {
  if (state === "queued") return before ? `after ${before} other${before > 1 ? "s" : ""}` : "is next";
  if (state === "running") {
    const left = progress.eta_s ? `, ${formatDuration(progress.eta_s)} left` : "";
    return `${Math.round(100 * progress.fraction)} %${left}`;
  }
  return formatTime(end ?? start);
}

/** @param {any} item */
function slideRow(item) {
  const open = slide.value?.id === item.id;
  return element(
    "li",
    { class: "row slide" },
    element("input", {
      type: "checkbox",
      class: "check",
      "aria-label": `Choose ${item.name} for a run`,
      "data-key": `check-${item.id}`,
      checked: checked.value.has(item.id),
      onchange: () => toggleChecked(item.id),
    }),
    element(
      "button",
      {
        type: "button",
        class: "open",
        "data-key": `slide-${item.id}`,
        "aria-current": open && "true",
        onclick: () => openSlide(item.id),
      },
      picture(`slide-${item.id}`, item.id),
      element(
        "span",
        { class: "text" },
        element("span", { class: "name" }, item.name),
        element("span", { class: "sub" }, `${formatCount(item.width)} × ${formatCount(item.height)} px`),
        element(
          "span",
          { class: "sub" },
          `${item.mpp ? `${item.mpp.toFixed(3)} µm/px` : "pixel size unknown"} · ${formatBytes(item.bytes)}`,
        ),
      ),
    ),
  );
}

/** Pictures by the row that shows them: a row that is drawn anew keeps its own, which would flicker. @type {Map<string, HTMLElement>} */
const pictures = new Map();

/**
 * @param {string} key of the row
 * @param {string} slideId
 */
function picture(key, slideId) {
  // Of a slide that was deleted there is no picture to ask for.
  if (!slides.value?.some(({ id }) => id === slideId)) return element("span", { class: "thumb" });
  const known = pictures.get(key);
  if (known) return known;
  const image = element("img", {
    src: thumbnailUrl(slideId, 128),
    alt: "",
    width: 48,
    height: 48,
    loading: "lazy",
    decoding: "async",
  });
  image.addEventListener("error", () => image.classList.add("missing"));
  const made = element("span", { class: "thumb" }, image);
  pictures.set(key, made);
  return made;
}
