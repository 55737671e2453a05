/** Panels of the open job: state, progress, what went wrong, and what can be done about it. */

import { ApiError, cancelJob, createJob, deleteJob } from "./api.js";
import { element, icon } from "./dom.js";
import { formatDuration, formatTime } from "./format.js";
import { isOver } from "./follow.js";
import { STATE_WORDS } from "./lists.js";
import { say } from "./messages.js";
import { closeAll, job, models, openJob, openSlide, refreshLists, result, slide } from "./session.js";
import { warningsOf } from "./warnings.js";

const STAGES = {
  queued: "Waiting for a worker",
  start: "Starting",
  plan: "Looking for tissue",
  segment: "Labelling patches",
  pyramid: "Writing the result",
  outputs: "Writing further outputs",
  "disk-full": "Waiting: the disk is full",
  done: "Done",
};

/** Build the head of a job. */
export function jobHead() {
  const head = element("section", { class: "panel job-head", "aria-label": "Job" });
  job.watch((open) => {
    head.hidden = !open;
    if (open) keepFocus(head, () => head.replaceChildren(...headOf(open)));
  });
  return head;
}

/**
 * Replace the content and put the focus back on the button with the same words.
 * @param {HTMLElement} body
 * @param {() => void} replace
 */
function keepFocus(body, replace) {
  const words = body.contains(document.activeElement) ? document.activeElement?.textContent : null;
  replace();
  if (words) [...body.querySelectorAll("button")].find((button) => button.textContent === words)?.focus();
}

/** @param {any} open */
function headOf(open) {
  return [
    element(
      "div",
      { class: "line" },
      element("h2", { title: open.model }, open.model),
      element("span", { class: `badge ${open.state}` }, STATE_WORDS[open.state]),
    ),
    element("p", { class: "hint" }, timesOf(open)),
    !isOver(open) && progressOf(open),
    open.error && element("p", { class: "problem", role: "alert" }, icon("alert"), open.error.detail),
    actionsOf(open),
  ].filter(Boolean);
}

/** @param {any} open */
function timesOf({ created_at: created, started_at: started, finished_at: finished, attempt }) {
  const parts = [`Sent ${formatTime(created)}`];
  if (started && finished)
    parts.push(`took ${formatDuration((Date.parse(finished) - Date.parse(started)) / 1000)}`);
  if (attempt > 1) parts.push(`attempt ${attempt}`);
  return parts.join(" · ");
}

/** @param {any} open */
function progressOf({ state, progress, queue_position: before }) {
  const waits = state === "queued";
  const stage = waits ? STAGES.queued : (STAGES[progress.stage] ?? progress.stage);
  const facts = [];
  if (waits && before) facts.push(`${before} before it`);
  if (progress.patches_total) facts.push(`${progress.patches_done} of ${progress.patches_total} patches`);
  if (progress.megapixels_per_second) facts.push(`${progress.megapixels_per_second.toFixed(1)} MP/s`);
  if (progress.eta_s) facts.push(`${formatDuration(progress.eta_s)} left`);
  return element(
    "div",
    { class: "progress" },
    element(
      "div",
      { class: "line" },
      element("strong", {}, stage),
      element("span", {}, `${Math.round(100 * progress.fraction)} %`),
    ),
    element("progress", { max: 1, value: progress.fraction, "aria-label": "Progress of the job" }),
    element("p", { class: "hint" }, facts.join(" · ") || "\u00a0"),
  );
}

/** @param {any} open */
function actionsOf(open) {
  const button = (words, action, style = "small-button") =>
    element("button", { type: "button", class: style, onclick: () => act(action) }, words);
  if (!isOver(open))
    return element(
      "div",
      { class: "actions" },
      button("Cancel the job", () => cancelJob(open.id)),
    );
  const again =
    open.state === "succeeded"
      ? null
      : button("Run again", async () => openJob((await createJob(sameAs(open))).id));
  const remove = button("Delete", async () => {
    if (!window.confirm(`Delete this job and its result? The slide ${open.slide.name} stays.`)) return;
    await deleteJob(open.id);
    if (slide.value) openSlide(slide.value.id);
    else closeAll();
  });
  return element(
    "div",
    { class: "actions" },
    again,
    element(
      "button",
      { type: "button", class: "small-button", onclick: () => openSlide(open.slide.id) },
      "Another run on this slide",
    ),
    remove,
  );
}

/** @param {any} open */
function sameAs({ slide: { id }, model, parameters }) {
  return {
    slide_id: id,
    model,
    ...Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== null)),
  };
}

/** @param {() => Promise<any>} action */
async function act(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message);
  }
  refreshLists();
}

/** Build the panel of warnings: what a reader must know before trusting the labels. */
export function warningsPanel() {
  const panel = element("section", { class: "panel warnings", "aria-label": "Warnings" });
  const draw = () => {
    const list = job.value ? warningsOf(job.value, result.value, models.value) : [];
    panel.hidden = list.length === 0;
    panel.replaceChildren(...list.map((words) => element("p", {}, icon("alert"), words)));
  };
  [job, result, models].forEach((signal) => signal.watch(draw));
  return panel;
}
